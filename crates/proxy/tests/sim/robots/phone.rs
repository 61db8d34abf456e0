//! A phone: the server transactions of INVITE and CANCEL (RFC 3261 17.2), and a 2xx repeated until its ACK (13.3.1.4).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::agent::tag;
use super::super::net::Dice;
use super::super::{Agent, Sip};
use super::{Deed, Robot, T1, T2, Tally};

/// What phones do with a call, out of a thousand each; the rest ring until they are told to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) answer: u64,
    pub(crate) busy: u64,
    pub(crate) decline: u64,
    /// Never say a word.
    pub(crate) mute: u64,
}

impl Habits {
    pub(crate) const OFFICE: Self = Self { answer: 350, busy: 200, decline: 50, mute: 50 };
}

/// One phone with many calls.
pub(crate) struct Phone {
    agent: Agent,
    dice: Dice,
    habits: Habits,
    calls: Vec<Call>,
    by_branch: BTreeMap<String, usize>,
    tally: Rc<RefCell<Tally>>,
}

struct Call {
    invite: Sip,
    /// When it came, in microseconds.
    since: u64,
    phase: Phase,
    /// What it will answer.
    decision: Option<u16>,
}

enum Phase {
    Mute,
    Ringing,
    /// This final was sent, and again after `interval`, in all for 64·T1.
    Ended {
        response: Sip,
        interval: u64,
        spent: u64,
        acknowledged: bool,
    },
}

const DECIDE: u64 = 0;
const RESEND: u64 = 1;

impl Phone {
    pub(super) fn new(agent: Agent, dice: Dice, habits: Habits, tally: Rc<RefCell<Tally>>) -> Self {
        Self { agent, dice, habits, calls: Vec::new(), by_branch: BTreeMap::new(), tally }
    }

    fn invited(&mut self, now: u64, invite: &Sip, deeds: &mut Vec<Deed>) {
        let Habits { answer, busy, decline, mute } = self.habits;
        let chance = self.dice.roll(1000);
        let decision = match chance {
            _ if chance < answer => Some(200),
            _ if chance < answer + busy => Some(486),
            _ if chance < answer + busy + decline => Some(603),
            _ => None,
        };
        let is_mute = (answer + busy + decline..answer + busy + decline + mute).contains(&chance);
        let index = self.calls.len();
        self.by_branch.insert(invite.branch().to_owned(), index);
        let phase = if is_mute { Phase::Mute } else { Phase::Ringing };
        self.calls.push(Call { invite: invite.clone(), since: now, phase, decision });
        if !is_mute {
            self.tally.borrow_mut().ringing += 1;
            deeds.push(Deed::Send(self.agent.answer(invite, 180)));
            deeds.push(Deed::Wake { micros: self.dice.roll(20_000_000), token: index as u64 * 2 + DECIDE });
        }
    }

    fn end(&mut self, now: u64, index: usize, status: u16, deeds: &mut Vec<Deed>) {
        let call = &mut self.calls[index];
        if matches!(call.phase, Phase::Ringing) {
            let mut tally = self.tally.borrow_mut();
            tally.ringing -= 1;
            tally.longest_ring = tally.longest_ring.max(now - call.since);
            tally.unacknowledged += usize::from(status >= 300);
            let response = self.agent.answer(&call.invite, status);
            deeds.push(Deed::Send(response.clone()));
            deeds.push(Deed::Wake { micros: T1, token: index as u64 * 2 + RESEND });
            call.phase = Phase::Ended { response, interval: T1, spent: 0, acknowledged: false };
        }
    }

    fn acknowledged(&mut self, ack: &Sip) {
        let mine = |call: &Call| {
            call.invite.value("Call-ID") == ack.value("Call-ID")
                && matches!(&call.phase, Phase::Ended { response, .. }
                    if tag(response.value("To")) == tag(ack.value("To")))
        };
        for call in self.calls.iter_mut().filter(|call| mine(call)) {
            if let Phase::Ended { response, acknowledged, .. } = &mut call.phase
                && !std::mem::replace(acknowledged, true)
                && response.what() != "200"
            {
                self.tally.borrow_mut().unacknowledged -= 1;
            }
        }
    }
}

impl Robot for Phone {
    fn hear(&mut self, now: u64, sip: &Sip, deeds: &mut Vec<Deed>) {
        let known = self.by_branch.get(sip.branch()).copied();
        match (sip.what(), known) {
            ("INVITE", None) => self.invited(now, sip, deeds),
            ("INVITE", Some(index)) => match &self.calls[index].phase {
                Phase::Mute => {}
                Phase::Ringing => deeds.push(Deed::Send(self.agent.answer(sip, 180))),
                Phase::Ended { response, .. } => deeds.push(Deed::Send(response.clone())),
            },
            ("CANCEL", Some(index)) if !matches!(self.calls[index].phase, Phase::Mute) => {
                deeds.push(Deed::Send(self.agent.answer(sip, 200)));
                self.end(now, index, 487, deeds);
            }
            ("CANCEL", Some(_)) => panic!("a CANCEL before any response (RFC 3261 9.1)\n{sip}"),
            // One that overtook its INVITE.
            ("CANCEL", None) => {}
            ("ACK", _) => self.acknowledged(sip),
            _ => panic!("{} hears\n{sip}", self.agent.user()),
        }
    }

    fn wake(&mut self, now: u64, token: u64, deeds: &mut Vec<Deed>) {
        let (index, what) = (usize::try_from(token / 2).expect("an index"), token % 2);
        if what == DECIDE {
            if let Some(status) = self.calls[index].decision {
                self.end(now, index, status, deeds);
            }
        } else if let Phase::Ended { response, interval, spent, acknowledged } = &mut self.calls[index].phase
            && !*acknowledged
            && *spent < 64 * T1
        {
            *spent += *interval;
            *interval = (*interval * 2).min(T2);
            deeds.push(Deed::Send(response.clone()));
            deeds.push(Deed::Wake { micros: *interval, token });
        }
    }
}
