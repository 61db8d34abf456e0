//! The typed headers, one file each. To add one: a file here and a row in `name.rs`.
//!
//! Each type documents its grammar rule. Known violations by senders are accepted if they have only one possible meaning;
//! all others are errors, because a downstream element may interpret them differently:
//!
//! | accepted | refused |
//! | --- | --- |
//! | display names with octets above ASCII outside quotes | display names with `,`, `(`, `@`, ... outside quotes |
//! | `:`, `/`, `@`, `=` in unquoted parameter values | empty parameters, `;;`, a `;` at the end |
//! | `#` in a user part, `_` in a host name, any visible ASCII in a Call-ID | an empty user part, a `%` without two hex digits |
//! | the zone of a link-local IPv6 address, three colons before an IPv4 address | IPv6 addresses without brackets |
//! | the same Content-Length twice | two different ones, signs, fractions, lists |
//! | a malformed Expires (RFC 3261 10.2.1.1: an hour) | other malformed or too large numbers |
//! | invalid UTF-8, anywhere | control characters outside quoted pairs |
//! | empty elements of a comma list | Route, Path and similar headers without angle brackets |
//!
//! Lone LFs and CRs are controlled by [`crate::Leniency`].

mod accept;
mod accept_contact;
mod allow;
mod authentication_info;
mod authorization;
mod call_id;
mod challenge;
mod contact;
mod content_length;
mod content_type;
mod credentials;
mod cseq;
mod date;
mod diversion;
mod event;
mod expires;
mod feature;
mod feature_caps;
mod flow_timer;
mod from;
mod history_info;
mod max_breadth;
mod max_forwards;
mod min_expires;
mod name_addr;
mod option_tag;
mod p_asserted_identity;
mod p_preferred_identity;
mod path;
mod privacy;
mod product;
mod proxy_authenticate;
mod proxy_authorization;
mod proxy_require;
mod reason;
mod record_route;
mod reject_contact;
mod request_disposition;
mod require;
mod retry_after;
mod route;
mod server;
mod service_route;
mod supported;
mod timestamp;
mod to;
mod unsupported;
mod user_agent;
mod via;
mod warning;
mod www_authenticate;

pub use accept::Accept;
pub use accept_contact::AcceptContact;
pub use allow::Allow;
pub use authentication_info::AuthenticationInfo;
pub use authorization::Authorization;
pub use call_id::CallId;
pub use challenge::Challenge;
pub use contact::Contact;
pub use content_length::ContentLength;
pub use content_type::ContentType;
pub use credentials::{AuthParams, Credentials};
pub use cseq::CSeq;
pub use date::Date;
pub use diversion::Diversion;
pub use event::Event;
pub use expires::Expires;
pub use feature::{Feature, Features, TagValue};
pub use feature_caps::FeatureCaps;
pub use flow_timer::FlowTimer;
pub use from::From;
pub use history_info::HistoryInfo;
pub use max_breadth::MaxBreadth;
pub use max_forwards::MaxForwards;
pub use min_expires::MinExpires;
pub use name_addr::NameAddr;
pub use option_tag::OptionTag;
pub use p_asserted_identity::PAssertedIdentity;
pub use p_preferred_identity::PPreferredIdentity;
pub use path::Path;
pub use privacy::Privacy;
pub use product::{Product, Products};
pub use proxy_authenticate::ProxyAuthenticate;
pub use proxy_authorization::ProxyAuthorization;
pub use proxy_require::ProxyRequire;
pub use reason::Reason;
pub use record_route::RecordRoute;
pub use reject_contact::RejectContact;
pub use request_disposition::RequestDisposition;
pub use require::Require;
pub use retry_after::RetryAfter;
pub use route::Route;
pub use server::Server;
pub use service_route::ServiceRoute;
pub use supported::Supported;
pub use timestamp::Timestamp;
pub use to::To;
pub use unsupported::Unsupported;
pub use user_agent::UserAgent;
pub use via::Via;
pub use warning::Warning;
pub use www_authenticate::WwwAuthenticate;
