//! The attacks of one who is a user: with credentials and dialogs of its own.

use super::moves::Move;
use super::{Adversary, MALLORY, Mind};
use crate::{DOMAIN, Sip, uri_in};

pub(super) const OWN_MOVES: [Move; 14] = [
    call,
    call_as_another,
    follow_routes,
    lead_own_dialog,
    lead_own_call,
    pose_in_own_dialog,
    twin,
    speak_by_twin,
    register,
    register_elsewhere,
    call_itself,
    call_itself,
    go_on_in_twin,
    go_on_in_twin,
];

/// A call or another request as itself: to users, to nobody, and to where it may not go.
fn call(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let method = mind.one_of(&["INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE", "REFER", "BYE"]);
    let (uri, tag) = (mind.target(limb), mind.name());
    let from = mind.as_mallory(&tag);
    let request = mind.request(limb, method, &uri, &from, &format!("<{uri}>"));
    let request = if mind.dice.happens(200) { mind.assert_identity(request) } else { request };
    Some(mind.signed(limb, request))
}

/// With its own credentials, in the name of another.
fn call_as_another(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let (from, uri, method) = (mind.person(), mind.target(limb), mind.method());
    let request = mind.request(limb, method, &uri, &from, &format!("<{uri}>"));
    Some(mind.signed(limb, request))
}

/// With its own credentials, as itself, on the Route of others and in their dialog.
fn follow_routes(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let dialog = mind.captured_dialog()?;
    let method = mind.method();
    let tag = mind.name();
    let from = match mind.dice.roll(2) {
        0 => mind.as_mallory(dialog.param("From", "tag").unwrap_or_default()),
        _ => mind.as_mallory(&tag),
    };
    let to = if mind.dice.happens(700) { dialog.value("To").to_owned() } else { format!("<sip:bob@{DOMAIN}>") };
    let uri = if mind.dice.happens(400) { uri_in(dialog.value("Contact")).to_owned() } else { mind.target(limb) };
    let request = mind.request(limb, method, &uri, &from, &to).set("Call-ID", dialog.value("Call-ID"));
    let request = if mind.dice.happens(700) { mind.routed(request, &dialog) } else { request };
    Some(mind.signed(limb, request))
}

/// A dialog that it made itself, led to another place.
fn lead_own_dialog(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let dialog = mind.own_dialog()?;
    let invite = mind.invite_of(&dialog)?;
    let method = mind.method();
    let request = mind.limbs[limb].agent.clone().within(&invite, &dialog, method);
    Some(mind.led_astray(limb, request))
}

/// A dialog that others made with its phone, led to another place.
fn lead_own_call(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let (invite, answer) = mind.own_call(limb)?;
    let method = mind.method();
    let request = mind.limbs[limb].agent.clone().back_within(&invite, &answer, method);
    Some(mind.led_astray(limb, request))
}

/// The token of its own dialog, with other tags or in another's name.
fn pose_in_own_dialog(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let dialog = mind.own_dialog()?;
    let invite = mind.invite_of(&dialog)?;
    let method = mind.method();
    let (from, to, user) = (mind.person(), mind.person(), mind.user());
    let request = mind.limbs[limb].agent.clone().within(&invite, &dialog, method);
    let tag = request.param("From", "tag").unwrap_or_default().to_owned();
    Some(match mind.dice.roll(3) {
        0 => request.set("From", from),
        1 => request.set("To", to),
        _ => request.set("From", format_args!("<sip:{user}@{DOMAIN}>;tag={tag}")),
    })
}

/// A call of its own with the Call-ID and the tag of others, so that what it gets for it fits theirs.
fn twin(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let invite = mind.captured_invite()?;
    let from = mind.as_mallory(invite.param("From", "tag").unwrap_or_default());
    let request = mind.request(limb, "INVITE", invite.uri(), &from, &format!("<{}>", uri_in(invite.value("To"))));
    let request = request.set("Call-ID", invite.value("Call-ID")).set("CSeq", invite.value("CSeq"));
    let request = if mind.dice.happens(400) { request.set("Via", invite.value("Via")) } else { request };
    Some(mind.signed(limb, request))
}

/// What its call with the Call-ID and the tag of others made, with the tag that the other side has in theirs.
fn speak_by_twin(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let own = mind.own_dialog()?;
    let invite = mind.invite_of(&own)?;
    let call_id = own.value("Call-ID").to_owned();
    let theirs = mind.captured(|sent| sent.sip.value("Call-ID") == call_id && !sent.sip.to_tag().is_empty())?;
    let method = mind.method();
    let request = mind.limbs[limb].agent.clone().within(&invite, &own, method).set("To", theirs.value("To"));
    Some(if mind.dice.happens(500) { mind.signed(limb, request) } else { request })
}

/// A phone of its own, for itself or for others.
fn register(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let agent = mind.limbs[limb].agent.clone();
    let user = if mind.dice.happens(500) { "mallory" } else { mind.user() };
    let name = mind.name();
    let register = agent.register().set("To", format_args!("<sip:{user}@{DOMAIN}>")).set("Call-ID", name);
    let register = register.set("Contact", format_args!("<sip:mallory@{}>", agent.address));
    Some(mind.signed(limb, register))
}

/// A registration of its own that leads to the phone of somebody else: by its Contact, by a name of that user, by a Path.
fn register_elsewhere(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let branch = mind.captured_branch()?;
    Some(mind.registered_at(limb, branch.uri()))
}

/// A call to a phone of its own with the Call-ID and a tag of a dialog of others: its phone answers with the other tag, so that
/// the Route that it gets for it is one of that dialog.
fn call_itself(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let theirs = mind.captured_dialog()?;
    let side = if mind.dice.happens(500) { "From" } else { "To" };
    let from = mind.as_mallory(theirs.param(side, "tag")?);
    let uri = format!("sip:{MALLORY}@{DOMAIN}");
    let request = mind.request(limb, "INVITE", &uri, &from, &format!("<{uri}>"));
    Some(mind.signed(limb, request.set("Call-ID", theirs.value("Call-ID"))))
}

/// A request in such a dialog, to where the phone of the other dialog is, or by mallory's own name.
fn go_on_in_twin(mind: &mut Mind, limb: usize) -> Option<Sip> {
    let own = mind.own_dialog_of_others()?;
    let invite = mind.invite_of(&own)?;
    let method = mind.method();
    let request = mind.limbs[limb].agent.clone().within(&invite, &own, method);
    let request = match (mind.dice.roll(3), mind.captured_branch()) {
        (0, _) => request.to(format!("sip:{MALLORY}@{DOMAIN}")),
        (_, Some(branch)) => request.to(branch.uri()),
        _ => request,
    };
    Some(if mind.dice.happens(700) { mind.signed(limb, request) } else { request })
}

impl Mind {
    /// The first attack of an address that is no phone of mallory yet: it registers as one.
    pub(super) fn becomes_phone(&mut self, limb: usize) -> Option<Sip> {
        if self.security.adversary != Adversary::User || self.limbs[limb].is_phone {
            return None;
        }
        let (agent, name) = (self.limbs[limb].agent.clone(), self.name());
        let register = agent.register().set("To", format_args!("<sip:{MALLORY}@{DOMAIN}>")).set("Call-ID", name);
        let register = register.set("Contact", format_args!("<sip:rogue@{}>", agent.address));
        let register = self.signed(limb, register);
        // Without a nonce it is challenged first.
        self.limbs[limb].is_phone = register.has("Authorization");
        Some(register)
    }

    /// A registration of mallory that leads to this phone of somebody else.
    fn registered_at(&mut self, limb: usize, phone: &str) -> Sip {
        let (user, host) = phone.trim_start_matches("sip:").split_once('@').unwrap_or_default();
        let host = host.split(';').next().unwrap_or_default();
        let (agent, name) = (self.limbs[limb].agent.clone(), self.name());
        let register = agent.register().set("To", format_args!("<sip:{MALLORY}@{DOMAIN}>")).set("Call-ID", name);
        let register = match self.dice.roll(3) {
            0 => register.set("Contact", format_args!("<{phone}>")),
            1 => register.set("Contact", format_args!("<sip:{user}@{DOMAIN}>")),
            _ => register.with("Supported", "path").with("Path", format_args!("<sip:{host};lr>")),
        };
        self.signed(limb, register)
    }

    /// Its own phone has answered a call with the Call-ID and the tags of a dialog of others: a registration at the phone that
    /// has the same tag there, and requests for it.
    pub(super) fn take_over(&mut self, limb: usize, ok: &Sip) -> Vec<Sip> {
        let phone = self.other_tag(ok).and_then(|_| self.contact_of(ok.value("Call-ID"), ok.to_tag()));
        let (Some(phone), Some(invite)) = (phone, self.invite_of(ok)) else { return Vec::new() };
        let mut requests = vec![self.registered_at(limb, &phone)];
        for uri in [phone, format!("sip:{MALLORY}@{DOMAIN}")] {
            let method = self.one_of(&["BYE", "INVITE", "INFO"]);
            let request = self.limbs[limb].agent.clone().within(&invite, ok, method).to(uri);
            requests.push(if self.dice.happens(500) { self.signed(limb, request) } else { request });
        }
        requests
    }

    /// Another Request-URI, another Route, or both.
    fn led_astray(&mut self, limb: usize, request: Sip) -> Sip {
        let uri = self.target(limb);
        let request = match self.dice.roll(4) {
            0 => request,
            _ => request.to(uri),
        };
        let request = match self.dice.roll(4) {
            0 => request.with("Route", "<sip:203.0.113.9;lr>"),
            1 => match self.captured_branch() {
                Some(branch) => request.with("Route", format_args!("<{};lr>", branch.uri())),
                None => request,
            },
            2 => match self.captured_dialog() {
                Some(dialog) => self.routed(request, &dialog),
                None => request,
            },
            _ => request,
        };
        if self.dice.happens(300) { self.signed(limb, request) } else { request }
    }
}
