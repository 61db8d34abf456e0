// The lines of the log as they come, while the section is open.

import { inWords, read } from "./api.js";
import { at, visible } from "./elements.js";

const MAX_LINES = 500;

let count = 0, lines = [], reading = false;

const append = async () => {
  const answer = await read(`log?after=${count}`);
  if (answer.count === count) return;
  // After a restart the server counts from the beginning.
  if (answer.count < count) lines = [];
  count = answer.count;
  lines = [...lines, ...answer.lines].slice(-MAX_LINES);
  const view = at("log"), at_end = view.scrollHeight - view.scrollTop - view.clientHeight < 20;
  view.textContent = lines.map(visible).join("\n");
  if (at_end) view.scrollTop = view.scrollHeight;
};

export const refreshLog = async () => {
  if (!at("log-section").open || reading) return;
  reading = true;
  try {
    await append();
  } catch (error) {
    at("log").textContent = inWords(error);
  }
  reading = false;
};

export const prepareLog = () => at("log-section").addEventListener("toggle", refreshLog);
