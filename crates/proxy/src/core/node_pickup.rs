//! Asks the other nodes for the calls that an INVITE replaces (RFC 3891), and answers them.
//!
//! Such an INVITE may come to any node: that of the watcher, or one where nobody watches. It is asked for when its sender has
//! been admitted. The answers say who may pick the call up (`pickup.rs`), so it waits for them. While a node that counts as
//! alive does not answer, the INVITE is refused: whoever has read the identifiers of a call at that node could take it over
//! otherwise, if only one answer is lost. Must not decide about the INVITE when all have answered.

use location::Node;
use parser::{HeaderName, Method};

use super::Core;
use super::pickup::{Replaces, ringing};
use super::targets::is_wanted;
use crate::calls::{FoundAtNode, FoundCalls, NodeCall, NotAllKnown};
use crate::clock::{Instant, Now};
use crate::mac::Purpose;
use crate::node_calls::{Find, FindQuestion, find_note, found_note};
use crate::outbox::{CoreMessage, Handover, Outbox};
use crate::reject::Reject;
use crate::request::Request;
use crate::route::NextStep;

impl Core {
    /// Whether the other nodes have to be asked for the call that a request replaces.
    #[inline]
    pub(super) fn asks_nodes(&self, request: &Request) -> bool {
        self.settings.nodes.is_cluster()
            && request.method() == Method::Invite
            && !request.in_dialog
            && request.message.count(HeaderName::Replaces) > 0
            && request.replaced().is_none()
    }

    /// Asks the other nodes. The INVITE goes on when all of them have answered.
    #[cold]
    pub(super) fn find_at_nodes(&mut self, now: Now, request: Box<Request>, step: NextStep, outbox: &mut Outbox) {
        // No question has the number of another one: somebody may have read the answer to that one.
        let (key, moment) = (request.key.0.to_be_bytes(), now.mono.as_micros().to_be_bytes());
        let number = self.mac.sign(Purpose::Notifier, &[b"find", &key, &moment]);
        let question = FindQuestion { number, worker: self.worker };
        let octets = match Replaces::of(&request.message) {
            Ok(Replaces { call_id, tags }) => find_note(question, call_id, tags),
            Err(reject) => return self.refuse(now, &request, reject, outbox),
        };
        if let Err(reject) = self.begin_to_wait(&request, outbox) {
            return self.refuse(now, &request, reject, outbox);
        }
        let missing = self.settings.nodes.alive();
        missing.iter().for_each(|node| self.publish_to_node(now, *node, &octets, outbox));
        let find = Find { request, step, missing, found: FoundCalls::default() };
        if find.missing.is_empty() {
            return self.found_at_nodes(now, find, outbox);
        }
        self.finds.begin(number, find, now.mono, &mut self.timers);
    }

    /// Another node asks for calls that ring.
    pub(super) fn node_asks(
        &self,
        now: Now,
        node: Node,
        question: FindQuestion,
        (call_id, [a, b]): (&[u8], [&[u8]; 2]),
        outbox: &mut Outbox,
    ) {
        let ringing = |call| ringing(call, [a, b]).map(|ringing| ringing.call);
        let calls = self.calls.table().with_tags(call_id, [a, b], self.oldest_call(now.wall));
        let calls = calls.map(|calls| calls.into_iter().filter_map(ringing).collect::<Vec<_>>());
        let octets = found_note(question, calls.as_deref().map_err(|not_all| *not_all));
        self.publish_to_node(now, node, &octets, outbox);
    }

    /// Another node has answered a question of one of the workers.
    pub(super) fn node_answers(
        &mut self,
        now: Now,
        node: Node,
        FindQuestion { number, worker }: FindQuestion,
        calls: Result<Vec<NodeCall>, NotAllKnown>,
        outbox: &mut Outbox,
    ) {
        let not_all = calls.as_ref().err().copied();
        let calls = calls.unwrap_or_default().into_iter().map(|found| found.call).collect();
        let answer = FoundAtNode { node, number, found: FoundCalls { calls, not_all } };
        if worker == self.worker {
            self.question_answered(now, answer, outbox);
        } else if self.subscriptions.has_worker(worker) {
            let core_message = CoreMessage::FoundAtNode(Box::new(answer));
            outbox.handovers.push(Handover { worker: Some(worker), core_message });
        }
    }

    /// Another node has answered a question of this worker.
    pub(super) fn question_answered(&mut self, now: Now, answer: FoundAtNode, outbox: &mut Outbox) {
        if let Some(find) = self.finds.found(answer) {
            self.found_at_nodes(now, *find, outbox);
        }
    }

    /// Not all nodes have answered in time. A node that is gone counts as alive until the end of its lease.
    pub(super) fn find_timeout(&mut self, now: Now, number: u64, at: Instant, outbox: &mut Outbox) {
        if let Some(find) = self.finds.timeout(number, at)
            && is_wanted(&mut self.waiting, &find.request)
        {
            self.refuse(now, &find.request, Reject::NodeSilent, outbox);
        }
    }

    fn found_at_nodes(&mut self, now: Now, find: Find, outbox: &mut Outbox) {
        let Find { mut request, mut step, found, .. } = find;
        if !is_wanted(&mut self.waiting, &request) {
            return;
        }
        request.set_replaced(found);
        match self.adapt_step(now, &mut step, &request, outbox) {
            Ok(()) => self.take_step(now, request, step, outbox),
            Err(reject) => self.refuse(now, &request, reject, outbox),
        }
    }
}
