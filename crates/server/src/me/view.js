// What the page shows. Values that a phone sent are inserted as text, never as HTML.
//
// Decides wording and layout. It does not know the server; it calls the functions that its constructor gets.

import { AlsoRing, textOf } from "./also_ring.js";
import { shorten, visible } from "./text.js";

const PARTIES = ["always", "busy", "no_answer", "unavailable"];
const KEYS = ["do_not_disturb", ...PARTIES, "after", "also_ring"];

const at = id => document.getElementById(id);
const write = (id, text) => {
  at(id).textContent = visible(shorten(text));
};
const line = (kind, text) => {
  const element = document.createElement("p");
  element.className = kind;
  element.textContent = visible(shorten(text));
  return element;
};
const clock = moment => new Date(moment).toLocaleString([], { dateStyle: "short", timeStyle: "short", hour12: false });

export class View {
  #shown = null;
  #actions;
  #alsoRing;

  /** @param {{ signIn: Function, signOut: Function, save: Function, clear: Function }} actions */
  constructor(actions) {
    this.#actions = actions;
    this.#alsoRing = new AlsoRing(at("also_ring"), at("also_ring-add"));
    at("sign-in-form").addEventListener("submit", event => {
      event.preventDefault();
      const password = at("password").value;
      at("password").value = "";
      actions.signIn(at("user").value.trim(), password);
    });
    at("sign-out").addEventListener("click", () => actions.signOut());
    at("rules").addEventListener("submit", event => {
      event.preventDefault();
      actions.save(this.#changes());
    });
  }

  /** The sign-in form, for users of this domain; null if it cannot work. */
  signIn(domain) {
    at("me").hidden = true;
    at("account").hidden = true;
    at("sign-in").hidden = domain === null;
    if (domain !== null) write("domain", `@${domain}`);
    this.#shown = null;
  }

  state(text, kind) {
    at("state").className = kind;
    write("state", text);
  }

  /** Something that the person should know; empty for nothing. */
  notice(text) {
    at("notice").hidden = text === "";
    // The reason of a refusal is at its end.
    at("notice").textContent = visible(text.slice(0, 400));
  }

  isBusy(isBusy) {
    for (const button of document.querySelectorAll("button")) button.disabled = isBusy;
  }

  rules({ user, domain, name, has_voicemail, hours, forwarding, phones }) {
    at("sign-in").hidden = true;
    at("account").hidden = false;
    at("me").hidden = false;
    write("account-name", name === null ? `${user}@${domain}` : `${name}, ${user}@${domain}`);
    at("voicemail-hint").hidden = !has_voicemail;
    at("targets").replaceChildren(...(has_voicemail ? [new Option("voicemail", "voicemail")] : []));
    this.#shown = forwarding;
    at("do_not_disturb").checked = forwarding.do_not_disturb;
    for (const key of PARTIES) at(key).value = forwarding[key] ?? "";
    at("after").value = forwarding.after;
    this.#alsoRing.show(forwarding.also_ring, hours);
    for (const key of KEYS) this.#origin(key, forwarding.set[key] !== undefined && forwarding.set[key] !== null);
    const items = phones.map(phone => {
      const item = document.createElement("li");
      item.append(line("small name", phone.device ?? "a phone without a name"));
      if (phone.expires_in === null) item.append(line("small soft", phone.contact));
      else item.append(line("small soft", `${phone.address} ${phone.transport}`), line("small soft", `since ${clock(phone.since)}`));
      return item;
    });
    at("phones").replaceChildren(...(items.length ? items : [line("small empty", "None of your phones is registered.")]));
  }

  // What the user set is marked, and can be cleared.
  #origin(key, isSet) {
    const place = at(`${key}-set`);
    place.replaceChildren();
    if (!isSet) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.dataset.clears = key;
    button.textContent = "use the setting of the office";
    button.addEventListener("click", () => this.#actions.clear(key));
    place.append("set by you or your administrator; ", button);
  }

  // Only what is different from what is shown.
  #changes() {
    const changes = {};
    if (at("do_not_disturb").checked !== this.#shown.do_not_disturb) changes.do_not_disturb = at("do_not_disturb").checked;
    for (const key of PARTIES) {
      const wanted = at(key).value.trim();
      if (wanted !== (this.#shown[key] ?? "")) changes[key] = wanted === "" ? "off" : wanted;
    }
    const after = at("after").value.trim();
    if (after !== this.#shown.after) changes.after = after === "" ? null : after;
    const parties = this.#alsoRing.parties();
    if (textOf(parties) !== textOf(this.#shown.also_ring)) changes.also_ring = parties;
    return changes;
  }
}
