// Text of a peer, made fit to be shown. It is inserted as text all the same, never as HTML.

const MAX_TEXT = 80;

/** Characters that reorder, hide or break text are shown escaped. */
export const visible = text =>
  text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, c => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);

/** A name of a thousand characters would push the buttons off the screen. */
export const shorten = text => {
  const characters = Array.from(text);
  return characters.length > MAX_TEXT ? `${characters.slice(0, MAX_TEXT).join("")}…` : text;
};
