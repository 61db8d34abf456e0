// What the page shows. Values that a peer sent are inserted as text, never as HTML.
//
// Decides wording and layout of a call, and which buttons there are. It does not know SIP; it calls the functions that
// its constructor gets.

import { shorten, visible } from "./text.js";

const KEYS = [
  ["1", ""],
  ["2", "ABC"],
  ["3", "DEF"],
  ["4", "GHI"],
  ["5", "JKL"],
  ["6", "MNO"],
  ["7", "PQRS"],
  ["8", "TUV"],
  ["9", "WXYZ"],
  ["*", ""],
  ["0", ""],
  ["#", ""],
];
const SPOKEN = { "*": "star", "#": "hash" };
const MAX_RECENT = 30;

const at = id => document.getElementById(id);
const show = (id, isShown) => {
  at(id).hidden = !isShown;
};
const write = (id, text) => {
  const element = at(id);
  const wanted = visible(shorten(text));
  // Screen readers read a text again when it is replaced.
  if (element.textContent !== wanted) element.textContent = wanted;
};

const make = (tag, kind, ...children) => {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.append(...children);
  return element;
};

/** Minutes and seconds, or hours too. */
export const duration = milliseconds => {
  const seconds = Math.max(Math.floor(milliseconds / 1000), 0);
  const pad = value => `${value}`.padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
};

/** The words below the name, and whether they say something good. */
export const callState = call => {
  switch (call.state) {
    case "preparing":
      return ["Waiting for the microphone…", false];
    case "calling":
      return [call.progress || "Calling…", false];
    case "ringing":
      return [call.direction === "incoming" ? "is calling you" : call.progress || "Ringing…", false];
    case "connecting":
      return ["Answering…", false];
    default: {
      if (!call.hasSound) return ["Connecting the sound…", false];
      const details = [call.isHeld && "On hold", call.isMuted && "You are muted"].filter(Boolean);
      return [details.join(" · ") || "Connected", details.length === 0];
    }
  }
};

export class View {
  #recent = [];
  #tones = "";
  #isKeypadOpen = false;

  /**
   * @param {object} actions what the buttons do
   */
  constructor(actions) {
    this.actions = actions;
    this.#addKeypad();
    at("sign-in-form").addEventListener("submit", event => {
      event.preventDefault();
      actions.signIn(at("user").value.trim(), at("password").value, at("remember").checked);
    });
    at("dial").addEventListener("submit", event => {
      event.preventDefault();
      actions.call(at("target").value);
    });
    const click = (id, run) => at(id).addEventListener("click", run);
    click("sign-out", () => actions.signOut());
    click("answer", () => actions.answer());
    click("hang-up", () => actions.hangUp());
    click("mute", () => actions.mute());
    click("notify", () => actions.notify());
    click("keys", () => this.#toggleKeypad());
    document.addEventListener("keydown", event => this.#keyPressed(event));
    this.#renderRecent();
  }

  #addKeypad() {
    at("keypad").append(
      ...KEYS.map(([digit, letters]) => {
        const button = make("button", "", digit, make("small", "", letters));
        button.type = "button";
        button.setAttribute("aria-label", SPOKEN[digit] ?? digit);
        button.addEventListener("click", () => this.actions.key(digit));
        return button;
      }),
    );
  }

  // During a call, the keys of the keyboard are those of the keypad, unless a field has them.
  #keyPressed(event) {
    const isField = event.target instanceof HTMLInputElement;
    const isCombined = event.ctrlKey || event.metaKey || event.altKey;
    if (!isField && !isCombined && /^[0-9*#]$/.test(event.key)) this.actions.key(event.key);
  }

  #toggleKeypad() {
    this.#isKeypadOpen = !this.#isKeypadOpen;
    at("keys").setAttribute("aria-expanded", `${this.#isKeypadOpen}`);
    show("keypad", this.#isKeypadOpen);
    show("tones", this.#isKeypadOpen);
  }

  /** Appends a digit to the number that is being typed. */
  typeDigit(digit) {
    at("target").value += digit;
  }

  /** Shows a digit that was sent in a call. */
  showTone(digit) {
    this.#tones = (this.#tones + digit).slice(-24);
    write("tones", this.#tones);
  }

  /** @param {"good" | "wait" | "bad"} kind */
  state(kind, text) {
    at("state").className = kind;
    write("state", text);
    this.wait(0);
  }

  /** Seconds until the next attempt; 0 if there is none. */
  wait(seconds) {
    write("wait", seconds > 0 ? `Next attempt in ${seconds} s.` : "");
  }

  /** A sentence about what went wrong; none if the text is empty. */
  notice(text) {
    at("notice").textContent = visible(text);
    show("notice", text !== "");
  }

  showSignIn(domain) {
    show("sign-in", true);
    show("phone", false);
    show("account", false);
    write("domain", domain ? `@${domain}` : "");
    at("password").value = "";
    at(at("user").value ? "password" : "user").focus();
  }

  /** Shows the phone of a user. */
  showPhone(user) {
    show("sign-in", false);
    show("phone", true);
    show("account", true);
    at("password").value = "";
    write("account-name", user);
    this.focusDial();
  }

  showNotifyButton(isShown) {
    show("notify", isShown);
  }

  /** Shows a call, or the dial if there is none. */
  call(call, now) {
    const isActive = call !== null;
    const isRinging = isActive && call.direction === "incoming" && call.state === "ringing";
    const isTalking = isActive && call.state === "active";
    at("set").classList.toggle("ringing", isRinging);
    show("call", isActive);
    show("dial", !isActive);
    show("start", !isActive);
    show("answer", isRinging);
    show("mute", isTalking);
    show("keys", isTalking);
    show("hang-up", isActive);
    if (!isTalking) this.#isKeypadOpen = false;
    at("keys").setAttribute("aria-expanded", `${this.#isKeypadOpen}`);
    show("keypad", !isActive || this.#isKeypadOpen);
    show("tones", isTalking && this.#isKeypadOpen);
    if (isActive) this.#renderCall(call, now, isRinging);
    else this.#clearTones();
    document.title = isRinging ? `${visible(shorten(call.name))} is calling` : "frontdesk phone";
  }

  #clearTones() {
    this.#tones = "";
    write("tones", "");
  }

  #renderCall(call, now, isRinging) {
    const [text, isGood] = callState(call);
    write("call-kind", call.direction === "incoming" ? "Incoming call" : "Outgoing call");
    write("call-name", call.name);
    write("call-address", call.address === call.name ? "" : call.address);
    // The time is apart from the words: screen readers read a status whenever it changes.
    write("call-state", text);
    write("call-time", call.hasSound ? duration(now - call.since) : "");
    at("call-line").className = isGood ? "good" : "";
    at("hang-up").textContent = isRinging
      ? "Decline"
      : call.dialog || call.direction === "incoming"
        ? "Hang up"
        : "Cancel";
    at("mute").setAttribute("aria-pressed", `${call.isMuted}`);
    at("mute").textContent = call.isMuted ? "Unmute" : "Mute";
  }

  /**
   * Moves the focus to the new call. It does not move to a button: a person who is typing just then would press it.
   */
  focusCall() {
    at("call").focus();
  }

  /** Clears the number, and moves the focus there unless that would open the keyboard of a touch screen. */
  focusDial() {
    at("target").value = "";
    if (matchMedia("(pointer: fine)").matches) at("target").focus();
  }

  /** Adds an ended call to the list. */
  ended(call, now) {
    this.#recent.unshift({
      name: visible(shorten(call.name)),
      target: call.redial,
      direction: call.direction,
      ending: call.ending,
      time: new Date(now).toLocaleTimeString([], { timeStyle: "short", hour12: false }),
      length: call.since === null ? "" : duration(now - call.since),
    });
    this.#recent.length = Math.min(this.#recent.length, MAX_RECENT);
    this.#renderRecent();
  }

  #renderRecent() {
    const items = this.#recent.map(({ name, target, direction, ending, time, length }) => {
      const again = make("button", "quiet", "Call");
      again.type = "button";
      again.hidden = target === null;
      again.setAttribute("aria-label", `Call ${name}`);
      again.addEventListener("click", () => this.actions.call(target));
      const arrow = make("span", "", direction === "incoming" ? "← " : "→ ");
      arrow.setAttribute("aria-label", direction === "incoming" ? "from" : "to");
      const kind = { problem: "small bad", missed: "small wait", normal: "small soft" }[ending.kind];
      return make(
        "li",
        "",
        make("div", "row", make("span", "name", arrow, name), again),
        make(
          "div",
          "row",
          make("span", kind, visible(ending.text)),
          make("span", "small soft", length ? `${length} · ${time}` : time),
        ),
      );
    });
    at("recent").replaceChildren(...(items.length ? items : [make("li", "empty small", "No calls yet.")]));
  }
}
