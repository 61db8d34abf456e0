//! The page of a user, `/me`: forwarding, do-not-disturb and the registered phones, with the SIP password of the user.
//!
//! The admin listener and the `ws` and `wss` listeners pass requests to [`MePages`]. It answers:
//!
//! - `/me` and `/me/NAME`: the page, its modules and style sheets. `files` lists them.
//! - `/me/challenge`: a digest challenge.
//! - `/me/rules`: what the page shows and sets (docs/openapi.yaml), with the credentials of the user.
//!
//! The password is never sent: each request has a digest response of its own (RFC 7616), so there is no session, and no
//! cookie that a page of another origin could use. This file only lists the modules.

mod files;
mod reply;
mod service;
mod verifier;

pub(crate) use service::{MePages, is_path};
