//! Steps of a call that several scenarios share: a phone rings, accepts, refuses, or stops after a CANCEL.

use sim::{Agent, Sip};

/// A call is made, and tried.
pub(crate) fn calls(caller: &Agent, callee: &str) -> Sip {
    let invite = caller.calls(callee);
    caller.expects("100");
    invite
}

/// A phone receives the INVITE and rings.
pub(crate) fn rings(caller: &Agent, phone: &Agent) -> Sip {
    let received = phone.expects("INVITE");
    phone.answers(&received, 180);
    caller.expects("180");
    received
}

/// A phone or trunk refuses the call.
pub(crate) fn refuses(phone: &Agent, received: &Sip, status: u16) {
    phone.answers(received, status);
    phone.expects("ACK");
}

/// A phone gets the CANCEL and stops.
pub(crate) fn stops(phone: &Agent, received: &Sip) {
    let cancel = phone.expects("CANCEL");
    phone.answers(&cancel, 200);
    refuses(phone, received, 487);
}

/// A phone or trunk accepts the call. Returns the 200 that the caller gets.
pub(crate) fn accepts(caller: &Agent, invite: &Sip, phone: &Agent, received: &Sip) -> Sip {
    phone.answers(received, 200);
    let ok = caller.expects("200");
    caller.acks(invite, &ok);
    phone.expects("ACK");
    ok
}
