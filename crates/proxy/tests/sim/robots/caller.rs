//! A caller: the client transactions of INVITE and CANCEL (RFC 3261 17.1), and the ACK of each 2xx (13.2.2.4).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::agent::{hop_by_hop, tag};
use super::super::{Agent, Sip};
use super::{Deed, Ending, Robot, T1, T2};

/// Many calls of one caller.
pub(crate) struct Caller {
    agent: Agent,
    calls: Vec<Call>,
    endings: Rc<RefCell<BTreeMap<String, Ending>>>,
}

struct Call {
    invite: Sip,
    /// So long after it began.
    hangs_up: Option<u64>,
    /// When to send the INVITE again, while nobody has said anything.
    interval: Option<u64>,
    heard_provisional: bool,
    ended: bool,
    cancel: Cancel,
    /// By To tag.
    acks: BTreeMap<String, Sip>,
}

#[derive(PartialEq, Eq)]
enum Cancel {
    Unwanted,
    Wanted,
    Sent { interval: u64 },
    Answered,
}

/// What a token wakes for, beside the number of its call.
const RESEND: u64 = 0;
const HANG_UP: u64 = 1;
const RESEND_CANCEL: u64 = 2;

impl Caller {
    pub(super) fn new(agent: Agent, endings: Rc<RefCell<BTreeMap<String, Ending>>>) -> Self {
        Self { agent, calls: Vec::new(), endings }
    }

    /// A call to be made. Returns the token that begins it.
    pub(super) fn plan(&mut self, invite: Sip, hangs_up: Option<u64>) -> u64 {
        self.endings.borrow_mut().insert(invite.value("Call-ID").to_owned(), Ending::default());
        self.calls.push(Call {
            invite,
            hangs_up,
            interval: None,
            heard_provisional: false,
            ended: false,
            cancel: Cancel::Unwanted,
            acks: BTreeMap::new(),
        });
        (self.calls.len() as u64 - 1) * 4 + RESEND
    }

    fn final_response(&mut self, index: usize, sip: &Sip, status: u16, deeds: &mut Vec<Deed>) {
        let call = &mut self.calls[index];
        call.ended = true;
        call.interval = None;
        let tag = tag(sip.value("To")).to_owned();
        let mut endings = self.endings.borrow_mut();
        let ending = endings.entry(call.invite.value("Call-ID").to_owned()).or_default();
        if status >= 300 {
            if !ending.failed.contains(&(status, tag.clone())) {
                ending.failed.push((status, tag));
            }
            return deeds.push(Deed::Send(hop_by_hop("ACK", &call.invite, sip.value("To"))));
        }
        if !ending.answered.contains(&tag) {
            ending.answered.push(tag.clone());
            let number = call.acks.len();
            let branch = format!("{}-ack{number}", call.invite.value("Via").trim_end_matches(";rport"));
            call.acks.insert(tag.clone(), ack_of_success(&call.invite, sip, &branch));
        }
        deeds.push(Deed::Send(call.acks[&tag].clone()));
    }
}

impl Robot for Caller {
    fn hear(&mut self, _now: u64, sip: &Sip, deeds: &mut Vec<Deed>) {
        let Some(status) = sip.status() else { panic!("{} is called by\n{sip}", self.agent.user()) };
        let Some(index) = self.calls.iter().position(|call| call.invite.value("Call-ID") == sip.value("Call-ID"))
        else {
            panic!("a response to nothing\n{sip}")
        };
        let call = &mut self.calls[index];
        match (sip.method(), status) {
            ("CANCEL", _) => call.cancel = Cancel::Answered,
            ("INVITE", 100..200) => {
                call.interval = None;
                call.heard_provisional = true;
                if call.cancel == Cancel::Wanted && !call.ended {
                    call.cancel = Cancel::Sent { interval: T1 };
                    deeds.push(Deed::Wake { micros: 0, token: index as u64 * 4 + RESEND_CANCEL });
                }
            }
            ("INVITE", _) => self.final_response(index, sip, status, deeds),
            _ => panic!("a response to nothing\n{sip}"),
        }
    }

    fn wake(&mut self, _now: u64, token: u64, deeds: &mut Vec<Deed>) {
        let (index, what) = (usize::try_from(token / 4).expect("an index"), token % 4);
        let call = &mut self.calls[index];
        match what {
            RESEND if !call.ended && !call.heard_provisional => {
                if call.interval.is_none()
                    && let Some(micros) = call.hangs_up
                {
                    deeds.push(Deed::Wake { micros, token: index as u64 * 4 + HANG_UP });
                }
                let interval = call.interval.map_or(T1, |interval| interval * 2);
                call.interval = Some(interval);
                deeds.push(Deed::Send(call.invite.clone()));
                // Timer B
                if interval <= 32 * T1 {
                    deeds.push(Deed::Wake { micros: interval, token });
                }
            }
            HANG_UP if !call.ended => {
                self.endings.borrow_mut().entry(call.invite.value("Call-ID").to_owned()).or_default().hung_up = true;
                if call.heard_provisional {
                    call.cancel = Cancel::Sent { interval: T1 };
                    deeds.push(Deed::Wake { micros: 0, token: index as u64 * 4 + RESEND_CANCEL });
                } else {
                    call.cancel = Cancel::Wanted;
                }
            }
            RESEND_CANCEL => {
                if let Cancel::Sent { interval } = &mut call.cancel {
                    deeds.push(Deed::Send(hop_by_hop("CANCEL", &call.invite, call.invite.value("To"))));
                    deeds.push(Deed::Wake { micros: *interval, token });
                    *interval = (*interval * 2).min(T2);
                }
            }
            _ => {}
        }
    }
}

/// RFC 3261 13.2.2.4.
fn ack_of_success(invite: &Sip, ok: &Sip, via: &str) -> Sip {
    let uri = super::super::uri_in(ok.value("Contact"));
    let ack = hop_by_hop("ACK", invite, ok.value("To")).to(uri).set("Via", via);
    ok.values("Record-Route").rev().fold(ack, |ack, route| ack.with("Route", route))
}
