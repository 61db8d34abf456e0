//! The names that the adversary uses, for itself and for its targets.

use super::{AdversaryState, MALLORY};
use crate::{DOMAIN, Sip, uri_in};

/// Addresses where no agent is.
const NOWHERE: [&str; 3] = ["sip:x@203.0.113.9", "sip:premium@203.0.113.9:5070", "sip:someone@elsewhere.example"];

/// Other users: with phones, with an account only, and without.
pub(super) const OTHERS: [&str; 9] = ["alice", "anna", "bob", "carol", "dave", "frank", "ghost", "grace", "nobody"];

impl AdversaryState {
    /// A user of the local domain.
    pub(super) fn user(&mut self) -> &'static str {
        OTHERS[self.random.index(OTHERS.len())]
    }

    pub(super) fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.random.index(all.len())]
    }

    /// A Request-URI.
    pub(super) fn target(&mut self, address: usize) -> String {
        let user = self.user();
        match self.random.below(8) {
            0 | 1 => format!("sip:{user}@{DOMAIN}"),
            2 => self.one_of(&NOWHERE).to_owned(),
            3 => self.addresses[address].agent.contact(),
            4 => format!("sip:{MALLORY}@{DOMAIN}"),
            5 => format!("sip:{user}@192.0.2.1"),
            // The address of a phone.
            _ => match self.captured_branch() {
                Some(branch) => branch.uri().to_owned(),
                None => format!("sip:{user}@{DOMAIN}"),
            },
        }
    }

    /// The value of a From.
    pub(super) fn person(&mut self) -> String {
        let (user, tag) = (self.user(), self.name());
        match self.random.below(8) {
            0 | 1 => format!("<sip:{user}@{DOMAIN}>;tag={tag}"),
            2 => format!("\"Boss\" <sip:{user}@sip.office.example>;tag={tag}"),
            3 => format!("<sip:someone@elsewhere.example>;tag={tag}"),
            4 => format!("<sip:{MALLORY}@{DOMAIN}>;tag={tag}"),
            // The To or From of a captured request.
            which => match self.captured_request() {
                Some(sip) if which == 5 => sip.value("To").to_owned(),
                Some(sip) => sip.value("From").to_owned(),
                None => format!("<sip:{user}@192.0.2.1>;tag={tag}"),
            },
        }
    }

    /// A From of mallory with the tag of this one, or with this tag.
    pub(super) fn as_mallory(&self, tag: &str) -> String {
        format!("<sip:{MALLORY}@{DOMAIN}>;tag={tag}")
    }

    /// A method, for a request within a dialog or outside.
    pub(super) fn method(&mut self) -> &'static str {
        self.one_of(&[
            "INVITE",
            "INVITE",
            "BYE",
            "BYE",
            "MESSAGE",
            "UPDATE",
            "REFER",
            "INFO",
            "NOTIFY",
            "OPTIONS",
            "ACK",
            "CANCEL",
            "PRACK",
            "PUBLISH",
            "SUBSCRIBE",
        ])
    }

    /// A request of its own, with its own Via.
    pub(super) fn request(&mut self, address: usize, method: &str, uri: &str, from: &str, to: &str) -> Sip {
        let agent = self.addresses[address].agent.clone();
        let call_id = self.name();
        agent.request(method, uri).set("From", from).set("To", to).set("Call-ID", call_id)
    }

    /// The request with the credentials of mallory, if it has an account and a nonce.
    pub(super) fn signed(&mut self, address: usize, request: Sip) -> Sip {
        let credentials = self.addresses[address].credentials.as_mut();
        credentials.and_then(|credentials| credentials.sign(&request)).unwrap_or(request)
    }

    /// The request with a Via of its own.
    pub(super) fn by_own_via(&self, address: usize, request: Sip) -> Sip {
        let via = self.addresses[address].agent.via();
        request.set("Via", via)
    }

    /// Adds headers that assert an identity (RFC 3325, RFC 5806, RFC 7044).
    pub(super) fn assert_identity(&mut self, request: Sip) -> Sip {
        let user = self.user();
        let name = self.one_of(&[
            "P-Asserted-Identity",
            "P-Preferred-Identity",
            "Remote-Party-ID",
            "Diversion",
            "History-Info",
        ]);
        let more = if name == "History-Info" { ";index=1" } else { "" };
        request.with(name, format_args!("<sip:{user}@{DOMAIN}>{more}"))
    }

    /// The ACK of a 2xx to an attack.
    pub(super) fn acknowledge(&mut self, address: usize, ok: &Sip) -> Sip {
        let number = ok.value("CSeq").split(' ').next().unwrap_or_default().to_owned();
        let ack = self.request(address, "ACK", uri_in(ok.value("Contact")), ok.value("From"), ok.value("To"));
        let ack = ack.set("Call-ID", ok.value("Call-ID")).set("CSeq", format_args!("{number} ACK"));
        let ack = ok.values("Record-Route").rev().fold(ack, |ack, route| ack.with("Route", route));
        self.signed(address, ack)
    }
}
