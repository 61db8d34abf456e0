//! Attacks without an account: each changes a part of captured messages and sends the rest unchanged.

use super::account::OWN_MOVES;
use super::{Adversary, AdversaryState};
use crate::judge::PHONE_MARK;
use crate::{DOMAIN, Reaction, Sip, hop_by_hop, uri_in};

/// An attack of one message; `None` if the message that it needs was not captured yet.
pub(super) type Move = fn(&mut AdversaryState, usize) -> Option<Sip>;

/// The attacks that need no account.
const MOVES: [Move; 12] = [
    replay,
    replay_elsewhere,
    call_off,
    acknowledge_failure,
    take_pin,
    take_route,
    take_route,
    speak_in_dialog,
    speak_in_dialog,
    answer_for_others,
    register_for_others,
    splice,
];

impl AdversaryState {
    /// One attack from this address, or several that belong together.
    pub(super) fn attack(&mut self, address: usize, reaction: &mut Reaction) {
        if self.random.chance(120) {
            return self.probe(address, reaction);
        }
        if let Some(register) = self.becomes_phone(address) {
            return self.send_attack(address, register, None, reaction);
        }
        let with_account = self.security.adversary == Adversary::User && self.random.chance(400);
        let (moves, most): (&[Move], _) =
            if with_account { (&OWN_MOVES, OWN_MOVES.len()) } else { (&MOVES, MOVES.len()) };
        let number = self.random.index(most);
        if let Some(sip) = moves[number](self, address) {
            self.send_attack(address, sip, None, reaction);
        }
    }

    /// The same request for a user with a phone, a user without one and a user that does not exist. The responses must
    /// not tell them apart, so all other values are the same.
    fn probe(&mut self, address: usize, reaction: &mut Reaction) {
        let method = self.one_of(&[
            "INVITE",
            "MESSAGE",
            "OPTIONS",
            "CANCEL",
            "ACK",
            "BYE",
            "SUBSCRIBE",
            "REGISTER",
            "PUBLISH",
            "UPDATE",
        ]);
        let (from, group) = match self.random.below(3) {
            // Each in its own name, which must be challenged.
            0 => (None, "its own"),
            1 => (Some(format!("<sip:alice@{DOMAIN}>;tag=p")), "another"),
            _ => (Some("<sip:someone@elsewhere.example>;tag=p".to_owned()), "a stranger"),
        };
        let in_dialog = self.random.chance(300);
        let tag = if in_dialog { ";tag=q" } else { "" };
        let group = format!("{method} as {group}, {address}, {in_dialog}");
        for user in ["bob", "carol", "frank", "ghost", "nobody"] {
            let aor = format!("sip:{user}@{DOMAIN}");
            let from = from.clone().unwrap_or_else(|| format!("<{aor}>;tag=p"));
            let to = format!("<{aor}>{tag}");
            let uri = if method == "REGISTER" { format!("sip:{DOMAIN}") } else { aor };
            let sip = self.request(address, method, &uri, &from, &to);
            self.send_attack(address, sip, Some(group.clone()), reaction);
        }
    }
}

/// A message of a phone or of the server, replayed octet by octet from another address.
fn replay(state: &mut AdversaryState, _: usize) -> Option<Sip> {
    let by_server = state.random.chance(200);
    state.captured(|sent| sent.by_server == by_server).map(|sip| Sip::clone(&sip))
}

/// A request of others with another Request-URI or From, otherwise unchanged.
fn replay_elsewhere(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let request = state.captured_request()?;
    let request = Sip::clone(&request);
    Some(match state.random.below(3) {
        0 => {
            let uri = state.target(address);
            request.to(uri)
        }
        1 => {
            let from = state.person();
            state.by_own_via(address, request).set("From", from)
        }
        _ => request.with_body("pay 100 to mallory"),
    })
}

/// A CANCEL of an INVITE of others (RFC 3261 9.1), as its sender would send it.
fn call_off(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let invite = state.captured_invite()?;
    let cancel = hop_by_hop("CANCEL", &invite, invite.value("To"));
    Some(match state.random.below(4) {
        // For a call that is unknown to this server.
        0 => state.by_own_via(address, cancel),
        _ => cancel,
    })
}

/// The ACK of a failure response to others, so that it would not be retransmitted (RFC 3261 17.1.1.3, 17.2.1).
fn acknowledge_failure(state: &mut AdversaryState, _: usize) -> Option<Sip> {
    let failed = |sip: &Sip| sip.method() == "INVITE" && matches!(sip.status(), Some(300..));
    let failure = state.captured(|sent| sent.by_server && failed(&sent.sip))?;
    let invite = state.invite_of(&failure)?;
    Some(hop_by_hop("ACK", &invite, failure.value("To")))
}

/// Another request with all identifiers of a transaction of others.
fn take_pin(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let request = state.captured_request()?;
    let number = request.value("CSeq").split(' ').next()?.to_owned();
    let method = state.method();
    let uri = if state.random.chance(500) { request.uri().to_owned() } else { state.target(address) };
    let tag = request.param("From", "tag").unwrap_or_default();
    let user = state.user();
    let from = format!("<sip:{user}@{DOMAIN}>;tag={tag}");
    let sip = state.request(address, method, &uri, &from, request.value("To"));
    let sip = sip.set("Call-ID", request.value("Call-ID")).set("CSeq", format_args!("{number} {method}"));
    Some(sip.set("Via", request.value("Via")).with_body("click here"))
}

/// The Route of a dialog of others, with another method, target and sender.
fn take_route(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let dialog = state.captured_dialog()?;
    let method = state.method();
    let from = if state.random.chance(500) { dialog.value("From").to_owned() } else { state.person() };
    let to = if state.random.chance(600) { dialog.value("To").to_owned() } else { state.person() };
    let uri = if state.random.chance(300) { uri_in(dialog.value("Contact")).to_owned() } else { state.target(address) };
    let request = state.request(address, method, &uri, &from, &to).set("Call-ID", dialog.value("Call-ID"));
    Some(state.routed(request, &dialog))
}

/// The next request in a dialog of others, as one of its sides would send it.
fn speak_in_dialog(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let dialog = state.captured_dialog()?;
    let method = state.method();
    let invite = state.invite_of(&dialog)?;
    let agent = state.addresses[address].agent.clone();
    let request = if state.random.chance(500) {
        agent.within(&invite, &dialog, method)
    } else {
        agent.within_as_callee(&invite, &dialog, method)
    };
    let request = match state.random.below(4) {
        0 => request.to(state.target(address)),
        1 => {
            let from = state.as_mallory(request.param("From", "tag").unwrap_or_default());
            request.set("From", from)
        }
        _ => request,
    };
    // RFC 3261 22.1: the ACK of others repeats their credentials.
    let proof = invite.value("Proxy-Authorization").to_owned();
    let with_proof = !proof.is_empty() && state.random.chance(300);
    Some(if with_proof { request.with("Proxy-Authorization", proof) } else { request })
}

/// A response to a request that was sent to others.
fn answer_for_others(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let request = state.captured_branch()?;
    let agent = state.addresses[address].agent.clone();
    let status = [180, 183, 200, 200, 302, 401, 407, 486, 487, 603][state.random.index(10)];
    let response = agent.answer(&request, status).with(PHONE_MARK, "mallory");
    Some(if status == 302 { response.set("Contact", format_args!("<{}>", agent.contact())) } else { response })
}

/// A registration for others with a phone of the adversary.
fn register_for_others(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let register = state.captured(|sent| !sent.by_server && sent.sip.what() == "REGISTER")?;
    let contact = state.addresses[address].agent.contact();
    let register = match state.random.below(4) {
        0 => Sip::clone(&register),
        1 => Sip::clone(&register).set("Contact", "*").set("Expires", 0),
        _ => Sip::clone(&register).set("Contact", format_args!("<{contact}>")),
    };
    let later = state.addresses[address].agent.again(&register);
    Some(if state.random.chance(500) { later } else { register })
}

/// A message of others with parts of a second one and some of its own.
fn splice(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let (mut sip, other) = (Sip::clone(&*state.captured_request()?), state.captured(|_| true)?);
    for _ in 0..1 + state.random.index(5) {
        let method = state.method();
        let number = sip.value("CSeq").split(' ').next().unwrap_or_default().to_owned();
        let take = |sip: Sip, name: &'static str| {
            let sip = sip.without(name);
            other.values(name).fold(sip, |sip, value| sip.with(name, value))
        };
        sip = match state.random.below(14) {
            0 => {
                let uri = sip.uri().to_owned();
                sip.start = format!("{method} {uri} SIP/2.0");
                sip.set("CSeq", format_args!("{number} {method}"))
            }
            1 => {
                let uri = state.target(address);
                sip.to(uri)
            }
            2 => {
                let from = state.person();
                sip.set("From", from)
            }
            3 => take(sip, "To"),
            4 => take(sip, "From"),
            5 => take(sip, "Call-ID"),
            6 => take(sip, "Via"),
            7 => state.by_own_via(address, sip),
            8 => take(sip, "Proxy-Authorization"),
            9 => sip.set("CSeq", format_args!("{} {method}", number.parse::<u32>().unwrap_or_default() + 1)),
            10 => {
                let contact = state.addresses[address].agent.contact();
                sip.set("Contact", format_args!("<{contact}>"))
            }
            11 => state.assert_identity(sip),
            12 => sip.without("Proxy-Authorization").without("Route"),
            _ => state.routed(sip, &other),
        };
    }
    Some(sip)
}

impl AdversaryState {
    /// The request with the Record-Route of a message as its Route: in either order, in part, or in the form of a
    /// strict router (RFC 3261 16.4).
    pub(super) fn routed(&mut self, request: Sip, of: &Sip) -> Sip {
        let mut routes: Vec<String> = of.values("Record-Route").map(str::to_owned).collect();
        if self.random.chance(500) {
            routes.reverse();
        }
        if self.random.chance(300) {
            routes.truncate(1);
        }
        if self.random.chance(100) {
            routes.push("<sip:203.0.113.9;lr>".to_owned());
        }
        let request = request.without("Route");
        if self.random.chance(150) && !routes.is_empty() {
            let target = request.uri().to_owned();
            let first = routes.remove(0);
            let request = request.to(uri_in(&first));
            let request = routes.iter().fold(request, |request, route| request.with("Route", route));
            return request.with("Route", format_args!("<{target}>"));
        }
        routes.iter().fold(request, |request, route| request.with("Route", route))
    }
}
