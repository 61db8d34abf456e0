//! Dialogs whose requests pass through this server because of its Record-Route (RFC 3261 12.2, 16.4, 16.6 step 4,
//! 16.12). The server keeps no table of them: the Record-Route value contains a signed token, and each request in the
//! dialog brings the token back.
//!
//! Everybody who has read a message of a call knows its token, so a token alone permits nothing. It names the peers of
//! both sides, and a request passes without credentials only from one of these peers to the other. Must not ask for
//! credentials (`auth`), nor load registrations (`core`).

mod in_dialog;
mod mark;
mod moved;
mod next_hop;
mod notify;
mod record_route;
mod token;
mod user;

pub(crate) use in_dialog::{FlowOfDialog, InDialog, Next};
pub(crate) use moved::MovedSides;
pub use moved::{Moved, SideOfDialog};
pub(crate) use next_hop::{literal_address, plain_udp_address};
pub(crate) use notify::write_record_routes_of_notify;
pub(crate) use record_route::{ResponseCallee, own_user_part, phone_hash, token_for, update_record_routes};
