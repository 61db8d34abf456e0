// Loads the CommonJS modules of npm packages into the page, without a bundler: `require` fetches each file while its
// caller waits.

const modules = new Map();
const texts = new Map();

/** The text of a file; null if there is none. */
function fetchText(path) {
  if (!texts.has(path)) {
    const request = new XMLHttpRequest();
    request.open("GET", path, false);
    request.send();
    texts.set(path, request.status === 200 ? request.responseText : null);
  }
  return texts.get(path);
}

/** Runs the module of a file, once. */
function load(path) {
  if (modules.has(path)) return modules.get(path).exports;
  const text = fetchText(path);
  if (text === null) throw new Error(`there is no ${path}`);
  const module = { exports: {} };
  modules.set(path, module);
  if (path.endsWith(".json")) module.exports = JSON.parse(text);
  else {
    const run = new Function("module", "exports", "require", `${text}\n//# sourceURL=${path}`);
    run(module, module.exports, name => require(name, path));
  }
  return module.exports;
}

/** A module by the name that the module at `from` uses for it. */
function require(name, from = "/") {
  if (!name.startsWith(".")) return load(packageFile(name));
  const path = new URL(name, `http://x${from}`).pathname;
  return load(fileAt(path));
}

function fileAt(path) {
  if (/\.(js|json)$/.test(path)) return path;
  const file = [`${path}.js`, `${path.replace(/\/$/, "")}/index.js`].find(file => fetchText(file) !== null);
  if (!file) throw new Error(`there is no module at ${path}`);
  return file;
}

// The file that a package names for browsers.
function packageFile(name) {
  const { browser, main } = JSON.parse(fetchText(`/node_modules/${name}/package.json`));
  const entry = typeof browser === "string" ? browser : (main ?? "index.js");
  return fileAt(new URL(entry, `http://x/node_modules/${name}/`).pathname);
}

globalThis.JsSIP = require("jssip");
