//! What the adversary captures: messages of others, preferably recent ones.

use std::rc::Rc;

use super::AdversaryState;
use crate::{Sent, Sip, uri_in};

/// How many messages it searches for one of a kind.
const FARTHEST: usize = 500;

impl AdversaryState {
    /// A message of this kind that no agent of the adversary sent or received.
    pub(super) fn captured(&mut self, kind: impl Fn(&Sent) -> bool) -> Option<Rc<Sip>> {
        self.taken(|sent, own| !own && kind(sent))
    }

    /// A message of this kind. The second argument says whether an agent of the adversary sent or received it.
    pub(super) fn taken(&mut self, kind: impl Fn(&Sent, bool) -> bool) -> Option<Rc<Sip>> {
        let wire = self.wire.borrow();
        let reach = [20, 100, 1000, usize::MAX][self.random.index(4)];
        let back = self.random.index(wire.len().min(reach));
        let own = |sent: &Sent| self.addresses.iter().any(|entry| entry.agent.id() == sent.agent);
        let found = wire.iter().rev().skip(back).take(FARTHEST).find(|sent| kind(sent, own(sent)));
        found.map(|sent| Rc::clone(&sent.sip))
    }

    /// A request as its sender sent it.
    pub(super) fn captured_request(&mut self) -> Option<Rc<Sip>> {
        self.captured(|sent| !sent.by_server && sent.sip.is_request())
    }

    /// An INVITE as its sender sent it.
    pub(super) fn captured_invite(&mut self) -> Option<Rc<Sip>> {
        self.captured(|sent| !sent.by_server && sent.sip.what() == "INVITE")
    }

    /// A response to an INVITE as the caller received it, with a status from 101 to 299, so that there is a dialog.
    pub(super) fn captured_dialog(&mut self) -> Option<Rc<Sip>> {
        self.captured(is_dialog)
    }

    /// The INVITE of a response, as its sender sent it.
    pub(super) fn invite_of(&self, response: &Sip) -> Option<Rc<Sip>> {
        let wire = self.wire.borrow();
        let same =
            |sent: &&Sent| !sent.by_server && sent.sip.what() == "INVITE" && sent.sip.branch() == response.branch();
        wire.iter().rev().find(same).map(|sent| Rc::clone(&sent.sip))
    }

    /// A request as the server sent it to a phone of others.
    pub(super) fn captured_branch(&mut self) -> Option<Rc<Sip>> {
        self.captured(|sent| sent.by_server && sent.sip.is_request() && sent.sip.what() != "ACK")
    }

    /// A dialog of mallory, as the adversary's caller received it.
    pub(super) fn own_dialog(&mut self) -> Option<Rc<Sip>> {
        self.taken(|sent, own| own && is_dialog(sent))
    }

    /// A dialog of mallory that has the Call-ID of a dialog of others.
    pub(super) fn own_dialog_of_others(&mut self) -> Option<Rc<Sip>> {
        let own = self.own_dialog()?;
        let is_of_others = self.other_tag(&own).is_some();
        is_of_others.then_some(own)
    }

    /// The tag of the other side, in the dialog of others that has the Call-ID and the From tag of this message.
    pub(super) fn other_tag(&self, sip: &Sip) -> Option<String> {
        let (call_id, tag) = (sip.value("Call-ID"), sip.param("From", "tag")?);
        let own = |sent: &Sent| self.addresses.iter().any(|entry| entry.agent.id() == sent.agent);
        let wire = self.wire.borrow();
        wire.iter().rev().filter(|sent| is_dialog(sent) && !own(sent)).find_map(|Sent { sip, .. }| {
            let [from, to] = [sip.param("From", "tag")?, sip.to_tag()];
            let other = [(from, to), (to, from)].into_iter().find(|(one, _)| *one == tag);
            other.filter(|_| sip.value("Call-ID") == call_id).map(|(_, other)| other.to_owned())
        })
    }

    /// The Contact of the side with this tag in a dialog of others.
    pub(super) fn contact_of(&self, call_id: &str, tag: &str) -> Option<String> {
        let own = |sent: &Sent| self.addresses.iter().any(|entry| entry.agent.id() == sent.agent);
        let wire = self.wire.borrow();
        let says = |sent: &&Sent| {
            let sip = &sent.sip;
            let its_tag = if sip.is_request() { sip.param("From", "tag").unwrap_or_default() } else { sip.to_tag() };
            !own(sent) && its_tag == tag && sip.has("Contact") && sip.value("Call-ID") == call_id
        };
        wire.iter().rev().find(says).map(|sent| uri_in(sent.sip.value("Contact")).to_owned())
    }

    /// An INVITE of others that mallory's phone answered: as it was received, and the answer.
    pub(super) fn own_call(&mut self, address: usize) -> Option<(Rc<Sip>, Rc<Sip>)> {
        let own = self.addresses[address].agent.id();
        let answer = self.taken(|sent, _| {
            sent.agent == own && !sent.by_server && sent.sip.status() == Some(200) && sent.sip.method() == "INVITE"
        })?;
        let wire = self.wire.borrow();
        let same = |sent: &&Sent| sent.by_server && sent.agent == own && sent.sip.branch() == answer.branch();
        let invite = wire.iter().rev().find(same).map(|sent| Rc::clone(&sent.sip))?;
        Some((invite, answer))
    }
}

fn is_dialog(sent: &Sent) -> bool {
    let answered = matches!(sent.sip.status(), Some(101..300));
    sent.by_server && answered && sent.sip.method() == "INVITE" && !sent.sip.to_tag().is_empty()
}
