//! The typed headers, one file each. To add one: a file here, its `mod` line, and a row in `table.rs`. The table does
//! not declare the modules, because rustfmt does not see modules that a macro declares; the compiler reports a missing one.
//!
//! Each type documents its grammar rule. Known violations by senders are accepted if they have only one possible
//! meaning; all others are errors, because a downstream element may interpret them differently:
//!
//! | accepted | refused |
//! | --- | --- |
//! | display names with octets above ASCII outside quotes | display names with `,`, `(`, `@`, ... outside quotes |
//! | `:`, `/`, `@`, `=` in unquoted parameter values | empty parameters, `;;`, a `;` at the end |
//! | `#` in a user part, `_` in a host name | an empty user part, a `%` without two hex digits |
//! | any visible ASCII in a Call-ID | white space and octets above ASCII in a Call-ID |
//! | the zone of a link-local IPv6 address, three colons before an IPv4 address | IPv6 addresses without brackets |
//! | the same Content-Length twice | two different ones, signs, fractions, lists |
//! | a malformed Expires (RFC 3261 10.2.1.1: an hour) | other malformed or too large numbers |
//! | invalid UTF-8, anywhere | control characters outside quoted pairs |
//! | empty elements of a comma list | Route, Path and similar headers without angle brackets |
//!
//! Lone LFs and CRs are controlled by [`crate::Leniency`].

use crate::{ErrorKind, Header, HeaderName, Message, ParseError};

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
mod uri_and_tag;
mod user_agent;
mod via;
mod warning;
mod www_authenticate;

pub use challenge::Challenge;
pub use contact::{BindingContact, BindingParams};
pub use credentials::{AuthParams, Credentials};
pub use feature::{Feature, Features, TagValue};
pub use name_addr::NameAddr;
pub use option_tag::OptionTag;
pub use product::{Product, Products};
pub use uri_and_tag::UriAndTag;

macro_rules! typed_headers {
    ($($variant:ident $text:literal [$($compact:literal)?] $occurs:ident [$($file:ident)?];)*) => {
        $($(pub use $file::$variant;)?)*

        // A type must be that of its row.
        $($(const _: () = assert!($file::$variant::NAME as u8 == HeaderName::$variant as u8);)?)*

        /// See [`Message::faults`].
        #[expect(elided_lifetimes_in_paths, reason = "only some of the types have a lifetime")]
        pub(crate) fn faults(message: &Message, name: HeaderName) -> Vec<ParseError> {
            let mut faults = Vec::new();
            match name {
                $(HeaderName::$variant => { $(add_faults::<$file::$variant>(message, &mut faults);)? })*
                HeaderName::Unknown => {}
            }
            faults
        }
    };
}

header_table!(typed_headers);

fn add_faults<'a, H: Header<'a>>(message: &'a Message, faults: &mut Vec<ParseError>) {
    let duplicate = message.header::<H>().err().filter(|error| error.kind == ErrorKind::Duplicate);
    faults.extend(duplicate.into_iter().chain(message.headers::<H>().filter_map(Result::err)));
}
