// Connects the page with the server: sign-in, showing and setting the rules of the user.
//
// The password stays in the memory of the tab until the person signs out or closes it. No request goes to another origin.

import { isAvailable } from "./digest.js";
import { Account, firstDomain, Refused } from "./server.js";
import { View } from "./view.js";

const view = new View({ signIn, signOut, save, clear: key => change({ [key]: null }) });
/** @type {Account | null} */
let account = null;
let domain = "";

async function signIn(user, password) {
  await run("Signing in…", async () => {
    const candidate = new Account(user, password);
    view.rules(await candidate.rules());
    account = candidate;
    view.state("signed in", "good");
  });
}

function signOut() {
  account = null;
  view.notice("");
  view.signIn(domain);
  view.state("signed out", "");
}

async function save(changes) {
  if (Object.keys(changes).length === 0) view.state("nothing to save", "good");
  else await change(changes);
}

async function change(keys) {
  if (account === null) return;
  await run("Saving…", async () => {
    view.rules(await account.change(keys));
    view.state("saved", "good");
  });
}

async function run(state, action) {
  view.isBusy(true);
  view.notice("");
  view.state(state, "");
  try {
    await action();
  } catch (error) {
    // The password has been changed meanwhile.
    if (error.status === 401 && account !== null) signOut();
    view.state(account === null ? "signed out" : "not saved", "bad");
    view.notice(error instanceof Refused ? error.message : "The page has failed. Load it again.");
  } finally {
    view.isBusy(false);
  }
}

async function start() {
  if (!isAvailable()) {
    view.state("not available", "bad");
    view.notice("Browsers allow this page with https or at localhost only. Ask your administrator for the https address.");
    return;
  }
  try {
    domain = await firstDomain();
    view.signIn(domain);
    view.state("signed out", "");
  } catch (error) {
    view.state("not available", "bad");
    view.notice(error.message);
  }
}

start();
