// The page of the server: reads its state every two seconds while the page is seen.

import { inWords, read, setToken } from "./api.js";
import { callQuery, prepareCalls, showCalls } from "./calls.js";
import { alarmOf, showBans, showFailures, showRefusals } from "./defence.js";
import { at, fill, plain, visible } from "./elements.js";
import { showGraphs } from "./graphs.js";
import { prepareLog, refreshLog } from "./log.js";
import { showOffice } from "./office.js";
import { showTraces } from "./traces.js";
import { prepareUsers, showUsers } from "./users.js";
import { counted, duration, phones, setDomain } from "./words.js";

const INTERVAL = 2000;

let last = 0;

const showError = error => {
  at("login").hidden = error !== "token";
  if (error === "token") at("content").hidden = true;
  at("state").className = "bad";
  at("state").textContent = inWords(error);
};

const showState = (server, refusals) => {
  const { troubles } = server, warning = alarmOf(refusals), name = server.domains[0] ?? "";
  setDomain(name);
  at("state").className = troubles.length ? "bad" : warning ? "wait" : "good";
  // It is announced by screen readers, so it is only set if it has changed.
  const text = visible([...troubles, ...(warning ? [warning] : [])].join("; ") || "ready");
  if (at("state").textContent !== text) at("state").textContent = text;
  at("facts").textContent = `${name} · ${phones(server.phones)} of ${counted(server.users, "user", "users")} · up ${duration(server.uptime_seconds)}`;
};

const showServer = (server, nodes) => fill("server", [
  plain("version", server.version), plain("listens on", server.listen.join(", ")), plain("domains", [...server.domains, ...server.aliases].join(", ")),
  plain("configuration", server.configuration ?? "defaults"), plain("accounts", `${server.accounts}`), plain("store", server.store),
  plain("connections", `${server.connections}`),
  ...nodes.map(node => plain(`node ${node.name}${node.own ? " (this server)" : ""}`, node.alive ? "alive" : "gone", node.alive ? "" : "bad")),
], "");

const refresh = async () => {
  const current = ++last;
  const paths = [
    "server", `users?search=${encodeURIComponent(at("search").value)}`, `calls?${callQuery()}`, "failures", "groups", "trunks",
    "refusals", "nodes", "bans", "activity", "trace/calls",
  ];
  try {
    const [server, users, calls, failures, groups, trunks, refusals, { nodes }, bans, activity, traced] = await Promise.all(paths.map(read));
    // A later refresh may have overtaken this one.
    if (current !== last) return;
    showState(server, refusals);
    showUsers(users, refresh);
    showCalls(calls);
    showOffice(groups, trunks);
    showTraces(traced, showError);
    showRefusals(refusals);
    showBans(bans, refresh);
    showFailures(failures);
    showGraphs(activity);
    showServer(server, nodes);
    at("content").hidden = false;
    at("login").hidden = true;
    document.body.dataset.refreshes++;
  } catch (error) {
    if (current === last) showError(error);
  }
};

const refreshIfSeen = () => {
  if (document.hidden) return;
  refresh();
  refreshLog();
};

prepareUsers(refresh);
prepareCalls(refresh, showError);
prepareLog();
at("key").addEventListener("submit", event => {
  event.preventDefault();
  setToken(event.target.elements[0].value.trim());
  refresh();
});
refresh();
setInterval(refreshIfSeen, INTERVAL);
document.addEventListener("visibilitychange", refreshIfSeen);
