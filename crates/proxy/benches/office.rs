//! The cost of the first question of each call in an office with rules: what does the dialled name mean?

#![allow(missing_docs, reason = "the benchmark framework's own functions")]

use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use location::Aor;
use proxy::{
    Account, GroupStrategy, NameKind, NumberRule, OfficeName, Outgoing, Party, RingGroup, Settings, Shows, Trunk,
};

const USERS: usize = 1000;
const NUMBERS: usize = 10_000;
const GROUPS: usize = 100;
const PREFIXES: usize = 100;

fn main() {
    divan::main();
}

fn aor(user: &str) -> Aor {
    Aor::new(user.as_bytes(), b"office.example")
}

/// An office with so many users, 10,000 numbers (a tenth of them further numbers of users), 100 groups and 100 lines.
fn office() -> Settings {
    let mut settings = Settings::default();
    for user in 0..USERS {
        let name = aor(&format!("{}", 100_000 + user));
        settings.accounts.insert(name.clone(), Account::default());
        assert!(settings.accounts.add_number(&aor(&format!("+4989{}", 10_000 + user)), &name));
    }
    for number in USERS..NUMBERS - GROUPS {
        let rule = NumberRule { to: Party::Name(aor("100000")), hours: None, closed: None };
        let name = aor(&format!("+4989{}", 10_000 + number));
        assert!(settings.office.add(&name, OfficeName::Number(Arc::new(rule))));
    }
    for group in 0..GROUPS {
        let name = aor(&format!("{}", 6000 + group));
        let group = RingGroup {
            aor: name.clone(),
            label: "".into(),
            members: Vec::new(),
            strategy: GroupStrategy::Parallel,
            ring_time: Duration::from_secs(20),
            otherwise: None,
            calls: 0.into(),
        };
        assert!(settings.office.add(&name, OfficeName::Group(Arc::new(group))));
    }
    let trunk = Arc::new(Trunk {
        name: "provider".into(),
        server: "sip:192.0.2.80".into(),
        networks: Vec::new(),
        server_addresses: Vec::new(),
        shows: Shows::Asserted,
        caller_id: None,
        max_calls: None,
        login: None,
        registers: false,
        probe: None,
    });
    let line = |prefix: &str, is_emergency| Outgoing {
        prefix: prefix.into(),
        strip: 0,
        add: "".into(),
        digits: if is_emergency { None } else { Some(4..=15) },
        class: None,
        trunks: vec![Arc::clone(&trunk)],
        is_emergency,
    };
    let countries = (0..PREFIXES - 4).map(|country| line(&format!("00{}", 300 + country), false));
    let others = [("0", false), ("00", false), ("00494", false), ("112", true)];
    let others = others.map(|(prefix, is_emergency)| line(prefix, is_emergency));
    settings.trunks.outgoing = countries.chain(others).collect();
    settings
}

/// A hit of each class, and two misses: a name, and a number that no line takes.
#[divan::bench(args = [
    "100500", "+498910500", "+49-89-10500", "6050", "+498919000", "0891234567", "0035012345", "112", "nobody", "95512345"
], sample_count = 200, sample_size = 1000)]
fn meaning(bencher: Bencher<'_, '_>, name: &str) {
    let (settings, called) = (office(), aor(name));
    let expected = match name {
        "100500" => NameKind::Account,
        "+498910500" | "+49-89-10500" => NameKind::AccountNumber,
        "6050" => NameKind::Group,
        "+498919000" => NameKind::Number,
        "0891234567" | "0035012345" => NameKind::Outside,
        "112" => NameKind::Emergency,
        _ => NameKind::Unknown,
    };
    assert_eq!(settings.kind_of(&called), expected, "{name}");
    bencher.bench_local(|| settings.kind_of(black_box(&called)));
}
