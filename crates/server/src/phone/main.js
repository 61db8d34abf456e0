// Connects the page with the user agent: sign-in, one call at a time, tones and notifications.
//
// Decides what is stored: the password only if the person wants it, and only until the tab is closed. No request goes
// to another origin.

import { uriFromInput } from "./address.js";
import { Agent } from "./agent.js";
import { isAvailable } from "./digest.js";
import { Media } from "./media.js";
import { newInstance } from "./random.js";
import { visible } from "./text.js";
import { Tones } from "./tone.js";
import { View } from "./view.js";

const ACCOUNT = "phone-account";
const INSTANCE = "phone-instance";

/** Of the tab; the tests look at it. */
export const phone = { agent: null, call: null };

const tones = new Tones();
const view = new View({
  signIn,
  signOut,
  call: startCall,
  answer: () => phone.call?.answer?.(),
  hangUp: () => phone.call?.hangUp(),
  mute: () => phone.call?.toggleMute(),
  key: pressKey,
  notify: askToNotify,
});
let config = { websocket: null, domain: "" };
/** @type {Promise<string>} */
let instanceOfTab;
let notification = null;
/** When the next attempt to connect or to register is made. @type {number | null} */
let nextAttempt = null;

const play = stream => {
  const speaker = document.getElementById("speaker");
  speaker.srcObject = stream;
  if (stream) speaker.play().catch(() => {});
};
const createMedia = () =>
  new Media({ devices: navigator.mediaDevices, PeerConnection: globalThis.RTCPeerConnection, play });

// Browsers may refuse storage; the phone works without it.
function stored(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key));
  } catch {
    return null;
  }
}

function store(key, value) {
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Refused, or full.
  }
}

// A tab that is loaded again replaces its registration. A copy of the tab has the same storage, but is another phone.
async function findInstance() {
  const previous = stored(INSTANCE);
  const value = previous !== null && (await reserve(previous)) ? previous : newInstance();
  if (value !== previous) await reserve(value);
  store(INSTANCE, value);
  return value;
}

// The lock is held until the tab is closed.
const reserve = name =>
  new Promise(resolve => {
    if (!navigator.locks) return resolve(true);
    navigator.locks.request(name, { ifAvailable: true }, lock => {
      resolve(lock !== null);
      return lock && new Promise(() => {});
    });
  });

// A path leads to the server of this page. An https page must not open ws.
function websocketUrl() {
  const url = new URL(config.websocket, location.href);
  if (url.protocol === "http:") url.protocol = "ws:";
  if (url.protocol === "https:") url.protocol = "wss:";
  return url.href;
}

async function signIn(typed, password, isRemembered) {
  tones.unlock();
  view.notice("");
  const [user, domain = config.domain] = typed.split("@");
  if (uriFromInput(`${encodeURIComponent(user)}@${domain}`, domain) === null)
    return view.notice("This is not a user name.");
  store(ACCOUNT, isRemembered ? { typed, password } : null);
  const instance = await instanceOfTab;
  phone.agent?.leave();
  view.state("wait", "Connecting…");
  phone.agent = new Agent({
    account: { user, domain, password, websocket: websocketUrl(), instance },
    createMedia,
    onRegistration: state => registrationChanged(state, typed),
    onCall: callChanged,
  });
  phone.agent.start();
}

function registrationChanged(state, user) {
  if (state.kind === "failed") {
    store(ACCOUNT, null);
    phone.agent.leave();
    showSignIn(state.text);
  } else if (state.kind === "registered") {
    if (document.getElementById("phone").hidden) view.showPhone(user);
    view.state("good", state.text);
    view.showNotifyButton(globalThis.Notification?.permission === "default");
  } else {
    view.state("wait", state.text);
  }
  nextAttempt = state.retryIn ? Date.now() + state.retryIn : null;
  showWait();
}

// Every second, so that the number is right.
function showWait() {
  view.wait(nextAttempt === null ? 0 : Math.ceil((nextAttempt - Date.now()) / 1000));
}

function showSignIn(text) {
  nextAttempt = null;
  view.state(text ? "bad" : "wait", "Not signed in");
  view.showSignIn(config.domain);
  view.notice(text);
}

async function signOut() {
  store(ACCOUNT, null);
  const { agent } = phone;
  showSignIn("");
  await agent.stop();
}

function startCall(typed) {
  if (!phone.agent || phone.agent.current || typed.trim() === "") return;
  const uri = uriFromInput(typed, phone.agent.account.domain);
  if (uri === null) return view.notice("This is not a name or number that can be called.");
  if (!phone.agent.connection.isOpen) return view.notice("The server cannot be reached now.");
  tones.unlock();
  view.notice("");
  phone.agent.call(uri);
}

function pressKey(digit) {
  if (phone.call?.state === "active") {
    phone.call.sendTone(digit);
    view.showTone(digit);
    tones.key(digit);
  } else if (!phone.call) {
    view.typeDigit(digit);
    tones.key(digit);
  }
}

// The same function is called for each change of each call; calls that ended before are over for the page.
function callChanged(call) {
  const isNew = phone.call === null && call.state !== "ended";
  if (!isNew && call !== phone.call) return;
  phone.call = call.state === "ended" ? null : call;
  playTone(call);
  notify(call);
  view.call(phone.call, Date.now());
  if (isNew) {
    view.notice("");
    view.focusCall();
  }
  if (call.state !== "ended") return;
  view.notice(call.ending.kind === "problem" ? call.ending.text : "");
  view.ended(call, Date.now());
  view.focusDial();
}

function playTone(call) {
  if (call.state !== "ringing") tones.stop();
  else if (call.direction === "incoming") tones.ringing();
  else tones.ringback();
}

function notify(call) {
  const isRinging = call.direction === "incoming" && call.state === "ringing";
  if (!isRinging) {
    notification?.close();
    notification = null;
  } else if (!notification && document.hidden && globalThis.Notification?.permission === "granted") {
    notification = new Notification(`${visible(call.name)} is calling`, {
      tag: "call",
      icon: "/phone/icon.svg",
      requireInteraction: true,
    });
    notification.addEventListener("click", () => window.focus());
  }
}

async function askToNotify() {
  await Notification.requestPermission();
  view.showNotifyButton(Notification.permission === "default");
}

async function load() {
  const response = await fetch("/phone/config", { cache: "no-store" });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  config = await response.json();
  view.state("bad", "Not available");
  if (!isAvailable() || !navigator.mediaDevices) {
    return view.notice(
      "Browsers allow calls only on https pages, and on http://localhost on the server itself. Open this page there.",
    );
  }
  if (config.websocket === null) {
    return view.notice(
      "The server has no WebSocket listener for this page. Ask the administrator to add one to `listen`.",
    );
  }
  instanceOfTab = findInstance();
  const account = stored(ACCOUNT);
  if (account) await signIn(account.typed, account.password, true);
  else showSignIn("");
}

addEventListener("online", () => phone.agent?.connection.retryNow());
addEventListener("pagehide", () => phone.agent?.leave());
// A page that the browser has kept has lost its connection.
addEventListener("pageshow", event => {
  if (event.persisted) location.reload();
});
addEventListener("beforeunload", event => {
  if (phone.call) event.preventDefault();
});
for (const kind of ["pointerdown", "keydown"]) addEventListener(kind, () => tones.unlock());
setInterval(() => {
  if (phone.call) view.call(phone.call, Date.now());
  showWait();
}, 1000);
view.state("wait", "Loading…");
load().catch(() => {
  view.state("bad", "The server does not answer");
  view.notice("The server does not answer. Load the page again in a moment.");
});
