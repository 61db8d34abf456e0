// Calls in progress, and calls that have ended.

import { save } from "./api.js";
import { at, fill, make, row } from "./elements.js";
import { clock, duration, phones, shortAddress } from "./words.js";

const parties = call => make("span", "who", `${shortAddress(call.from)} → ${shortAddress(call.to)}`);

const activeCall = call => ({
  key: [call.from, call.to, call.began, call.answered, call.seconds],
  element: () => {
    const state = call.answered ? make("span", "small good", `answered ${duration(call.seconds)} ago`) : make("span", "small wait", `${phones(call.phones)}, ${duration(call.seconds)}`);
    return make("li", "", row(parties(call), state));
  },
});

const kinds = { answered: "good", cancelled: "soft", busy: "wait", declined: "wait", unanswered: "wait", unavailable: "wait", moved: "soft" };

const whyOf = call => {
  const is_named = call.by && ["answered", "declined", "unreachable"].includes(call.ending);
  const by = !is_named ? "" : call.ending === "unreachable" ? `: ${call.by}` : ` by ${call.by}`;
  return `${call.why}${by}${call.key ? ` (see ${call.key})` : ""}`;
};

const endOf = call => {
  if (call.hung_up) return `${call.hung_up === "caller" ? shortAddress(call.from) : "the called party"} hung up after ${duration(call.talked)}`;
  return call.phones ? `${call.called}, after ${duration(call.seconds)}` : "refused at once";
};

const endedCall = call => ({
  key: [call.from, call.to, call.began, call.ended, call.ending, clock(call.began)],
  element: () => make("li", "", row(parties(call), make("span", "small soft", clock(call.began))),
    row(make("span", `small ${kinds[call.ending] ?? "bad"}`, whyOf(call)), make("span", "small soft", endOf(call)))),
});

// What is searched for is a number if it has no letters.
export const callQuery = () => {
  const text = at("call-search").value.trim(), day = at("call-day").value, query = new URLSearchParams();
  if (text) query.set(/[a-z]/i.test(text) ? "user" : "number", text);
  if (day) {
    query.set("day", day);
    query.set("offset", -new Date(`${day}T12:00`).getTimezoneOffset());
  }
  return `${query}`;
};

export const showCalls = ({ total, now, found, ended }) => {
  at("now-count").textContent = `${total}`;
  at("ended-count").textContent = found > ended.length ? `${ended.length} of ${found}` : found ? `${found}` : "";
  fill("now", now.map(activeCall), "None.");
  fill("ended", ended.map(endedCall), callQuery() ? "No such call." : "No call has ended yet.");
};

export const prepareCalls = (refresh, showError) => {
  for (const id of ["call-search", "call-day"]) at(id).addEventListener("input", refresh);
  at("call-csv").addEventListener("click", () => save(`calls.csv?${callQuery()}`, "calls.csv").catch(showError));
};
