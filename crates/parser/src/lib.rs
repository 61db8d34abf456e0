//! SIP parser and serializer of frontdesk: messages as spans and typed headers, edits and responses as bytes.
//!
//! A [`Message`] is the received octets and the positions of its lines. Nothing is copied, and values are parsed on
//! demand: a typed [`Header`] borrows from the message. A message is immutable; a [`Rewrite`] collects edits and writes
//! the new octets in one pass, so that everything else is forwarded unchanged. A [`Reply`] is a response that this
//! server generates; [`Framer`] splits a stream into messages.
//!
//! The crate does no I/O, reads no clock and has no global state. All text is octets (`&[u8]`): invalid UTF-8 is passed
//! through unchanged.
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
//!
//! # Performance
//!
//! Microseconds on one core of an Intel Xeon (family 6, model 207), the fastest of 300 samples of 100 rounds, all rows
//! from one run. *Parse*: start line, top Via, all Routes, Max-Forwards, From, To, Call-ID, CSeq, Contact and
//! Content-Length are parsed. *Rewrite*: the same, and the message is written as a proxy forwards it: new Request-URI,
//! Via, Record-Route and Max-Forwards, first Route removed; of a response the top Via removed.
//!
//! | | REGISTER, 593 octets | INVITE with SDP, 1308 | 200 with 5 Vias, 1243 | INVITE with 40 headers, 2364 |
//! |---|---|---|---|---|
//! | parse | 0.68 | 0.81 | 0.63 | 1.45 |
//! | rsipstack 0.7.14 | 3.39 | 4.52 | 3.51 | 8.38 |
//! | rsip 0.4.0 | 5.34 | 8.04 | 4.67 | 14.0 |
//! | ezk-sip-types 0.6.5 | 7.43 | 9.96 | 7.49 | 35.6 |
//! | ratio of the fastest of them to this crate | 5.0 | 5.5 | 5.6 | 5.8 |
//! | parse and rewrite | 0.77 | 0.95 | 0.71 | 1.58 |
//! | rsipstack | 5.25 | 7.43 | 5.49 | 15.0 |
//! | rsip | 8.34 | 12.0 | 6.69 | 21.1 |
//! | ezk-sip-types | 10.8 | 13.6 | 9.94 | 49.0 |
//! | [`Message::parse`] alone | 0.17 | 0.23 | 0.22 | 0.52 |
//! | httparse 1.10, header lines alone | 0.23 | 0.29 | 0.31 | 0.68 |
//! | ratio to httparse | 0.74 | 0.80 | 0.71 | 0.77 |
//!
//! The machine was shared: times vary by 5 % between runs. In three runs the fastest of the others took 4.96 to 5.0,
//! 5.5 to 5.6, 5.4 to 5.6 and 5.8 to 6.2 times as long as this crate; the ratio to httparse was 0.95 once, else below
//! 0.85.
//!
//! [`Message::parse`] does more than httparse in this comparison: it parses the start line, recognises header names,
//! joins folded lines, and finds the end of the body. rsip does not support quoted strings in parameters, so Contacts
//! with one are not parsed there. Up to 45 header lines, neither parse nor rewrite allocates
//! (`tests/no_allocation.rs`).
//!
//! To reproduce: `cargo bench -p parser --bench speed` for this crate and httparse; `cargo run --release` in
//! `benches/compare`, a workspace of its own, for all four parsers on the messages of `benches/messages`.

#[macro_use]
mod table;

mod ack_cancel;
mod controls;
mod error;
mod escape;
mod fault;
mod frame;
mod grammar;
mod head;
mod header;
pub mod headers;
mod hex;
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
mod scan;
mod span;
mod stamp;
mod start_line;
mod status;
mod tel;
mod transport;
mod uri;
mod uri_eq;

pub use ack_cancel::{SentInvite, write_ack, write_cancel};
pub use error::{ErrorKind, ParseError, Reason400};
pub use escape::{escape_param, escape_user, unescape};
pub use frame::{Frame, Framer};
pub use header::{Header, Headers};
pub use headers::*;
pub use hex::{hex_digits, hex_number, hex_octets, hex_text, read_hex, write_hex};
pub use host::Host;
pub use lines::{Leniency, Line};
pub use list::{Values, elements};
pub use message::Message;
pub use method::Method;
pub use name::{HeaderName, Occurs};
pub use octets::{eq_ignore_case, write_decimal};
pub use params::{Params, ParamsIter, unquote};
pub use reply::{Reply, can_answer};
pub use rewrite::Rewrite;
pub use scan::Element;
pub use span::{Span, locate};
pub use stamp::Stamp;
pub use status::reason_phrase;
pub use tel::TelUri;
pub use transport::Transport;
pub use uri::{SipUri, Uri, write_target};
pub use uri_eq::equivalent;
