//! Attacks of an adversary that has an account: with its credentials and its own dialogs.

use super::replay::Move;
use super::{Adversary, AdversaryState, MALLORY};
use crate::{DOMAIN, Sip, uri_in};

pub(super) const OWN_MOVES: [Move; 18] = [
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
    register_at_trunk,
    call_at_trunk,
    call_itself,
    call_itself,
    go_on_in_twin,
    go_on_in_twin,
    call_other_side,
    call_other_side,
];

/// A request in its own name: to users, to unknown users, and to where it may not call.
fn call(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let method = state.one_of(&["INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE", "REFER", "BYE"]);
    let (uri, tag) = (state.target(address), state.name());
    let from = state.as_mallory(&tag);
    let request = state.request(address, method, &uri, &from, &format!("<{uri}>"));
    let request = if state.random.chance(200) { state.assert_identity(request) } else { request };
    Some(state.signed(address, request))
}

/// A request with its own credentials in the name of another user.
fn call_as_another(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let (from, uri, method) = (state.person(), state.target(address), state.method());
    let request = state.request(address, method, &uri, &from, &format!("<{uri}>"));
    Some(state.signed(address, request))
}

/// A request with its own name and credentials, with the Route of others and in their dialog.
fn follow_routes(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let dialog = state.captured_dialog()?;
    let method = state.method();
    let tag = state.name();
    let from = match state.random.below(2) {
        0 => state.as_mallory(dialog.param("From", "tag").unwrap_or_default()),
        _ => state.as_mallory(&tag),
    };
    let to = if state.random.chance(700) { dialog.value("To").to_owned() } else { format!("<sip:bob@{DOMAIN}>") };
    let uri = if state.random.chance(400) { uri_in(dialog.value("Contact")).to_owned() } else { state.target(address) };
    let request = state.request(address, method, &uri, &from, &to).set("Call-ID", dialog.value("Call-ID"));
    let request = if state.random.chance(700) { state.routed(request, &dialog) } else { request };
    Some(state.signed(address, request))
}

/// A request in a dialog that it began, led to another target.
fn lead_own_dialog(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let dialog = state.own_dialog()?;
    let invite = state.invite_of(&dialog)?;
    let method = state.method();
    let request = state.addresses[address].agent.clone().within(&invite, &dialog, method);
    Some(state.led_astray(address, request))
}

/// A request in a dialog that others began with its phone, led to another target.
fn lead_own_call(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let (invite, answer) = state.own_call(address)?;
    let method = state.method();
    let request = state.addresses[address].agent.clone().within_as_callee(&invite, &answer, method);
    Some(state.led_astray(address, request))
}

/// The token of its own dialog, with other tags or in the name of another user.
fn pose_in_own_dialog(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let dialog = state.own_dialog()?;
    let invite = state.invite_of(&dialog)?;
    let method = state.method();
    let (from, to, user) = (state.person(), state.person(), state.user());
    let request = state.addresses[address].agent.clone().within(&invite, &dialog, method);
    let tag = request.param("From", "tag").unwrap_or_default().to_owned();
    Some(match state.random.below(3) {
        0 => request.set("From", from),
        1 => request.set("To", to),
        _ => request.set("From", format_args!("<sip:{user}@{DOMAIN}>;tag={tag}")),
    })
}

/// A call of its own with the Call-ID and the From tag of a dialog of others, so that its token may fit that dialog.
fn twin(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let invite = state.captured_invite()?;
    let from = state.as_mallory(invite.param("From", "tag").unwrap_or_default());
    let request = state.request(address, "INVITE", invite.uri(), &from, &format!("<{}>", uri_in(invite.value("To"))));
    let request = request.set("Call-ID", invite.value("Call-ID")).set("CSeq", invite.value("CSeq"));
    let request = if state.random.chance(400) { request.set("Via", invite.value("Via")) } else { request };
    Some(state.signed(address, request))
}

/// A request in such a dialog, with the To tag that the other side has in the dialog of others.
fn speak_by_twin(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let own = state.own_dialog()?;
    let invite = state.invite_of(&own)?;
    let call_id = own.value("Call-ID").to_owned();
    let theirs = state.captured(|sent| sent.sip.value("Call-ID") == call_id && !sent.sip.to_tag().is_empty())?;
    let method = state.method();
    let request = state.addresses[address].agent.clone().within(&invite, &own, method).set("To", theirs.value("To"));
    Some(if state.random.chance(500) { state.signed(address, request) } else { request })
}

/// A registration of a phone of its own, for itself or for another user.
fn register(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let agent = state.addresses[address].agent.clone();
    let user = if state.random.chance(500) { "mallory" } else { state.user() };
    let name = state.name();
    let register = agent.register().set("To", format_args!("<sip:{user}@{DOMAIN}>")).set("Call-ID", name);
    let register = register.set("Contact", format_args!("<sip:mallory@{}>", agent.address));
    Some(state.signed(address, register))
}

/// A registration of its own that leads to the phone of somebody else: by its Contact, by a name of that user, or by a
/// Path.
fn register_elsewhere(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let branch = state.captured_branch()?;
    Some(state.registered_at(address, branch.uri()))
}

/// A registration of its own that leads to the address of a trunk, so that calls to mallory would be calls to a number at
/// the expense of the office.
fn register_at_trunk(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let uri = state.uri_at_trunk()?;
    Some(state.registered_at(address, &uri))
}

/// A call that names the address of a trunk, instead of a number that mallory may dial.
fn call_at_trunk(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let (uri, tag) = (state.uri_at_trunk()?, state.name());
    let from = state.as_mallory(&tag);
    let own = format!("sip:{MALLORY}@{DOMAIN}");
    let (target, route) = match state.random.below(3) {
        0 => (uri, None),
        1 => (own, None),
        _ => (own, Some(uri.replace(";user=phone", ";lr"))),
    };
    let request = state.request(address, "INVITE", &target, &from, &format!("<{target}>"));
    let request = route.into_iter().fold(request, |request, route| request.with("Route", format_args!("<{route}>")));
    Some(state.signed(address, request))
}

/// A call to its own phone with the Call-ID and a tag of a dialog of others. Its phone answers with the other tag, so
/// that the Route has a token for the identifiers of that dialog.
fn call_itself(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let theirs = state.captured_dialog()?;
    let side = if state.random.chance(500) { "From" } else { "To" };
    let from = state.as_mallory(theirs.param(side, "tag")?);
    let uri = format!("sip:{MALLORY}@{DOMAIN}");
    let request = state.request(address, "INVITE", &uri, &from, &format!("<{uri}>"));
    Some(state.signed(address, request.set("Call-ID", theirs.value("Call-ID"))))
}

/// A request in such a dialog, to the phone of the other dialog or to mallory.
fn go_on_in_twin(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let own = state.own_dialog_of_others()?;
    let invite = state.invite_of(&own)?;
    let method = state.method();
    let request = state.addresses[address].agent.clone().within(&invite, &own, method);
    let request = match (state.random.below(3), state.captured_branch()) {
        (0, _) => request.to(format!("sip:{MALLORY}@{DOMAIN}")),
        (_, Some(branch)) => request.to(branch.uri()),
        _ => request,
    };
    Some(if state.random.chance(700) { state.signed(address, request) } else { request })
}

/// A call to the callee of a dialog of others, with the From tag of that dialog and a Call-ID of its own. Its token may fit
/// the dialog of others, because a token has a checksum of that tag.
fn call_other_side(state: &mut AdversaryState, address: usize) -> Option<Sip> {
    let theirs = state.captured_dialog()?;
    let from = state.as_mallory(theirs.param("From", "tag")?);
    let uri = uri_in(theirs.value("Contact")).to_owned();
    let request = state.request(address, "INVITE", &uri, &from, &format!("<{uri}>"));
    state.models.insert(request.value("Call-ID").to_owned(), theirs);
    Some(state.signed(address, request))
}

impl AdversaryState {
    /// The Request-URI of a call that a trunk got, with another number.
    fn uri_at_trunk(&mut self) -> Option<String> {
        let call = self.captured(|sent| sent.by_server && sent.sip.uri().ends_with(";user=phone"))?;
        let (_, server) = call.uri().split_once('@')?;
        Some(format!("sip:+4990012345@{server}"))
    }

    /// After the callee has responded to such a call: a request in the dialog of others, with the Route of its own.
    pub(super) fn enter_other_dialog(&mut self, address: usize, response: &Sip) -> Option<Sip> {
        let theirs = self.models.remove(response.value("Call-ID"))?;
        let invite = self.invite_of(response)?;
        let method = self.one_of(&["BYE", "INVITE", "INFO"]);
        let request = self.addresses[address].agent.clone().within(&invite, response, method);
        Some(request.set("Call-ID", theirs.value("Call-ID")).set("To", theirs.value("To")))
    }

    /// The REGISTER of an address that is not yet a phone of mallory, as its first attack.
    pub(super) fn becomes_phone(&mut self, address: usize) -> Option<Sip> {
        if self.security.adversary != Adversary::User || self.addresses[address].is_phone {
            return None;
        }
        let (agent, name) = (self.addresses[address].agent.clone(), self.name());
        let register = agent.register().set("To", format_args!("<sip:{MALLORY}@{DOMAIN}>")).set("Call-ID", name);
        let register = register.set("Contact", format_args!("<sip:rogue@{}>", agent.address));
        let register = self.signed(address, register);
        // Without a nonce it is challenged first.
        self.addresses[address].is_phone = register.has("Authorization");
        Some(register)
    }

    /// A registration of mallory with this phone of somebody else.
    fn registered_at(&mut self, address: usize, phone: &str) -> Sip {
        let (user, host) = phone.trim_start_matches("sip:").split_once('@').unwrap_or_default();
        let host = host.split(';').next().unwrap_or_default();
        let (agent, name) = (self.addresses[address].agent.clone(), self.name());
        let register = agent.register().set("To", format_args!("<sip:{MALLORY}@{DOMAIN}>")).set("Call-ID", name);
        let register = match self.random.below(3) {
            0 => register.set("Contact", format_args!("<{phone}>")),
            1 => register.set("Contact", format_args!("<sip:{user}@{DOMAIN}>")),
            _ => register.with("Supported", "path").with("Path", format_args!("<sip:{host};lr>")),
        };
        self.signed(address, register)
    }

    /// After its own phone has answered a call with the Call-ID and the tags of a dialog of others: registers the phone
    /// that has this tag there, and sends requests to it.
    pub(super) fn take_over(&mut self, address: usize, ok: &Sip) -> Vec<Sip> {
        let phone = self.other_tag(ok).and_then(|_| self.contact_of(ok.value("Call-ID"), ok.to_tag()));
        let (Some(phone), Some(invite)) = (phone, self.invite_of(ok)) else { return Vec::new() };
        let mut requests = vec![self.registered_at(address, &phone)];
        for uri in [phone, format!("sip:{MALLORY}@{DOMAIN}")] {
            let method = self.one_of(&["BYE", "INVITE", "INFO"]);
            let request = self.addresses[address].agent.clone().within(&invite, ok, method).to(uri);
            requests.push(if self.random.chance(500) { self.signed(address, request) } else { request });
        }
        requests
    }

    /// The request with another Request-URI, another Route, or both.
    fn led_astray(&mut self, address: usize, request: Sip) -> Sip {
        let uri = self.target(address);
        let request = match self.random.below(4) {
            0 => request,
            _ => request.to(uri),
        };
        let request = match self.random.below(4) {
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
        if self.random.chance(300) { self.signed(address, request) } else { request }
    }
}
