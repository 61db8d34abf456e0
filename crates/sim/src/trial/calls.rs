//! What the table of calls must say at the end of a trial.

use std::collections::BTreeSet;

use proxy::{CallInProgress, DialogState};

use crate::judge::{enforce, must};
use crate::{Agent, Simulation};

/// Longer than a BYE waits for its response.
const BYE_TIMEOUT: u64 = 60;

/// Checks the calls that are left when nothing is on its way. `adversary`: its agents. Its own calls may have the identifiers
/// of others, whose messages cannot be told from its own.
pub(super) fn check_calls(sim: &Simulation, adversary: &[Agent]) {
    sim.seconds(BYE_TIMEOUT);
    sim.sweep_calls();
    let is_of_adversary = |call: &CallInProgress| {
        call.from.user() == b"mallory" || adversary.iter().any(|agent| agent.address.ip() == call.source.ip())
    };
    for call in sim.calls().into_iter().filter(|call| !is_of_adversary(call)) {
        let call_id = String::from_utf8_lossy(&call.call_id).into_owned();
        let is_answered = must(call.answered.is_some(), || "its setup has not ended".to_owned());
        enforce("a_call_in_progress_was_answered", &call_id, is_answered);
        let is_known = !is_plain(&call_id, sim, adversary) || !has_ended(&call, &call_id, sim, adversary);
        let ended = must(is_known, || format!("{call:?}"));
        enforce("a_call_whose_bye_was_answered_has_ended", &call_id, ended);
    }
}

/// Whether the identifiers of a call say which call it is, at each worker: one agent has sent its INVITEs, so that no proxy has sent
/// it back; no agent of the adversary took part; and the caller has one port. If its connection was closed, a response that
/// arrives at another worker goes to another port, and a BYE may be faster than the message to the worker that knows the call.
fn is_plain(call_id: &str, sim: &Simulation, adversary: &[Agent]) -> bool {
    let wire = sim.wire();
    let wire = wire.borrow();
    let of_call: Vec<_> = wire.iter().filter(|sent| sent.sip.value("Call-ID") == call_id).collect();
    let invites = || of_call.iter().filter(|sent| !sent.by_server && sent.sip.what() == "INVITE");
    let callers: BTreeSet<_> = invites().map(|sent| sent.agent).collect();
    callers.len() == 1
        && invites().all(|sent| !sent.sip.value("Via").contains("/TCP"))
        && !of_call.iter().any(|sent| adversary.iter().any(|agent| agent.id() == sent.agent))
}

/// Whether each confirmed dialog of a call has had a BYE whose 2xx reached its sender.
fn has_ended(call: &CallInProgress, call_id: &str, sim: &Simulation, adversary: &[Agent]) -> bool {
    let wire = sim.wire();
    let wire = wire.borrow();
    let confirmed = call.dialogs.iter().filter(|dialog| dialog.state == DialogState::Confirmed);
    confirmed.map(|dialog| String::from_utf8_lossy(&dialog.callee_tag).into_owned()).all(|tag| {
        wire.iter().any(|sent| {
            let has_tag = ["From", "To"].iter().any(|name| sent.sip.param(name, "tag") == Some(&*tag));
            sent.by_server
                && sent.sip.status() == Some(200)
                && sent.sip.method() == "BYE"
                && sent.sip.value("Call-ID") == call_id
                && has_tag
                && !adversary.iter().any(|agent| agent.id() == sent.agent)
        })
    })
}
