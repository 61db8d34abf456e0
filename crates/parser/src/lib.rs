//! SIP text for frontdesk: bytes in, spans and typed headers out, edits and replies back to bytes.
//!
//! A [`Message`] is the received octets plus the places where its lines lie. Nothing is copied and nothing is decoded
//! until someone asks: a typed [`Header`] is parsed when first wanted and borrows from the message. Nobody edits a
//! message; a [`Rewrite`] lists edits and writes the new octets in one pass, so whatever no edit touched leaves as it
//! came. A [`Reply`] is the response an element makes itself; [`Framer`] cuts messages out of a stream.
//!
//! The crate does no I/O, reads no clock and keeps no global state. Everything is octets (`&[u8]`): a display name in
//! a broken encoding is carried, not repaired.
//!
//! ```
//! use parser::{HeaderName, Message, Rewrite, headers::Via};
//!
//! let message = Message::parse(bytes::Bytes::from_static(
//!     b"OPTIONS sip:bob@office.example SIP/2.0\r\n\
//!       v: SIP/2.0/UDP desk.office.example;branch=z9hG4bK1;rport\r\n\
//!       Max-Forwards: 70\r\n\
//!       \r\n",
//! ))?;
//! assert_eq!(message.defect(), None);
//! let via = message.required::<Via<'_>>()?;
//! assert_eq!(via.branch(), Some(&b"z9hG4bK1"[..]));
//!
//! let mut rewrite = Rewrite::new();
//! rewrite.replace(message.request_uri_span(), |out| out.extend_from_slice(b"sip:bob@192.0.2.7"));
//! rewrite.remove_all(&message, HeaderName::MaxForwards);
//! rewrite.put_first(&message, |out| out.extend_from_slice(b"Max-Forwards: 69\r\n"));
//! let mut out = Vec::new();
//! rewrite.write(&message, &mut out);
//! assert!(out.starts_with(b"OPTIONS sip:bob@192.0.2.7 SIP/2.0\r\nMax-Forwards: 69\r\nv: SIP/2.0/UDP desk"));
//! # Ok::<(), parser::ParseError>(())
//! ```

mod error;
mod escape;
mod follow_up;
mod frame;
mod grammar;
mod header;
pub mod headers;
mod host;
mod lines;
mod list;
mod message;
mod method;
mod name;
mod octets;
mod params;
mod reply;
mod rewrite;
mod span;
mod stamp;
mod start_line;
mod status;
mod transport;
mod uri;
mod uri_eq;

pub use error::{ErrorKind, ParseError, Reason400};
pub use escape::unescape;
pub use follow_up::{write_ack, write_cancel};
pub use frame::{Frame, Framer};
pub use header::{Header, Headers};
pub use headers::*;
pub use host::Host;
pub use lines::{Leniency, Line};
pub use list::{Values, elements};
pub use message::Message;
pub use method::Method;
pub use name::{HeaderName, Occurs};
pub use params::{Params, ParamsIter, unquote};
pub use reply::{Reply, can_answer};
pub use rewrite::Rewrite;
pub use span::Span;
pub use stamp::Stamp;
pub use status::reason_phrase;
pub use transport::Transport;
pub use uri::{SipUri, Uri};
pub use uri_eq::equivalent;
