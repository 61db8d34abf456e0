// Who was refused, who is banned, and what failed.

import { change, inWords } from "./api.js";
import { at, button, fill, make, plain, row } from "./elements.js";
import { clock, counted, duration, shortAddress } from "./words.js";

// Senders that an administrator should look at: they show a wrong password or ask for something that is not allowed.
const alarming = ["credentials", "identity", "registration"];

const often = ({ count }) => count === 1 ? "at" : `${count.toLocaleString()} times, last at`;

const refusal = entry => ({
  key: [entry.user, entry.address, entry.why, entry.count, clock(entry.last)],
  element: () => {
    const who = make("span", "", make("span", "who", entry.user ? shortAddress(entry.user) : "no name"), make("span", "small soft", ` from ${entry.address}`));
    return make("li", "", row(who, make("span", "small soft", `${often(entry)} ${clock(entry.last)}`)),
      make("div", `small ${alarming.includes(entry.kind) ? "bad" : "wait"}`, entry.why));
  },
});

// What the head of the page says of the refusals of the last hour: who, from where, how often, when.
export const alarmOf = refusals => {
  const recent = refusals.filter(entry => alarming.includes(entry.kind) && entry.seconds_ago < 3600);
  if (!recent.length) return "";
  const [last] = recent, others = recent.length - 1;
  const who = last.user ? ` of ${shortAddress(last.user)}` : "";
  return `refused: ${last.why}${who} from ${last.address}, ${often(last)} ${clock(last.last)}${others ? `; and ${counted(others, "other sender", "other senders")}` : ""}`;
};

export const showRefusals = refusals => {
  at("refusals-section").hidden = refusals.length === 0;
  at("refusals-section").classList.toggle("alarm", alarmOf(refusals) !== "");
  fill("refusals", refusals.map(refusal), "");
};

const ban = (entry, refresh) => ({
  key: [entry.address, entry.failures, entry.users, Math.ceil(entry.seconds_left / 60)],
  element: () => {
    const lift = button("lift", "quiet", "The address is answered again, and its failures are forgotten.", async element => {
      element.disabled = true;
      await change("DELETE", `bans/${encodeURIComponent(entry.address)}`).catch(error => { at("bans-answer").textContent = inWords(error); });
      refresh();
    });
    lift.setAttribute("aria-label", `lift the ban of ${entry.address}`);
    const users = entry.users.length ? ` as ${entry.users.map(shortAddress).join(", ")}` : "";
    return make("li", "", row(make("span", "who", entry.address), lift),
      row(make("span", "small soft", `${counted(entry.failures, "failure", "failures")}${users}`), make("span", "small soft", `${duration(Math.ceil(entry.seconds_left / 60) * 60)} left`)));
  },
});

export const showBans = ({ total, bans }, refresh) => {
  at("bans-section").hidden = total === 0;
  at("bans-count").textContent = `${total}`;
  fill("bans", bans.map(entry => ban(entry, refresh)), "");
};

export const showFailures = failures => {
  fill("failures", failures.map(failure => plain(`${failure.what}: ${failure.reason}`, failure.count.toLocaleString())), "None.");
};
