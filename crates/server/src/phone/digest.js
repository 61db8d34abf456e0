// Digest authentication with SHA-256 and qop=auth (RFC 3261 22, RFC 7616, RFC 8760).
//
// Decides which challenge is answered, and when a second challenge means that the password is wrong. MD5 is not
// offered: WebCrypto does not have it, and an attacker could otherwise ask for it (RFC 8760 2.6).

import { parameters, quote, split } from "./grammar.js";
import { hex } from "./random.js";

const ALGORITHM = "SHA-256";

/**
 * @typedef {object} Challenge
 * @property {string} realm
 * @property {string} nonce
 * @property {string | undefined} opaque
 * @property {boolean} stale the nonce has expired; the password was right
 */

/**
 * Parses a WWW-Authenticate or Proxy-Authenticate header.
 * @returns {Challenge | null} null if it cannot be answered
 */
export function parseChallenge(value) {
  const [, scheme, rest] = /^([^ ]+) +(.+)$/.exec(value) ?? [];
  if (scheme?.toLowerCase() !== "digest") return null;
  let params;
  try {
    params = parameters(split(rest, ","));
  } catch {
    return null;
  }
  const qops = (params.get("qop") ?? "")
    .toLowerCase()
    .split(",")
    .map(qop => qop.trim());
  const isSupported = params.get("algorithm")?.toUpperCase() === ALGORITHM && qops.includes("auth");
  if (!isSupported || !params.get("nonce") || params.get("realm") === undefined) return null;
  return {
    realm: params.get("realm"),
    nonce: params.get("nonce"),
    opaque: params.get("opaque"),
    stale: params.get("stale")?.toLowerCase() === "true",
  };
}

async function sha256(text) {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash), octet => octet.toString(16).padStart(2, "0")).join("");
}

/**
 * The value of Authorization or Proxy-Authorization (RFC 7616 3.4).
 * @param {Challenge} challenge
 * @param {{ user: string, password: string, method: string, uri: string, count: number, cnonce?: string }} input
 *   `count` is the number of requests with this nonce, this one included
 */
export async function authorization(challenge, { user, password, method, uri, count, cnonce = hex(12) }) {
  const { realm, nonce, opaque } = challenge;
  const nc = count.toString(16).padStart(8, "0");
  const secret = await sha256(`${user}:${realm}:${password}`);
  const response = await sha256(`${secret}:${nonce}:${nc}:${cnonce}:auth:${await sha256(`${method}:${uri}`)}`);
  return (
    `Digest username=${quote(user)}, realm=${quote(realm)}, nonce=${quote(nonce)}, uri=${quote(uri)}, ` +
    `response="${response}", algorithm=${ALGORITHM}, cnonce=${quote(cnonce)}, qop=auth, nc=${nc}` +
    (opaque === undefined ? "" : `, opaque=${quote(opaque)}`)
  );
}

// Which header answers which challenge (RFC 3261 22.2 and 22.3).
const ANSWERS = [
  ["www-authenticate", "authorization"],
  ["proxy-authenticate", "proxy-authorization"],
];
// A proxy and the registrar may both challenge, and each nonce may expire once meanwhile.
const MAX_ATTEMPTS = 4;

/** The user's password, and the nonces that servers have sent. */
export class Credentials {
  /** By header and realm; at most as many as there are servers on the way, so few. */
  #nonces = new Map();

  constructor(user, password) {
    this.user = user;
    this.password = password;
  }

  /**
   * Adds the credentials for all servers that have challenged so far.
   * @param {import("./message.js").Message} request
   */
  async authorize(request) {
    for (const [, header] of ANSWERS) request.remove(header);
    for (const entry of this.#nonces.values()) {
      const count = ++entry.count;
      const value = await authorization(entry.challenge, {
        user: this.user,
        password: this.password,
        method: request.method,
        uri: request.uri,
        count,
      });
      request.add(entry.header, value);
    }
  }

  /**
   * Takes the challenges of a 401 or 407.
   * @param {import("./message.js").Message} response
   * @param {Map<string, number>} attempts what this request has tried before; this function changes it
   * @returns {"retry" | "password" | "algorithm"} whether the request is worth another attempt, else what is wrong
   */
  challenged(response, attempts) {
    let supported = false;
    let retry = false;
    for (const [asks, header] of ANSWERS) {
      // RFC 8760 2.4: the topmost that is supported.
      const challenge = response
        .values(asks)
        .map(parseChallenge)
        .find(candidate => candidate !== null);
      if (!challenge) continue;
      supported = true;
      const key = `${header} ${challenge.realm}`;
      const before = attempts.get(key) ?? 0;
      const total = [...attempts.values()].reduce((sum, number) => sum + number, 0);
      if (total >= MAX_ATTEMPTS || (before > 0 && !challenge.stale)) return "password";
      attempts.set(key, before + 1);
      if (!this.#nonces.has(key) && this.#nonces.size >= MAX_ATTEMPTS) this.#nonces.clear();
      this.#nonces.set(key, { header, challenge, count: 0 });
      retry = true;
    }
    return retry ? "retry" : supported ? "password" : "algorithm";
  }
}

/** Whether the browser has what digest needs; it has it on https and on localhost only. */
export const isAvailable = () => globalThis.crypto?.subtle !== undefined;

/** Whether a header holds credentials: an ACK repeats those of its INVITE (RFC 3261 22.1). */
export const isCredentialHeader = name => ANSWERS.some(([, header]) => header === name);
