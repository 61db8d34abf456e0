//! What must hold for several nodes. The phones see what the nodes do; each invariant is checked there.

use std::collections::{BTreeMap, BTreeSet};

use super::phone::{Call, Phone};
use crate::Sip;
use crate::judge::{enforce, must};

/// How long after a node sent a request a copy may arrive, in microseconds: 64*T1, and what the network takes.
const LAST_COPY: u64 = 33_000_000;

/// How long a call may take until a phone rings, in microseconds.
const SOON: u64 = 300_000;

#[derive(Default)]
pub(super) struct NodeJudge {
    /// The Call-ID and the CSeq number of the requests of honest phones.
    sent: BTreeSet<(String, String)>,
    /// The first copy of each request that a phone got, by its branch and method.
    received: BTreeMap<(usize, String, String), Sip>,
    /// When a node handed over a request last, by its Via and the method. The branch of the node that delivers the request is
    /// another one after the keys were replaced.
    handed_over: BTreeMap<(String, String), u64>,
}

impl NodeJudge {
    /// A phone sends a request.
    pub(super) fn sent(&mut self, sip: &Sip) {
        self.sent.insert((sip.value("Call-ID").to_owned(), number(sip)));
    }

    /// A node sends a message to another one.
    pub(super) fn handed_over(&mut self, sip: &Sip, now: u64) {
        if sip.is_request() {
            self.handed_over.insert((sip.value("Via").to_owned(), sip.method().to_owned()), now);
        }
    }

    /// A phone gets a request.
    pub(super) fn check_request(&mut self, phone: &Phone, sip: &Sip, now: u64) {
        let id = sip.value("Call-ID").to_owned();
        let own = phone.agent.contact();
        let is_own = own.starts_with(sip.uri().split(';').next().unwrap_or_default());
        enforce("a_request_reaches_the_phone_that_it_names", &id, must(is_own, || format!("{own}\n{sip}")));
        let is_clean = sip.values("Route").next().is_none() && sip.values("Record-Route").count() <= 2;
        enforce("the_hop_between_nodes_is_invisible", &id, must(is_clean, || sip.to_string()));
        let vias = sip.values("Via").count();
        enforce("one_via_more_at_most", &id, must(vias <= 3, || sip.to_string()));
        // The server writes its own CANCEL and ACK.
        let is_own = matches!(sip.method(), "CANCEL" | "ACK");
        let is_counted = matches!((sip.number("Max-Forwards"), is_own), (Some(69), _) | (Some(70), true));
        enforce("max_forwards_counts_the_nodes_once", &id, must(is_counted, || sip.to_string()));
        let is_known = self.sent.contains(&(id.clone(), number(sip)));
        let is_unchanged = is_known && !sip.has("X-Forged");
        enforce("a_phone_gets_only_what_phones_have_sent", &id, must(is_unchanged, || sip.to_string()));
        let key = (phone.agent.id(), sip.branch().to_owned(), sip.method().to_owned());
        let first = self.received.entry(key).or_insert_with(|| sip.clone());
        let is_copy = first == sip;
        enforce("a_copy_has_the_same_octets", &id, must(is_copy, || format!("{first}\n{sip}")));
        // The Vias of two nodes and of the caller.
        if let Some(via) = sip.values("Via").nth(1).filter(|_| vias == 3) {
            // What has just been sent is not known yet.
            let at = self.handed_over.get(&(via.to_owned(), sip.method().to_owned())).map_or(now, |at| *at);
            let is_fresh = now <= at + LAST_COPY;
            enforce("a_token_is_valid_for_64_t1", &id, must(is_fresh, || format!("{} us late\n{sip}", now - at)));
        }
    }

    /// A phone gets a response.
    pub(super) fn check_response(&self, phone: &Phone, sip: &Sip) {
        let is_own = sip.values("Via").count() == 1 && sip.branch().contains(&format!("{}-", phone.user));
        enforce("a_response_reaches_the_sender_of_its_request", sip.value("Call-ID"), must(is_own, || sip.to_string()));
        let is_internal = sip.status() == Some(430);
        let verdict = must(!is_internal, || sip.to_string());
        enforce("a_failed_flow_concerns_the_nodes_only", sip.value("Call-ID"), verdict);
    }

    /// What must have happened to a call by now, if nothing has changed since it began.
    pub(super) fn check_call(&self, call: &Call, now: u64, changed: u64) {
        let id = call.invite.value("Call-ID");
        let (must_reach, is_gone) = call.expected;
        let is_stable = changed < call.at;
        if is_stable && now > call.at + SOON && call.bye.is_none() {
            let rings = call.rings || call.status == Some(200);
            let verdict = must(!must_reach || rings, || format!("{:?}", call.status));
            enforce("a_registered_phone_is_reached_through_its_node", id, verdict);
        }
        if is_stable && is_gone && now > call.at + SOON {
            let verdict = must(call.status.is_some_and(|status| status >= 300), || "still waits".to_owned());
            enforce("a_node_that_is_gone_is_not_waited_for", id, verdict);
        }
        if let Some(at) = call.bye.filter(|at| changed < *at && now > *at + SOON) {
            let verdict = must(call.bye_arrived && call.bye_answered, || format!("BYE at {at}"));
            enforce("a_call_can_be_hung_up_from_both_sides", id, verdict);
        }
    }
}

fn number(sip: &Sip) -> String {
    sip.value("CSeq").split(' ').next().unwrap_or_default().to_owned()
}
