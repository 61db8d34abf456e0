// Groups with who is free, and trunks with their state.

import { at, fill, make, row } from "./elements.js";
import { clock, counted, shortAddress } from "./words.js";

const states = { free: ["free", "good"], calling: ["calling", "wait"], do_not_disturb: ["do not disturb", "wait"], unregistered: ["no phone", "soft"], unknown: ["", "soft"] };

const named = (name, label) => label ? `${name} ${label}` : name;

const group = entry => {
  const users = entry.members.filter(member => member.state !== "unknown"), free = users.filter(member => member.state === "free").length;
  const how = `${entry.strategy}, ${entry.ring_time}${entry.otherwise === null ? "" : `, then ${shortAddress(entry.otherwise)}`}`;
  return {
    key: entry,
    element: () => {
      const name = make("span", "", make("span", "who", entry.group), entry.name ? make("span", "small soft", ` ${entry.name}`) : null);
      const count = make("span", `small ${free ? "good" : "bad"}`, users.length ? `${free} of ${users.length} free` : "");
      const item = make("li", "", row(name, count), make("div", "small soft", how));
      entry.members.forEach(member => {
        const [text, kind] = states[member.state] ?? ["", "soft"];
        item.append(row(make("span", "small", named(shortAddress(member.member), member.name)), make("span", `small ${kind}`, text)));
      });
      return item;
    },
  };
};

const trunk = entry => {
  const until = entry.registered_until ? ` until ${clock(entry.registered_until)}` : "";
  const lines = [
    entry.registered === null ? null : [entry.registered ? `registered${until}` : "not registered", entry.registered],
    entry.responds === null ? null : [entry.responds ? "responds" : "does not respond", entry.responds],
  ].filter(line => line);
  const calls = entry.calls === null ? "" : `${entry.calls} of ${counted(entry.max_calls, "call", "calls")}`;
  const is_full = entry.calls !== null && entry.calls >= entry.max_calls;
  return {
    key: [entry, until],
    element: () => {
      const state = make("span", `small ${entry.works ? "good" : "bad"}`, entry.works ? "works" : "does not work");
      const item = make("li", "", row(make("span", "who", entry.trunk), state),
        row(make("span", "small soft", entry.server), make("span", `small ${is_full ? "bad" : "soft"}`, calls)));
      lines.forEach(([text, good]) => item.append(make("div", `small ${good ? "soft" : "bad"}`, text)));
      if (entry.last_failure !== null) item.append(make("div", "small soft", `last failure: ${entry.last_failure}, ${clock(entry.last_failure_at)}`));
      return item;
    },
  };
};

const showSection = (id, items) => {
  at(`${id}-section`).hidden = items.length === 0;
  at(`${id}-count`).textContent = `${items.length}`;
  fill(id, items, "");
};

export const showOffice = (groups, trunks) => {
  showSection("groups", groups.map(group));
  showSection("trunks", trunks.map(trunk));
};
