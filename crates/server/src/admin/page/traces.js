// The messages of the last calls as a ladder: each arrow is a message, which opens.

import { read, save } from "./api.js";
import { at, button, fill, make, visible } from "./elements.js";
import { clock, counted, shortAddress } from "./words.js";

// One row for each call. It keeps its place and what is open in it while the list changes.
const traces = new Map();

const lines = text => text.split(/\r?\n/).map(visible).join("\n");

const time = moment => new Date(moment).toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

const peerOf = entry => `${entry.remote} ${entry.transport}`;

const headOf = names => {
  const head = make("div", "peers soft", make("span", ""));
  names.forEach((name, index) => {
    const cell = make("span", "peer", name);
    cell.style.gridColumn = `${2 * index + 2} / span 2`;
    head.append(cell);
  });
  return head;
};

const messageOf = (entry, names) => {
  const column = names.indexOf(peerOf(entry)), received = entry.direction === "received", right = received === column < 1;
  const label = make("span", `label ${right ? "right" : "left"}`, entry.summary);
  label.title = visible(entry.summary);
  label.style.gridColumn = `${2 * Math.min(column, 1) + 3} / ${2 * Math.max(column, 1) + 3}`;
  const text = make("pre", "");
  text.textContent = lines(entry.message);
  const ends = make("span", "ends soft", received ? `${peerOf(entry)} → here` : `here → ${peerOf(entry)}`);
  return make("details", "message", make("summary", "", make("span", "soft", time(entry.at)), ends, label), text);
};

const ladder = messages => {
  const peers = [...new Set(messages.map(peerOf))];
  // The server is between the first peer and the others.
  const names = [...peers.slice(0, 1), "frontdesk", ...peers.slice(1)];
  const box = make("div", names.length <= 4 ? "columns small" : "small");
  box.style.setProperty("--halves", 2 * names.length);
  box.append(headOf(names), ...messages.map(entry => messageOf(entry, names)));
  return box;
};

const load = async trace => {
  const { messages, not_kept } = await read(`calls/${trace.id}/messages`);
  if (!messages || trace.shown === messages.length) return;
  trace.shown = messages.length;
  // What is open stays open.
  const open = [...trace.box.querySelectorAll(".message")].map(message => message.open);
  const missing = not_kept ? `${counted(not_kept, "later message is", "later messages are")} not kept.` : "";
  trace.box.replaceChildren(ladder(messages), make("p", "soft small", missing));
  trace.box.querySelectorAll(".message").forEach((message, index) => { message.open = open[index] ?? false; });
};

const newTrace = (call, showError) => {
  const trace = { id: call.id, shown: 0, box: make("div", ""), count: make("span", "small soft") };
  const pcap = button("Save for Wireshark", "tool", "", () => save(`calls/${call.id}/pcap`, `call-${call.id.slice(0, 8)}.pcap`).catch(showError));
  const summary = make("summary", "", make("span", "who", `${shortAddress(call.from)} → ${shortAddress(call.to)} `), make("span", "small soft", `${clock(call.began)}, `), trace.count);
  trace.details = make("details", "", summary, pcap, trace.box);
  trace.details.addEventListener("toggle", () => { if (trace.details.open) load(trace).catch(showError); });
  trace.element = make("li", "", trace.details);
  return trace;
};

export const showTraces = ({ max, calls }, showError) => {
  at("traces-section").hidden = max === 0;
  at("traces-count").textContent = `the last ${max}`;
  const ids = new Set(calls.map(call => call.id));
  [...traces.keys()].filter(id => !ids.has(id)).forEach(id => traces.delete(id));
  calls.forEach(call => {
    if (!traces.has(call.id)) traces.set(call.id, newTrace(call, showError));
    const trace = traces.get(call.id);
    trace.count.textContent = counted(call.messages, "message", "messages");
    if (trace.details.open && trace.shown !== call.messages) load(trace).catch(showError);
  });
  fill("traces", calls.map(call => ({ key: call.id, element: () => traces.get(call.id).element })), "No call yet.");
};
