//! Calls by the rules of the office: groups, forwarding, do not disturb, voicemail.

mod events;
mod forms;
mod forwarding;
mod groups;
mod numbers;

use std::sync::Arc;
use std::time::Duration;

use proxy::{
    Account, AlsoRing, Authentication, Forward, GroupMember, GroupStrategy, NumberRule, Office, OfficeName, Party,
    RingGroup, Settings, UserRules,
};
use sim::{Agent, Simulation};

use crate::accounts::aor;
use crate::call_steps::{accepts, calls, refuses, rings, stops};

const VOICEMAIL: &str = "sip:vm@192.0.2.90";
const VOICEMAIL_ADDRESS: ([u8; 4], u16) = ([192, 0, 2, 90], 5060);

fn party(text: &str) -> Option<Party> {
    match text {
        "" => None,
        "voicemail" => Some(Party::Voicemail),
        _ => Some(Party::Name(aor(text))),
    }
}

/// A member; with `>` its own forwarding applies.
fn group_member(text: &str) -> Option<GroupMember> {
    Some(GroupMember { to: party(text.trim_end_matches('>'))?, follow: text.ends_with('>') })
}

fn add_group(office: &mut Office, name: &str, strategy: GroupStrategy, members: &[&str], otherwise: &str) {
    let group = RingGroup {
        aor: aor(name),
        label: "".into(),
        members: members.iter().filter_map(|member| group_member(member)).collect(),
        strategy,
        ring_time: Duration::from_secs(20),
        otherwise: party(otherwise),
        calls: 0.into(),
    };
    assert!(office.add(&aor(name), OfficeName::Group(Arc::new(group))));
}

fn forward(settings: &mut Settings, user: &str, forward: Forward) {
    set_rules(settings, user, UserRules { forward, ..UserRules::default() });
}

fn set_rules(settings: &mut Settings, user: &str, rules: UserRules) {
    settings.accounts.insert(aor(user), Account { rules: Some(Box::new(rules)), ..Account::default() });
}

/// alice calls; bob and carol have a phone each.
fn setup(change: impl FnOnce(&mut Settings)) -> (Simulation, Agent, [Agent; 2]) {
    let sim = Simulation::with(|settings| {
        settings.office.voicemail = Some(VOICEMAIL.into());
        for user in ["alice", "bob", "carol", "dave", "nobody"] {
            settings.accounts.insert(aor(user), Account::default());
        }
        change(settings);
    });
    let alice = sim.udp("alice");
    let phones = ["bob", "carol"].map(|name| {
        let phone = sim.udp(name);
        phone.registers();
        phone
    });
    (sim, alice, phones)
}

/// The same, with this forwarding of bob.
fn bob_forwards(rules: Forward) -> (Simulation, Agent, [Agent; 2]) {
    setup(|settings| forward(settings, "bob", rules))
}

/// The same, with the group 600.
fn with_group(strategy: GroupStrategy, members: &[&str], otherwise: &str) -> (Simulation, Agent, [Agent; 2]) {
    setup(|settings| add_group(&mut settings.office, "600", strategy, members, otherwise))
}

/// A further phone, which is registered.
fn phone(sim: &Simulation, user: &str) -> Agent {
    let phone = sim.udp(user);
    phone.registers();
    phone
}

/// The voicemail server.
fn voicemail(sim: &Simulation) -> Agent {
    sim.udp("vm").at(VOICEMAIL_ADDRESS.into())
}
