// Sentences for each failure. A person who does not know SIP must understand them and know what to do next.

import { shorten } from "./text.js";

const number = response => shorten(` (${response.status}${response.reason ? ` ${response.reason}` : ""}`) + ")";

const BUSY = "is busy.";
// RFC 3261 21, from the view of the caller. The name of the person stands before.
const CALLED = {
  403: "cannot be called by you.",
  404: "is not known here. Check the name or number.",
  408: "did not answer.",
  410: "is not known here any more.",
  480: "cannot be reached now. No phone is signed in, or nobody answered.",
  484: "is not a complete number.",
  486: BUSY,
  487: "was not reached: the call was cancelled.",
  488: "has a phone that cannot talk to a browser.",
  600: BUSY,
  603: "declined the call.",
  604: "is not known here. Check the name or number.",
  606: "has a phone that cannot talk to a browser.",
  607: "does not want this call.",
};

/**
 * Why a call was not answered.
 * @param {import("./message.js").Message} response 3xx to 6xx
 * @param {string} name of the person called
 * @param {string} [problem] of the credentials
 */
export function callProblem(response, name, problem) {
  if (problem) return credentialProblem(problem);
  const { status } = response;
  if (CALLED[status]) return `${name} ${CALLED[status]}`;
  if (status < 400) return `${name} has moved${movedTo(response)}.`;
  if (status === 503) return `The server is overloaded or cannot reach ${name} now. Try again in a moment.`;
  if (status >= 500 && status < 600) return `The server could not complete the call${number(response)}.`;
  return `The call to ${name} was refused${number(response)}.`;
}

function movedTo(response) {
  const [contact] = response.values("contact");
  const uri = /<([^>]+)>/.exec(contact ?? "")?.[1];
  return uri ? `: call ${shorten(uri)}` : "";
}

/**
 * Why the registration was refused.
 * @returns {{ text: string, isFinal: boolean }} final: the same attempt would fail again
 */
export function registrationProblem(response, problem) {
  const { status } = response;
  if (problem) return { text: credentialProblem(problem), isFinal: true };
  if (status === 403) return { text: "The server does not let this user sign in. Check the user name.", isFinal: true };
  if (status === 404) return { text: "The server does not know this user. Check the user name.", isFinal: true };
  if (status >= 500 || status === 408)
    return { text: `The server cannot sign you in now${number(response)}.`, isFinal: false };
  return { text: `The server refused to sign you in${number(response)}.`, isFinal: true };
}

function credentialProblem(problem) {
  if (problem === "algorithm") {
    return "The server offers no sign-in with SHA-256, which this page needs. Ask the administrator.";
  }
  return "The user name or the password is wrong.";
}

/** Why a request got no answer. */
export const failureText = why =>
  why === "timeout" ? "The server did not answer in time." : "The connection to the server is lost.";

/** Why the microphone cannot be used: by the names of exceptions (Media Capture and Streams 10.2). */
const MICROPHONE = {
  NotAllowedError:
    "The browser does not let this page use the microphone. Allow it in the address bar, then try again.",
  SecurityError: "The browser does not let this page use the microphone. Allow it in the address bar, then try again.",
  NotFoundError: "There is no microphone. Connect one, then try again.",
  NotReadableError: "The microphone cannot be used. Another program may be using it.",
  AbortError: "The microphone cannot be used. Another program may be using it.",
};

/** An error of the sound; `kind` says which part failed. */
export class MediaError extends Error {
  /** @param {"microphone" | "description" | "insecure" | "setup" | "closed"} kind "closed": the call has ended */
  constructor(kind, cause) {
    super(kind);
    this.kind = kind;
    this.cause = cause;
  }
}

/** What failed before or while sound was set up. */
export function mediaProblem(error) {
  switch (error?.kind) {
    case "microphone":
      return MICROPHONE[error.cause?.name] ?? "The microphone cannot be used.";
    case "description":
      return "The other phone cannot talk to a browser.";
    case "insecure":
      return "Calls need https. Ask the administrator for the https address of this page.";
    default:
      return "The browser could not set up the sound.";
  }
}

/** No packet has reached the other side. */
export const NO_SOUND = "No sound came through between the two phones. A firewall may be in the way.";
/** Packets have reached the other side, and do so no more. */
export const SOUND_LOST = "The sound between the two phones broke off.";
