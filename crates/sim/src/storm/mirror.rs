//! Another proxy that sends what it gets back to us: unchanged, which is a loop, or for another user, a spiral.
//!
//! Stateless (RFC 3261 16.11): its branch is made of the one above.

use std::rc::Rc;

use crate::judge::PHONE_MARK;
use crate::{Agent, Robot, Sip, Turn};

/// How far what it sends on may still go.
const MOST_HOPS: u32 = 12;

pub(crate) struct Mirror {
    agent: Agent,
    /// What becomes the Request-URI.
    uri: String,
}

impl Mirror {
    pub(super) fn new(agent: Agent, uri: String) -> Self {
        Self { agent, uri }
    }
}

impl Robot for Mirror {
    fn hear(&mut self, sip: &Rc<Sip>, turn: &mut Turn) {
        let sip = Sip::clone(sip);
        if !sip.is_request() {
            let marked = if sip.has(PHONE_MARK) { sip } else { sip.with(PHONE_MARK, "mirror") };
            return turn.send(marked.without_first("Via"));
        }
        // A packet that is doubled at each of seventy hops would be too many.
        let hops = sip.number("Max-Forwards").unwrap_or(70).min(MOST_HOPS);
        if hops == 0 {
            if sip.what() != "ACK" {
                turn.send(self.agent.answer(&sip, 483).with(PHONE_MARK, "mirror"));
            }
            return;
        }
        let via = format!("SIP/2.0/UDP {};branch={}-m", self.agent.address, sip.branch());
        turn.send(sip.to(&self.uri).set("Max-Forwards", hops - 1).with_first("Via", via));
    }

    fn wake(&mut self, _: u64, _: &mut Turn) {}
}
