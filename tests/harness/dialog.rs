//! A dialog as one of its ends sees it: tags, route set, remote target. RFC 3261 12.

use super::message::{Message, uri};

/// One end of a dialog.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    target: String,
    /// The route set, first hop first.
    pub(crate) routes: Vec<String>,
    sequence: u32,
    invited: u32,
}

impl Dialog {
    /// The caller's end: route set of the 2xx in reverse order (12.1.2).
    #[track_caller]
    pub(crate) fn caller(invite: &Message, ok: &Message) -> Self {
        let mut dialog = Self::new(invite, invite.header("From"), ok.header("To"), ok);
        dialog.routes.reverse();
        dialog
    }

    /// The callee's end: route set of the INVITE in its order (12.1.1).
    #[track_caller]
    pub(crate) fn callee(invite: &Message, ok: &Message) -> Self {
        let mut dialog = Self::new(invite, ok.header("To"), invite.header("From"), invite);
        dialog.sequence = 9000;
        dialog
    }

    fn new(invite: &Message, local: &str, remote: &str, far: &Message) -> Self {
        let invited = invite.header("CSeq").split(' ').next().and_then(|number| number.parse().ok());
        let invited = invited.unwrap_or_else(|| panic!("no CSeq number in\n{invite}"));
        Self {
            call_id: invite.header("Call-ID").to_owned(),
            local: local.to_owned(),
            remote: remote.to_owned(),
            target: uri(far.header("Contact")).to_owned(),
            routes: far.list("Record-Route").into_iter().map(str::to_owned).collect(),
            sequence: invited,
            invited,
        }
    }

    /// The ACK of a 2xx (13.2.2.4).
    pub(crate) fn ack(&self) -> Message {
        self.write("ACK", self.invited)
    }

    /// A request inside the dialog.
    pub(crate) fn request(&mut self, method: &str) -> Message {
        self.sequence += 1;
        if method == "INVITE" {
            self.invited = self.sequence;
        }
        self.write(method, self.sequence)
    }

    fn write(&self, method: &str, number: u32) -> Message {
        let message = Message::request(method, &self.target)
            .with("From", &self.local)
            .with("To", &self.remote)
            .with("Call-ID", &self.call_id)
            .with("CSeq", format!("{number} {method}"));
        self.routes.iter().fold(message, |message, route| message.with("Route", route))
    }
}
