// What this phone says about itself (RFC 3261 20.5, 20.37, 20.41).

export const USER_AGENT = "frontdesk-phone";
export const ALLOW = "INVITE, ACK, CANCEL, BYE, UPDATE, INFO, OPTIONS";
export const METHODS = new Set(ALLOW.split(", "));
/** Extensions that a request may require. `replaces`, `100rel` and `timer` are not among them. */
export const EXTENSIONS = new Set(["outbound", "path"]);
