//! Dialogs that this server record-routed, without keeping them: what a Record-Route token says, and whether a request of a
//! dialog comes from one of its sides and goes to the other (RFC 3261 12.2, 16.4, 16.6 step 4, 16.12).
//!
//! Whoever has read a message of a call knows its token. So a token alone permits nothing: a request passes without
//! credentials only from the peer that the token names and only to the other one. Must not ask for credentials (`auth`)
//! nor find out where a user is registered (`core`).

mod in_dialog;
mod moved;
mod next_hop;
mod notify;
mod record_route;
mod token;

pub(crate) use in_dialog::{FlowOfDialog, InDialog, Next};
pub(crate) use moved::MovedSides;
pub use moved::{Moved, SideOfDialog};
pub(crate) use next_hop::literal;
pub(crate) use notify::write_record_routes_of_notify;
pub(crate) use record_route::{Callee, own_user, phone_of, refresh_targets, token_for};
