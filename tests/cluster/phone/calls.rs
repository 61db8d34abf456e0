//! The calls of a phone: it answers every one, and ends those that it is told to. RFC 3261 12 to 15.

use std::time::{Duration, Instant};

use super::{Agent, Call, CallState, T1};
use crate::harness::dialog::Dialog;
use crate::harness::message::Message;
use crate::harness::phone::unique;

impl Agent {
    pub(super) fn call(&mut self, user: &str, call: String) {
        let uri = format!("sip:{user}@office.example");
        let invite = Message::request("INVITE", &uri)
            .with("From", format!("<sip:{}@office.example>;tag={}", self.user, unique("t")))
            .with("To", format!("<{uri}>"))
            .with("Call-ID", &call)
            .with("CSeq", "1 INVITE")
            .with("Contact", format!("<{}>{}", self.contact(self.line.as_ref()), self.instance()))
            .body("application/sdp", "v=0\r\n");
        self.set(&call, CallState::Calling);
        self.calls.insert(call, Call { dialog: None, invite: invite.clone(), unacknowledged: None });
        self.request(invite, false, Duration::from_secs(8));
    }

    /// ACK of a 200, and of each copy of it (RFC 3261 13.2.2.4).
    pub(super) fn acknowledge(&mut self, ok: &Message) {
        let id = ok.header("Call-ID").to_owned();
        let Some(call) = self.calls.get_mut(&id) else { return };
        let is_first = call.dialog.is_none();
        let dialog = call.dialog.get_or_insert_with(|| Dialog::caller(&call.invite, ok));
        let ack = dialog.ack();
        if let Some(line) = &mut self.line {
            let via = format!("SIP/2.0/{};branch={};rport", line.wire.via(self.ip), unique("z9hG4bK"));
            let _ = line.wire.send(&ack.with_first("Via", via).with("Max-Forwards", 70));
        }
        if is_first {
            self.set(&id, CallState::Up);
        }
    }

    pub(super) fn hang_up(&mut self, id: &str) {
        match self.calls.get_mut(id).and_then(|call| call.dialog.as_mut()) {
            Some(dialog) => {
                let bye = dialog.request("BYE");
                self.request(bye, false, Duration::from_secs(10));
            }
            None => self.set(id, CallState::Failed("there is no such call".to_owned())),
        }
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, request: &Message, is_next: bool) {
        let id = request.header("Call-ID").to_owned();
        match request.method() {
            "INVITE" => {
                let ok = match self.calls.get(&id) {
                    Some(call) => call.unacknowledged.as_ref().map(|(ok, _)| ok.clone()),
                    None => Some(self.accept(request, &id)),
                };
                if let Some(ok) = ok {
                    self.send(&ok, is_next);
                }
            }
            "ACK" => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.unacknowledged = None;
                    self.set(&id, CallState::Up);
                }
            }
            "BYE" => {
                self.send(&respond(request, 200), is_next);
                self.set(&id, CallState::Ended);
            }
            "OPTIONS" => self.send(&respond(request, 200), is_next),
            _ => self.send(&respond(request, 501), is_next),
        }
    }

    fn accept(&mut self, invite: &Message, id: &str) -> Message {
        let ok =
            respond(invite, 200).with("Contact", format!("<{}>{}", self.contact(self.line.as_ref()), self.instance()));
        let dialog = Some(Dialog::callee(invite, &ok));
        let unacknowledged = Some((ok.clone(), Instant::now() + T1));
        self.calls.insert(id.to_owned(), Call { dialog, invite: invite.clone(), unacknowledged });
        self.set(id, CallState::Calling);
        ok
    }

    fn send(&mut self, message: &Message, is_next: bool) {
        let line = if is_next { &mut self.next } else { &mut self.line };
        if let Some(line) = line {
            let _ = line.wire.send(message);
        }
    }

    pub(super) fn fail(&self, request: &Message, why: &str) {
        if matches!(request.method(), "INVITE" | "BYE") {
            let why = format!("{}: {why}", request.method());
            self.set(request.header("Call-ID"), CallState::Failed(why));
        }
    }

    pub(super) fn set(&self, call: &str, state: CallState) {
        let mut knowledge = self.knowledge.lock();
        let known = knowledge.calls.entry(call.to_owned()).or_insert(CallState::Calling);
        // A late ACK does not revive a call.
        if *known != CallState::Ended {
            *known = state;
        }
    }
}

/// The response to a request (RFC 3261 8.2.6).
fn respond(request: &Message, status: u16) -> Message {
    let mut response = Message::response(status, "OK");
    for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
        response = response.copy(request, name);
    }
    if request.tag("To").is_none() {
        response = response.clone().set("To", format!("{};tag={}", request.header("To"), unique("t")));
    }
    response
}
