//! Another proxy, which sends each request back to our server: unchanged (a loop), or for another user (a spiral).
//!
//! It is stateless (RFC 3261 16.11): its branch is derived from the one below.

use std::rc::Rc;

use crate::judge::PHONE_MARK;
use crate::{Agent, Behaviour, Reaction, Sip};

/// The largest Max-Forwards that it leaves in a request.
const MOST_HOPS: u32 = 12;

pub(crate) struct LoopingProxy {
    agent: Agent,
    /// The Request-URI that it sets.
    uri: String,
}

impl LoopingProxy {
    pub(super) fn new(agent: Agent, uri: String) -> Self {
        Self { agent, uri }
    }
}

impl Behaviour for LoopingProxy {
    fn on_message(&mut self, sip: &Rc<Sip>, reaction: &mut Reaction) {
        let sip = Sip::clone(sip);
        if !sip.is_request() {
            let marked = if sip.has(PHONE_MARK) { sip } else { sip.with(PHONE_MARK, "proxy") };
            return reaction.send(marked.without_first("Via"));
        }
        // Packets that are duplicated at each of 70 hops would be too many.
        let hops = sip.number("Max-Forwards").unwrap_or(70).min(MOST_HOPS);
        if hops == 0 {
            if sip.what() != "ACK" {
                reaction.send(self.agent.answer(&sip, 483).with(PHONE_MARK, "proxy"));
            }
            return;
        }
        let via = format!("SIP/2.0/UDP {};branch={}-m", self.agent.address, sip.branch());
        reaction.send(sip.to(&self.uri).set("Max-Forwards", hops - 1).with_first("Via", via));
    }

    fn on_timer(&mut self, _: u64, _: &mut Reaction) {}
}
