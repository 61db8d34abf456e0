// Requests to the admin API. An error is thrown as "token" or as text for the person who reads the page.

import { make } from "./elements.js";

let token = sessionStorage.getItem("token") ?? "";

export const hasToken = () => token !== "";

// It is kept in this tab only.
export const setToken = text => {
  token = text;
  sessionStorage.setItem("token", text);
};

const send = async (path, method, body) => {
  const headers = { "X-Frontdesk": "page" };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) body = JSON.stringify(body);
  const response = await fetch(`/api/v1/${path}`, { method, headers, body, cache: "no-store", signal: AbortSignal.timeout(8000) });
  if (response.status === 401) throw "token";
  return response;
};

const problemOf = async response => (await response.json().catch(() => ({}))).error ?? `HTTP ${response.status}`;

// Reads a resource. One that is gone has its error as the value.
export const read = async path => {
  const response = await send(path, "GET");
  if (!response.ok && response.status !== 404) throw await problemOf(response);
  return response.json();
};

export const change = async (method, path, body) => {
  const response = await send(path, method, body);
  if (!response.ok) throw await problemOf(response);
  return response.json();
};

// Saves a resource as a file. A link could not send the token.
export const save = async (path, name) => {
  const response = await send(path, "GET");
  if (!response.ok) throw await problemOf(response);
  const link = make("a", "");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
};

export const inWords = error => error === "token" ? "token needed"
  : error?.name === "TimeoutError" || error instanceof TypeError ? "the server does not answer" : `${error}`;
