//! `groups`, `hours`, `numbers`, `codes` and `voicemail`, and the rules of an account: who is called by which name, and when.
//!
//! Lists the keys. `syntax`: the written form of their values; `also_ring`: one of them as text; `check` and `codes`: whether each name exists and has one
//! meaning, since a mistake would only show up as a failed call; `build`: the values of the core; `warnings`: rules that lead
//! nowhere.

mod also_ring;
mod build;
mod check;
mod codes;
mod syntax;
mod warnings;

use super::accounts::UserName;
use super::keys::{entry, section};
use super::scalar::Period;

pub(crate) use self::also_ring::{AlsoRingText, check_also_ring_texts, read_also_ring};
pub(crate) use self::check::{
    check, check_party_text, check_rules, expected_period, is_called_name, read_party, read_period,
};
pub(crate) use self::syntax::{
    CalledName, CodeOrOff, Days, GroupStrategyName, Label, MemberEntry, OpenTime, PartyName, PartyOrOff, Zone,
};
pub(crate) use self::warnings::warnings;

entry! {
    /// One ring group.
    pub(crate) struct GroupEntry {
        /// the name or number to call
        user: CalledName,
        /// the name of the group for people, on the status page
        name: Option<Label>,
        /// further numbers of the group
        numbers: Vec<CalledName>,
        /// who rings: users, groups, numbers and SIP URIs. Everybody rings once; the caller and users with
        /// `do_not_disturb` do not ring. The `forward` of a member does not apply, unless the member is written as
        /// `{ to: "101", follow: true }`
        members: Vec<MemberEntry>,
        /// `parallel`: all members ring at once; `sequential`: one after another; `wave`: one after another, and the
        /// earlier ones keep ringing; `rotating`: like `sequential`, but each call begins with the next member
        strategy: Option<GroupStrategyName>,
        /// how long all members ring together, or each of them in turn
        ring_time: Option<Period>,
        /// who is called if no member accepts the call: a user, a group, a number, a SIP URI or `voicemail`; without it the
        /// caller gets the response of the members
        otherwise: Option<PartyName>,
    }
}

entry! {
    /// Office hours.
    pub(crate) struct HoursEntry {
        /// the time zone, like `Europe/Berlin`
        zone: Zone,
        /// when the office is open, like `mon-fri 08:00-18:00` or `sat 22:00-02:00`; `24:00` is the end of a day
        open: Vec<OpenTime>,
        /// when it is closed all the same: days like `2026-12-24`, or `2026-12-24/2027-01-02` with both days included
        closed: Vec<Days>,
    }
}

entry! {
    /// A number that leads to somebody.
    pub(crate) struct NumberEntry {
        /// who is called: a user, a group, another number, a SIP URI or `voicemail`
        to: PartyName,
        /// the name of hours: outside of them `closed` is called
        hours: Option<UserName>,
        /// who is called outside of `hours`; without it such callers get 480
        closed: Option<PartyName>,
    }
}

section! {
    /// `forward` of an account: where its calls go.
    pub(crate) struct ForwardEntry {
        /// who gets all calls of this user: a user, a group, a number, a SIP URI or `voicemail`; no phone of the user rings
        always: PartyOrOff = PartyOrOff(None),
        /// who gets a call when the user is busy
        busy: PartyOrOff = PartyOrOff(None),
        /// who gets a call that the user did not answer for the time `forward.after`
        no_answer: PartyOrOff = PartyOrOff(None),
        /// who gets a call when no phone of the user is registered or reachable
        unavailable: PartyOrOff = PartyOrOff(None),
        /// how long the phones ring before `forward.no_answer` applies
        after: Period = Period(proxy::Forward::default().after),
    }
}

section! {
    /// `codes`: numbers that users dial to change their own rules.
    pub(crate) struct Codes {
        /// followed by a number, as in `*21102`: all calls of the caller go there. The call ends with 480, and the phone
        /// shows what is set now
        forward_always: CodeOrOff = CodeOrOff(None),
        /// calls of the caller are not forwarded
        forward_off: CodeOrOff = CodeOrOff(None),
        /// the caller is not disturbed
        dnd_on: CodeOrOff = CodeOrOff(None),
        /// the caller may be disturbed again
        dnd_off: CodeOrOff = CodeOrOff(None),
    }
}

entry! {
    /// One party of `also_ring`.
    pub(crate) struct AlsoRingEntry {
        /// who rings beside the phones of the user: a user, a group, a number or a SIP URI
        to: PartyName,
        /// how long after the phones
        after: Option<Period>,
        /// the name of hours: it does not ring outside of them
        hours: Option<UserName>,
    }
}
