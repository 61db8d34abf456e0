// The elements of the page. Values come from phones, which may send anything: they are inserted as text, never as HTML.

export const at = id => document.getElementById(id);

// Characters that reorder, hide or break text are shown escaped.
export const visible = text => text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, c => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);

// An element of a class, with these children; those that are null are left out.
export const make = (tag, kind, ...children) => {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  element.append(...children.filter(child => child !== null && child !== undefined)
    .map(child => typeof child === "string" ? visible(child) : child));
  return element;
};

export const row = (left, right) => make("div", "row", left, right);

export const button = (text, kind, title, act) => {
  const element = make("button", kind, text);
  element.type = "button";
  if (title) element.title = title;
  element.addEventListener("click", () => act(element));
  return element;
};

// A button that acts at the second click within some seconds, for what cannot be undone.
export const carefulButton = (text, question, title, act) => button(text, "quiet", title, element => {
  const was_asked = element.textContent === question;
  element.textContent = was_asked ? text : question;
  if (was_asked) return act(element);
  setTimeout(() => { element.textContent = text; }, 8000);
  return null;
});

// Shows a list. `items` are of the form `{ key, element }`: an element is made again only if the keys have changed, so that
// a button keeps its focus.
export const fill = (id, items, placeholder) => {
  const list = at(id), shown = JSON.stringify(items.map(item => item.key));
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  list.replaceChildren(...(items.length ? items.map(item => item.element()) : [make("p", "empty small", placeholder)]));
};

// A line with a name and a value.
export const plain = (left, right, kind = "") => ({
  key: [left, right],
  element: () => make("li", "small", row(make("span", "", left), make("span", kind || "soft", right))),
});
