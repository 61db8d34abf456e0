// The last day as graphs: registered phones, calls, refused requests. Each has its content as text too.

import { at, make } from "./elements.js";
import { clock, counted, phones } from "./words.js";

const WIDTH = 288, HEIGHT = 48;

// Slots that a bar stands for: a quarter of an hour.
const SLOTS = 3;

const shape = (name, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  return element;
};

// The values at the right end of a day that has not passed yet.
const ofDay = values => [...Array(Math.max(0, WIDTH - values.length)).fill(0), ...values].slice(-WIDTH);

// A day has a whole number of bars, so that a bar keeps its slots while time passes.
const sums = values => {
  const bars = [];
  for (let at = 0; at < WIDTH; at += SLOTS) bars.push(values.slice(at, at + SLOTS).reduce((sum, value) => sum + value, 0));
  return bars;
};

const bars = (values, highest, kind) => sums(values).map((value, index) => {
  const height = value === 0 ? 0 : Math.max(1, value / highest * HEIGHT);
  return shape("rect", { class: kind, x: index * SLOTS, width: SLOTS - 0.6, y: HEIGHT - height, height });
});

const line = (values, highest) => {
  const points = values.map((value, index) => `${index},${(HEIGHT - value / highest * (HEIGHT - 2) - 1).toFixed(1)}`);
  return [shape("polyline", { class: "line", points: points.join(" ") })];
};

const graph = (title, text, shapes) => {
  const picture = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${text}` });
  picture.append(...shapes);
  const label = make("div", "row small", make("span", "", title), make("span", "soft", text));
  return make("div", "graph", label, picture);
};

const sum = values => values.reduce((total, value) => total + value, 0);

let shown = "";

export const showGraphs = activity => {
  const key = JSON.stringify(activity);
  if (key === shown) return;
  shown = key;
  const [registered, calls, failed, refused] = [activity.phones, activity.calls, activity.failed, activity.refused].map(ofDay);
  const most = values => Math.max(1, ...sums(values));
  at("graphs").replaceChildren(
    graph("registered", `${phones(registered.at(-1))} now, ${Math.max(...registered)} at most`, line(registered, Math.max(1, ...registered))),
    graph("calls", `${counted(sum(calls), "call", "calls")}, ${sum(failed)} failed`, [...bars(calls, most(calls), "calls"), ...bars(failed, most(calls), "failed")]),
    graph("refused", counted(sum(refused), "request", "requests"), bars(refused, most(refused), "failed")),
  );
  const since = activity.phones.length < WIDTH ? clock(activity.began) : "24 hours ago";
  at("graphs-since").textContent = `since ${since}`;
};
