// Requests to the server, each with a digest response of the password (RFC 7616). The password itself is never sent.
//
// Decides when a request is tried again: once, with the challenge of the response, if the server says that the old one is
// too old.

import { authorization, parseChallenge } from "./digest.js";

const RULES = "/me/rules";
const TIMEOUT = 15000;

/** An error with a text for the person. */
export class Refused extends Error {
  /** @param {number} status of the response; 0 if there was none */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let response;
  try {
    // No cookies and no credentials of the browser.
    const limits = { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(TIMEOUT) };
    response = await fetch(path, { ...limits, ...options });
  } catch {
    throw new Refused(0, "The server does not answer.");
  }
  const body = await response.json().catch(() => ({}));
  return { status: response.status, body };
}

function refusal({ status, body }) {
  if (status === 401) return new Refused(status, "The user name or the password is wrong.");
  const error = typeof body.error === "string" ? body.error : `error ${status}`;
  return new Refused(status, `The server says: ${error}.`);
}

/** One user at the server. */
export class Account {
  #challenge = null;
  #count = 0;
  #password;

  /** `typed`: a user of the first domain, or user@domain. */
  constructor(typed, password) {
    const at = typed.lastIndexOf("@");
    this.user = at > 0 ? typed.slice(0, at) : typed;
    this.domain = at > 0 ? typed.slice(at + 1).toLowerCase() : null;
    this.#password = password;
  }

  /** What the page shows. */
  rules() {
    return this.#request("GET");
  }

  /** Changes these keys; null clears what was set. Returns what the page shows then. */
  change(keys) {
    return this.#request("PUT", JSON.stringify(keys));
  }

  async #request(method, body) {
    if (this.#challenge === null) {
      const answer = await ask("/me/challenge");
      if (answer.status !== 200) throw refusal(answer);
      this.#take(answer.body.challenge);
    }
    let answer = await this.#send(method, body);
    if (answer.status === 401 && this.#take(answer.body.challenge) && this.#challenge.stale) {
      answer = await this.#send(method, body);
      if (answer.status === 401) this.#take(answer.body.challenge);
    }
    if (answer.status !== 200) throw refusal(answer);
    return answer.body;
  }

  #take(text) {
    const challenge = parseChallenge(`${text}`);
    if (challenge === null) throw new Refused(0, "The server sent a challenge that this page does not know.");
    this.#challenge = challenge;
    this.#count = 0;
    return true;
  }

  async #send(method, body) {
    const challenge = { ...this.#challenge, realm: this.domain ?? this.#challenge.realm };
    const input = { user: this.user, password: this.#password, method, uri: RULES, count: ++this.#count };
    const headers = { Authorization: await authorization(challenge, input), "X-Frontdesk": "me" };
    return ask(RULES, { method, headers, body });
  }
}

/** The first domain of the server, which a user without a domain is of. */
export async function firstDomain() {
  const answer = await ask("/me/challenge");
  if (answer.status !== 200) throw refusal(answer);
  return `${answer.body.domain}`;
}
