//! Invariants of every step: what a message or a timer must have led to once the cores are done with it.

use super::GIVE_UP;
use super::journal::{Asked, Journal, Tried};
use super::rule::{Rule, Verdict, must, rules};

pub(super) const OF_STEPS: &[Rule<Asked>] = rules![
    nobody_rings_in_vain,
    every_2xx_goes_up,
    every_failure_is_acknowledged,
    a_cancel_is_answered,
    without_a_transaction_nothing_is_made_up,
    without_a_transaction_every_response_goes_back,
];

pub(super) const OF_COPIES: &[Rule<Asked>] = rules![a_copy_is_answered_like_the_first, a_copy_goes_the_same_way];

pub(super) const OF_DEADLINES: &[Rule<Tried>] = rules![nobody_rings_beyond_the_ring_time, nobody_rings_beyond_timer_c];

/// RFC 3261 16.7 steps 5 and 10, 16.10: the caller is gone or another has decided, so whoever gave a sign is told.
fn nobody_rings_in_vain(journal: &Journal, asked: &Asked) -> Verdict {
    if !asked.is_invite() || !asked.is_forked() {
        return Ok(());
    }
    let over = journal.decided(asked).is_some();
    let in_vain = |branch: &&Tried| {
        let rang_out = journal.now > journal.rings_on_until(asked, branch);
        (over || rang_out) && is_ringing(branch)
    };
    let victim = journal.branches(asked).find(in_vain);
    must(victim.is_none(), || format!("{} rings on", victim.map_or("", Tried::branch)))
}

/// Whether a phone has given a sign, in time, and was not told to stop.
fn is_ringing(branch: &Tried) -> bool {
    let in_time = branch.first_heard().is_some_and(|first| first < branch.began() + GIVE_UP);
    branch.is_invite() && branch.is_proceeding() && branch.cancels.is_empty() && in_time
}

/// RFC 3261 16.7 step 5: each 2xx to an INVITE, and each copy of it, however late.
fn every_2xx_goes_up(journal: &Journal, asked: &Asked) -> Verdict {
    if !asked.is_invite() || !asked.is_forked() {
        return Ok(());
    }
    let is_success = |status: u16| (200..300).contains(&status);
    let heard =
        journal.branches(asked).flat_map(|branch| &branch.heard).filter(|heard| is_success(heard.status)).count();
    let said = asked.said.iter().filter(|said| is_success(said.status)).count();
    must(heard == said, || format!("{heard} came and {said} went"))
}

/// RFC 3261 17.1.1.2, 17.1.1.3: each non-2xx final, and each copy of it while Timer D runs.
fn every_failure_is_acknowledged(journal: &Journal, asked: &Asked) -> Verdict {
    for branch in journal.branches(asked).filter(|branch| branch.is_forked() && branch.is_invite()) {
        let Some(first) = branch.ended().filter(|ended| ended.status >= 300 && !branch.gave_up_before(ended.at)) else {
            continue;
        };
        let rest = if branch.is_reliable() { 1 } else { GIVE_UP };
        let failures = branch.heard.iter().filter(|heard| heard.status >= 300);
        let owed = failures.filter(|heard| heard.at < first.at + rest).count();
        must(branch.acks >= owed, || format!("{}: {owed} failures, {} ACKs", branch.branch(), branch.acks))?;
    }
    Ok(())
}

/// RFC 3261 16.10, 9.2: by ourselves, if the INVITE has a transaction here.
fn a_cancel_is_answered(_: &Journal, asked: &Asked) -> Verdict {
    let owed = asked.cancelled.is_some() && asked.is_forked();
    must(!owed || asked.cancel_replies > 0, || "the CANCEL has no answer".to_owned())
}

/// RFC 3261 16.11: no 100 and no other 1xx.
fn without_a_transaction_nothing_is_made_up(_: &Journal, asked: &Asked) -> Verdict {
    let made = asked.said.iter().find(|said| said.own && said.status < 200);
    must(made.is_none() || !asked.is_stateless(), || format!("{}", made.map_or(0, |said| said.status)))
}

/// RFC 3261 16.11: what is ours by its mark goes on, and goes on once.
fn without_a_transaction_every_response_goes_back(journal: &Journal, asked: &Asked) -> Verdict {
    let heard: usize = journal.branches(asked).map(|branch| branch.heard.len()).sum();
    let said = asked.said.iter().filter(|said| !said.own).count();
    // A copy that came after its pin had gone may have forked.
    let stateless = journal.branches(asked).all(|branch| !branch.is_forked());
    must(!stateless || heard == said, || format!("{heard} responses came and {said} went"))
}

/// RFC 3261 17.2.1, 17.2.2, RFC 6026 7.1: a request that comes again gets the last response again; nothing after a 2xx
/// to an INVITE or after the ACK.
fn a_copy_is_answered_like_the_first(journal: &Journal, asked: &Asked) -> Verdict {
    let now = journal.now;
    if !asked.is_forked() || asked.is_forgotten(now) {
        return Ok(());
    }
    let last = asked.said.iter().rfind(|said| said.at < now);
    let due = match last.map(|last| last.status) {
        None => false,
        Some(200..300) => !asked.is_invite(),
        Some(300..) => !asked.is_invite() || asked.acked.is_none(),
        // RFC 4320 4.2: another method than INVITE may have ended in silence.
        Some(_) => asked.is_invite() || !journal.branches(asked).all(|branch| branch.is_over(now)),
    };
    let answered = asked.said.iter().any(|said| said.at == now);
    must(!due || answered, || "the copy got no answer".to_owned())
}

/// RFC 3261 16.11: for as long as its pin lives. What goes to another domain leaves none, so a copy of it is challenged if
/// its nonce has expired since.
fn a_copy_goes_the_same_way(journal: &Journal, asked: &Asked) -> Verdict {
    let pinned = asked.is_stateless() && asked.is_pinned(journal);
    let went = journal.branches(asked).any(|tried| tried.sent.contains(&journal.now));
    let challenged = asked.said.iter().any(|said| said.at == journal.now && said.own && said.status == 407);
    must(!pinned || went || challenged, || "the copy did not go on".to_owned())
}

/// RFC 3261 16.11: the CANCEL of the INVITE and the ACK of its failure, for as long as its pin lives.
pub(super) fn a_follow_up_goes_on(journal: &Journal, asked: &Asked) -> Verdict {
    // A CANCEL of what has ended here ends here.
    let own = asked.ended().is_some_and(|ended| ended.own);
    let pinned = asked.is_stateless() && asked.is_pinned(journal) && !own;
    let went = journal.branches(asked).any(|tried| tried.followed == journal.now);
    // The worker of the pin learns of the final by a message from another one. Until then it knows no tag that an ACK may have.
    let knows = |at: u64| journal.terms.core_messages.is_some_and(|core_messages| at + core_messages <= journal.now);
    let is_early = asked.ended().is_some_and(|ended| !knows(ended.at));
    must(!pinned || went || is_early, || "the ACK or CANCEL did not go on".to_owned())
}

/// The group's ring time, which no provisional extends.
fn nobody_rings_beyond_the_ring_time(journal: &Journal, tried: &Tried) -> Verdict {
    let over = journal.now > journal.rings_on_until(journal.asked_of(tried), tried);
    must(!over || !is_ringing(tried), || format!("{} rings on", tried.branch()))
}

/// RFC 3261 16.8: unless it gave news since.
fn nobody_rings_beyond_timer_c(journal: &Journal, tried: &Tried) -> Verdict {
    let over = tried.last_news().is_some_and(|news| journal.now > news + journal.terms.timer_c);
    must(!over || !is_ringing(tried), || format!("{} has no news", tried.branch()))
}
