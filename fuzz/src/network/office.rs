//! The office of a fuzzed server: a group, forwarding, a voicemail server and feature codes.

use std::sync::Arc;
use std::time::Duration;

use location::Aor;
use proxy::{
    Account, Accounts, AlsoRing, Codes, Forward, GroupMember, GroupStrategy, Office, OfficeName, Party, RingGroup,
    UserRules,
};

/// `600` is a group of all users; `*78` sets do-not-disturb.
pub(super) fn office(aor: impl Fn(&str) -> Aor) -> Office {
    let member = |user: &str| GroupMember { to: Party::Name(aor(user)), follow: true };
    let group = RingGroup {
        aor: aor("600"),
        label: Box::default(),
        members: vec![member("alice"), member("bob"), member("600")],
        strategy: GroupStrategy::Wave,
        ring_time: Duration::from_secs(10),
        otherwise: Some(Party::Voicemail),
        calls: 0.into(),
    };
    let mut office = Office::default();
    office.voicemail = Some("sip:vm@192.0.2.15".into());
    office.codes = Codes { dnd_on: Some("*78".into()), ..Codes::default() };
    office.add(&aor("600"), OfficeName::Group(Arc::new(group)));
    office
}

/// Calls to bob go to alice if he is busy, and to the group in other cases; alice's go to bob, in a circle.
pub(super) fn add_rules(accounts: &mut Accounts, aor: impl Fn(&str) -> Aor) {
    let to = |user: &str| Some(Party::Name(aor(user)));
    let forward = |busy: &str, other: &str| Forward {
        always: None,
        busy: to(busy),
        no_answer: to(other),
        unavailable: to(other),
        after: Duration::from_secs(5),
    };
    let beside = AlsoRing { to: Party::Name(aor("bob")), after: Duration::from_secs(2), hours: None };
    for (user, forward, also_ring) in
        [("alice", forward("bob", "bob"), vec![beside]), ("bob", forward("alice", "600"), Vec::new())]
    {
        if accounts.find(&aor(user)).is_none() {
            accounts.insert(aor(user), Account::default());
        }
        accounts.set_rules(&aor(user), Some(Box::new(UserRules { do_not_disturb: false, forward, also_ring })));
    }
}
