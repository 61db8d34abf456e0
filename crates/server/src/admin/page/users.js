// Users with their phones and rules, and changes of accounts.

import { change, hasToken, inWords } from "./api.js";
import { at, button, carefulButton, fill, make, row } from "./elements.js";
import { clock, coarseDuration, phones, shortAddress } from "./words.js";

const tell = text => { at("account-answer").textContent = text; };

// What to type into the phone. The password cannot be read again.
const tellPassword = ({ user, password }) => tell(`${user} has the password ${password} now. Only its hashes are stored: note it.`);

const changeAccount = async (method, user) => change(method, `users/${encodeURIComponent(user)}/account`);

const accountTools = aor => {
  const another = carefulButton("new password", "Really? Its phones are refused until they have the new one.", "Chooses another password and shows it.",
    () => changeAccount("PUT", aor).then(tellPassword, error => tell(inWords(error))));
  const remove = carefulButton("remove account", "Really remove it?", "Removes the account and its registrations.",
    () => changeAccount("DELETE", aor).then(() => tell(`${aor} has no account any more.`), error => tell(inWords(error))));
  return make("div", "tools", another, remove);
};

const phone = (aor, entry, refresh) => {
  const device = make("span", "small", entry.device ?? "a phone without User-Agent");
  if (entry.expires_in === null) return [row(make("span", "small", entry.contact), make("span", "small soft", "static"))];
  const remove = button("remove", "quiet", "Removes this registration. A phone that is still running registers again.", async element => {
    element.disabled = true;
    await change("DELETE", `users/${encodeURIComponent(aor)}/phones/${encodeURIComponent(entry.contact)}`).catch(() => {});
    refresh();
  });
  remove.setAttribute("aria-label", "remove this phone");
  const node = entry.node === null ? "" : `, at node ${entry.node}`;
  return [
    row(device, remove),
    row(make("span", "small soft", `${entry.address} ${entry.transport}${node}`),
      make("span", "small soft", `since ${clock(entry.since)}, ${coarseDuration(entry.expires_in)} left`)),
  ];
};

// The rules of a user in words; a mark shows what was set while the server runs.
const rules = ({ always, busy, no_answer, unavailable, after, do_not_disturb, also_ring, set }) => {
  const mark = key => set[key] === undefined ? "" : " (set)";
  const forwards = [["always", "all calls", always], ["busy", "if busy", busy], ["no_answer", `after ${after}`, no_answer], ["unavailable", "if unavailable", unavailable]];
  const lines = forwards.filter(([key, , party]) => party !== null || set[key] !== undefined)
    .map(([key, when, party]) => `${when} → ${party === null ? "not forwarded" : shortAddress(party)}${mark(key)}`);
  const beside = also_ring.map(({ to, after, hours }) => `${shortAddress(to)}${after ? ` after ${after}` : ""}${hours ? `, ${hours}` : ""}`);
  if (also_ring.length || set.also_ring !== undefined) lines.push(`also rings: ${beside.join("; ") || "nobody"}${mark("also_ring")}`);
  if (do_not_disturb || set.do_not_disturb !== undefined) lines.unshift(`do not disturb: ${do_not_disturb ? "on" : "off"}${mark("do_not_disturb")}`);
  return lines;
};

const user = (entry, refresh) => {
  const aor = `${entry.user}@${entry.domain}`, registered = entry.phones.length > 0;
  const lines = entry.forwarding ? rules(entry.forwarding) : [], has_tools = entry.account && hasToken();
  const shown = entry.phones.map(phone => [phone.device, phone.contact, phone.address, phone.node, clock(phone.since), phone.expires_in === null ? 0 : coarseDuration(phone.expires_in)]);
  return {
    key: [aor, entry.name, lines, shown, has_tools],
    element: () => {
      const name = make("span", "", make("span", "who", shortAddress(aor)), entry.name ? make("span", "small soft", ` ${entry.name}`) : null);
      const state = make("span", registered ? "small good" : "small soft", registered ? phones(entry.phones.length) : "no phone");
      const item = make("li", "", row(name, state));
      lines.forEach(line => item.append(make("div", "small wait", line)));
      entry.phones.forEach(binding => item.append(make("div", "phone", ...phone(aor, binding, refresh))));
      if (has_tools) item.append(accountTools(aor));
      return item;
    },
  };
};

export const showUsers = ({ total, users }, refresh) => {
  at("users-count").textContent = total > users.length ? `the first ${users.length} of ${total}` : `${total}`;
  at("add-account").hidden = !hasToken();
  fill("users", users.map(entry => user(entry, refresh)), at("search").value ? "No user of that name." : "No user has an account or a phone yet.");
};

export const prepareUsers = refresh => {
  at("search").addEventListener("input", refresh);
  at("add-account").addEventListener("submit", async event => {
    event.preventDefault();
    const input = event.target.elements[0];
    try {
      tellPassword(await changeAccount("POST", input.value.trim()));
      input.value = "";
      refresh();
    } catch (error) {
      tell(inWords(error));
    }
  });
};
