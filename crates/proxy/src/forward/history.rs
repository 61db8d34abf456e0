//! How a call came to the party that rings: History-Info (RFC 7044) for every hop, Diversion (RFC 5806) for trusted ones.
//!
//! Must not decide that a call is forwarded. The text is written once for all branches of one attempt.

use location::Aor;
use parser::headers::{HistoryInfo, Privacy};
use parser::{HeaderName, Rewrite, escape_param, escape_user, write_decimal};

use crate::hop::Hop;
use crate::request::Request;
use crate::settings::Settings;

/// The header lines about the parties that a call was forwarded from.
#[derive(Debug)]
pub(crate) struct History {
    /// Lines of History-Info, in order.
    info: Vec<u8>,
    /// Lines of Diversion, the last diversion first (RFC 5806 5).
    diversion: Vec<u8>,
}

/// A party that a call was forwarded from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Diverted<'a> {
    pub(crate) name: &'a Aor,
    /// The status that its Reason names (RFC 7044 10.2).
    pub(crate) status: u16,
    /// The reason of a Diversion.
    pub(crate) reason: &'static str,
}

/// The party that a call was forwarded to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reached<'a> {
    Name(&'a Aor),
    Uri(&'a str),
}

impl History {
    /// The history of a request that was forwarded by these parties, in this order.
    pub(crate) fn new(request: &Request, diverted: &[Diverted<'_>], to: Reached<'_>, settings: &Settings) -> Self {
        let mut this = Self { info: Vec::new(), diversion: Vec::new() };
        // The entries of a request from a trusted hop go on; those of others are removed ([`super::identity`]).
        let keeps = settings.trusts(request.flow.remote.ip());
        let earlier = request.message.headers::<HistoryInfo<'_>>().flatten().filter(|_| keeps).last();
        let mut index: Vec<u8> = earlier.and_then(|entry| entry.index()).unwrap_or_default().to_vec();
        for party in diverted {
            let from = index.clone();
            extend(&mut index);
            let mut uri = uri_of(party.name);
            uri.extend_from_slice(b"?Reason=");
            escape_param(format!("SIP;cause={}", party.status).as_bytes(), &mut uri);
            this.add_entry(&uri, &index, &from);
            let mut line = b"Diversion: <".to_vec();
            line.extend_from_slice(&uri_of(party.name));
            line.extend_from_slice(b">;reason=");
            line.extend_from_slice(party.reason.as_bytes());
            line.extend_from_slice(b";counter=1\r\n");
            this.diversion.splice(..0, line);
        }
        let from = index.clone();
        extend(&mut index);
        match to {
            Reached::Name(name) => this.add_entry(&uri_of(name), &index, &from),
            Reached::Uri(uri) => this.add_entry(uri.as_bytes(), &index, &from),
        }
        this
    }

    /// RFC 7044 5: an entry that was reached from another one names it in `mp`, because it is another user.
    fn add_entry(&mut self, uri: &[u8], index: &[u8], from: &[u8]) {
        self.info.extend_from_slice(b"History-Info: <");
        self.info.extend_from_slice(uri);
        self.info.extend_from_slice(b">;index=");
        self.info.extend_from_slice(index);
        if !from.is_empty() {
            self.info.extend_from_slice(b";mp=");
            self.info.extend_from_slice(from);
        }
        self.info.extend_from_slice(b"\r\n");
    }

    /// Adds the lines to a request that is sent to `hop`. Nothing is added for others than trusted hops if the caller asked
    /// for privacy (RFC 7044 10.1.2).
    pub(super) fn add_to(&self, request: &Request, hop: &Hop, settings: &Settings, rewrite: &mut Rewrite) {
        let message = &request.message;
        let is_trusted = settings.trusts(hop.remote.ip());
        let wants_privacy = |privacy: Privacy<'_>| privacy.has("history") || privacy.has("header") || privacy.has("id");
        let is_private = || message.headers::<Privacy<'_>>().any(|privacy| privacy.is_ok_and(wants_privacy));
        if !is_trusted && message.has_any(&[HeaderName::Privacy]) && is_private() {
            return;
        }
        rewrite.append(message, |out| out.extend_from_slice(&self.info));
        if is_trusted {
            rewrite.put_first(message, |out| out.extend_from_slice(&self.diversion));
        }
    }

    /// The octets that it holds on the heap.
    pub(crate) fn held(&self) -> usize {
        self.info.capacity() + self.diversion.capacity()
    }
}

/// RFC 7044 10.3: each retargeting adds a level.
fn extend(index: &mut Vec<u8>) {
    if !index.is_empty() {
        index.push(b'.');
    }
    write_decimal(index, 1_u32);
}

/// The address of record as a URI.
fn uri_of(name: &Aor) -> Vec<u8> {
    let mut uri = b"sip:".to_vec();
    escape_user(name.user(), &mut uri);
    uri.push(b'@');
    let is_v6 = name.domain().contains(&b':');
    uri.extend_from_slice(if is_v6 { b"[" } else { b"" });
    uri.extend_from_slice(name.domain());
    uri.extend_from_slice(if is_v6 { b"]" } else { b"" });
    uri
}
