//! The phone in the browser: a page at `/phone` with a SIP user agent in JavaScript (RFC 3261, RFC 7118, RFC 8760).
//!
//! The admin listener and the `ws` and `wss` listeners call [`page`] for a GET request. It answers:
//!
//! - `/phone`: the page.
//! - `/phone/NAME`: a module, the style sheet, the icon. `files` lists them.
//! - `/phone/config`: `{"websocket": TEXT or null, "domain": TEXT}`. `websocket` is a URL, which may be relative to the
//!   page: `/` for a page that a `ws` or `wss` listener served, so that it also works behind a reverse proxy;
//!   `ws://127.0.0.1:5080/` for a page of the admin listener; null if no listener can be reached. `domain` is the first
//!   domain of the configuration.
//!
//! The page has no secrets. It must not depend on a listener: the caller says how the page reaches the server, by
//! [`WebSocket`]. This file only lists the modules.

mod files;
mod reply;
mod websocket;

pub(crate) use reply::page;
pub(crate) use websocket::WebSocket;
