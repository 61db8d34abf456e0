//! The attacks: each takes something from the wire, changes some of it and sends the rest as it was.

use super::own::OWN_MOVES;
use super::{Adversary, Mind};
use crate::judge::PHONE_MARK;
use crate::{DOMAIN, Sip, Turn, hop_by_hop, uri_in};

/// An attack of one message; none if there is nothing on the wire yet that it needs.
pub(super) type Move = fn(&mut Mind, usize) -> Option<Sip>;

/// What needs no account.
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

impl Mind {
    /// One attack from this limb, or a few that belong together.
    pub(super) fn attack(&mut self, limb: usize, turn: &mut Turn) {
        if self.dice.happens(120) {
            return self.probe(limb, turn);
        }
        if let Some(register) = self.becomes_phone(limb) {
            return self.strike(limb, register, None, turn);
        }
        let with_account = self.security.adversary == Adversary::User && self.dice.happens(400);
        let (moves, most): (&[Move], _) =
            if with_account { (&OWN_MOVES, OWN_MOVES.len()) } else { (&MOVES, MOVES.len()) };
        let number = self.dice.below(most);
        if let Some(sip) = moves[number](self, limb) {
            self.strike(limb, sip, None, turn);
        }
    }

    /// The same request for a user with a phone, one without and one that does not exist: what comes back must not tell
    /// them apart. All else about them is the same.
    fn probe(&mut self, limb: usize, turn: &mut Turn) {
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
        let (from, group) = match self.dice.roll(3) {
            // Each as itself, which must be challenged.
            0 => (None, "its own"),
            1 => (Some(format!("<sip:alice@{DOMAIN}>;tag=p")), "another"),
            _ => (Some("<sip:someone@elsewhere.example>;tag=p".to_owned()), "a stranger"),
        };
        let in_dialog = self.dice.happens(300);
        let tag = if in_dialog { ";tag=q" } else { "" };
        let group = format!("{method} as {group}, {limb}, {in_dialog}");
        for user in ["bob", "carol", "frank", "ghost", "nobody"] {
            let aor = format!("sip:{user}@{DOMAIN}");
            let from = from.clone().unwrap_or_else(|| format!("<{aor}>;tag=p"));
            let to = format!("<{aor}>{tag}");
            let uri = if method == "REGISTER" { format!("sip:{DOMAIN}") } else { aor };
            let sip = self.request(limb, method, &uri, &from, &to);
            self.strike(limb, sip, Some(group.clone()), turn);
        }
    }
}

/// Octet by octet, from another address: what a phone sent, or what the server sent.
fn replay(mind: &mut Mind, _: usize) -> Option<Sip> {
    let by_server = mind.dice.happens(200);
    mind.captured(|sent| sent.by_server == by_server).map(|sip| Sip::clone(&sip))
}

/// A request of others with another Request-URI or sender, all else as it was.
fn replay_elsewhere(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let request = mind.captured_request()?;
    let request = Sip::clone(&request);
    Some(match mind.dice.roll(3) {
        0 => {
            let uri = mind.target(limb);
            request.to(uri)
        }
        1 => {
            let from = mind.person();
            mind.by_own_via(limb, request).set("From", from)
        }
        _ => request.with_body("pay 100 to mallory"),
    })
}

/// A CANCEL of the INVITE of others (RFC 3261 9.1), as its sender would send it.
fn call_off(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let invite = mind.captured_invite()?;
    let cancel = hop_by_hop("CANCEL", &invite, invite.value("To"));
    Some(match mind.dice.roll(4) {
        // For a call that this server knows nothing of.
        0 => mind.by_own_via(limb, cancel),
        _ => cancel,
    })
}

/// The ACK of a failure that others got, so that it would not be repeated to them (17.1.1.3, 17.2.1).
fn acknowledge_failure(mind: &mut Mind, _: usize) -> Option<Sip> {
    let failed = |sip: &Sip| sip.method() == "INVITE" && matches!(sip.status(), Some(300..));
    let failure = mind.captured(|sent| sent.by_server && failed(&sent.sip))?;
    let invite = mind.invite_of(&failure)?;
    Some(hop_by_hop("ACK", &invite, failure.value("To")))
}

/// All that names a transaction of others, and another request beside it.
fn take_pin(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let request = mind.captured_request()?;
    let number = request.value("CSeq").split(' ').next()?.to_owned();
    let method = mind.method();
    let uri = if mind.dice.happens(500) { request.uri().to_owned() } else { mind.target(limb) };
    let tag = request.param("From", "tag").unwrap_or_default();
    let user = mind.user();
    let from = format!("<sip:{user}@{DOMAIN}>;tag={tag}");
    let sip = mind.request(limb, method, &uri, &from, request.value("To"));
    let sip = sip.set("Call-ID", request.value("Call-ID")).set("CSeq", format_args!("{number} {method}"));
    Some(sip.set("Via", request.value("Via")).with_body("click here"))
}

/// The Route of a dialog of others, for a request of another kind, to elsewhere, by somebody else.
fn take_route(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let dialog = mind.captured_dialog()?;
    let method = mind.method();
    let from = if mind.dice.happens(500) { dialog.value("From").to_owned() } else { mind.person() };
    let to = if mind.dice.happens(600) { dialog.value("To").to_owned() } else { mind.person() };
    let uri = if mind.dice.happens(300) { uri_in(dialog.value("Contact")).to_owned() } else { mind.target(limb) };
    let request = mind.request(limb, method, &uri, &from, &to).set("Call-ID", dialog.value("Call-ID"));
    Some(mind.routed(request, &dialog))
}

/// The next request of somebody else's dialog, as the one side or the other would send it.
fn speak_in_dialog(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let dialog = mind.captured_dialog()?;
    let method = mind.method();
    let invite = mind.invite_of(&dialog)?;
    let agent = mind.limbs[limb].agent.clone();
    let request = if mind.dice.happens(500) {
        agent.within(&invite, &dialog, method)
    } else {
        agent.back_within(&invite, &dialog, method)
    };
    let request = match mind.dice.roll(4) {
        0 => request.to(mind.target(limb)),
        1 => {
            let from = mind.as_mallory(request.param("From", "tag").unwrap_or_default());
            request.set("From", from)
        }
        _ => request,
    };
    // RFC 3261 22.1: the ACK of others has their credentials.
    let proof = invite.value("Proxy-Authorization").to_owned();
    let with_proof = !proof.is_empty() && mind.dice.happens(300);
    Some(if with_proof { request.with("Proxy-Authorization", proof) } else { request })
}

/// A response to a request that went to others.
fn answer_for_others(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let request = mind.captured_branch()?;
    let agent = mind.limbs[limb].agent.clone();
    let status = [180, 183, 200, 200, 302, 401, 407, 486, 487, 603][mind.dice.below(10)];
    let response = agent.answer(&request, status).with(PHONE_MARK, "mallory");
    Some(if status == 302 { response.set("Contact", format_args!("<{}>", agent.contact())) } else { response })
}

/// A registration of others, for a phone of the adversary.
fn register_for_others(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let register = mind.captured(|sent| !sent.by_server && sent.sip.what() == "REGISTER")?;
    let contact = mind.limbs[limb].agent.contact();
    let register = match mind.dice.roll(4) {
        0 => Sip::clone(&register),
        1 => Sip::clone(&register).set("Contact", "*").set("Expires", 0),
        _ => Sip::clone(&register).set("Contact", format_args!("<{contact}>")),
    };
    let later = mind.limbs[limb].agent.again(&register);
    Some(if mind.dice.happens(500) { later } else { register })
}

/// One message of others with parts of a second one and some of its own.
fn splice(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let (mut sip, other) = (Sip::clone(&*mind.captured_request()?), mind.captured(|_| true)?);
    for _ in 0..1 + mind.dice.below(5) {
        let method = mind.method();
        let number = sip.value("CSeq").split(' ').next().unwrap_or_default().to_owned();
        let take = |sip: Sip, name: &'static str| {
            let sip = sip.without(name);
            other.values(name).fold(sip, |sip, value| sip.with(name, value))
        };
        sip = match mind.dice.roll(14) {
            0 => {
                let uri = sip.uri().to_owned();
                sip.start = format!("{method} {uri} SIP/2.0");
                sip.set("CSeq", format_args!("{number} {method}"))
            }
            1 => {
                let uri = mind.target(limb);
                sip.to(uri)
            }
            2 => {
                let from = mind.person();
                sip.set("From", from)
            }
            3 => take(sip, "To"),
            4 => take(sip, "From"),
            5 => take(sip, "Call-ID"),
            6 => take(sip, "Via"),
            7 => mind.by_own_via(limb, sip),
            8 => take(sip, "Proxy-Authorization"),
            9 => sip.set("CSeq", format_args!("{} {method}", number.parse::<u32>().unwrap_or_default() + 1)),
            10 => {
                let contact = mind.limbs[limb].agent.contact();
                sip.set("Contact", format_args!("<{contact}>"))
            }
            11 => mind.assert_identity(sip),
            12 => sip.without("Proxy-Authorization").without("Route"),
            _ => mind.routed(sip, &other),
        };
    }
    Some(sip)
}

impl Mind {
    /// The request with the Record-Route of a message as its Route: in one order or the other, a part of it, or as a strict
    /// router would put it (RFC 3261 16.4).
    pub(super) fn routed(&mut self, request: Sip, of: &Sip) -> Sip {
        let mut routes: Vec<String> = of.values("Record-Route").map(str::to_owned).collect();
        if self.dice.happens(500) {
            routes.reverse();
        }
        if self.dice.happens(300) {
            routes.truncate(1);
        }
        if self.dice.happens(100) {
            routes.push("<sip:203.0.113.9;lr>".to_owned());
        }
        let request = request.without("Route");
        if self.dice.happens(150) && !routes.is_empty() {
            let target = request.uri().to_owned();
            let first = routes.remove(0);
            let request = request.to(uri_in(&first));
            let request = routes.iter().fold(request, |request, route| request.with("Route", route));
            return request.with("Route", format_args!("<{target}>"));
        }
        routes.iter().fold(request, |request, route| request.with("Route", route))
    }
}
