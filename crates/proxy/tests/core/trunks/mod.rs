//! Calls by trunks.
#![expect(clippy::expect_used, reason = "a test panics on unexpected results")]

mod bad_trunks;
mod challenges;
mod challenges_in_dialog;
mod detours;
mod dialog_numbers;
mod emergency;
mod events;
mod identity;
mod incoming;
mod outgoing;
mod registration;

use std::sync::Arc;

use proxy::{Account, Dialling, Foreign, Forward, Login, Outgoing, Party, Settings, Shows, Trunk, UserRules};
use sim::{Agent, Simulation, Sip};

use crate::accounts::{ALICE, BOB, add_accounts, aor};
use crate::call_steps::{accepts, refuses, stops};

const PROVIDER: &str = "192.0.2.80";
const BACKUP: &str = "192.0.2.81";

fn trunk(name: &str, address: &str) -> Trunk {
    Trunk {
        name: name.into(),
        server: format!("sip:{address}").into(),
        networks: vec![format!("{address}/32").parse().expect("a network")],
        server_addresses: vec![address.parse().expect("an address")],
        shows: Shows::Asserted,
        caller_id: Some("+4989100".into()),
        max_calls: None,
        login: None,
        registers: false,
        probe: None,
    }
}

/// A line for numbers with this prefix: `strip`, `add` and `class`.
fn line(prefix: &str, (strip, add, class): (usize, &str, &str), trunks: &[&Arc<Trunk>]) -> Outgoing {
    Outgoing {
        prefix: prefix.into(),
        strip,
        add: add.into(),
        digits: None,
        class: (!class.is_empty()).then(|| class.into()),
        trunks: trunks.iter().map(|trunk| Arc::clone(trunk)).collect(),
        is_emergency: class == "emergency",
    }
}

/// Two trunks; 0 leads to both, 00 to the first, 112 is an emergency number. alice may dial national numbers only and has a
/// number of her own; bob may dial everything.
fn secured(settings: &mut Settings, change: impl FnOnce(&mut Trunk)) {
    add_accounts(settings, &[ALICE, BOB]);
    settings.foreign = Foreign::Authenticated;
    let mut provider = trunk("provider", PROVIDER);
    change(&mut provider);
    let (provider, backup) = (Arc::new(provider), Arc::new(trunk("backup", BACKUP)));
    settings.trunks.outgoing = [
        line("0", (1, "+49", "national"), &[&provider, &backup]),
        line("00", (2, "+", "international"), &[&provider]),
        line("+", (0, "", "international"), &[&provider]),
        line("112", (0, "", "emergency"), &[&provider, &backup]),
    ]
    .into_iter()
    .collect();
    settings.trunks.all = vec![provider, backup];
    let account = |user: &str, settings: &Settings| settings.accounts.find(&aor(user)).cloned().expect("an account");
    let dialling = Dialling { classes: Some(vec!["national".into()]), caller_id: Some("+4989111".into()) };
    let alice = Account { dialling: Some(Box::new(dialling)), ..account("alice", settings) };
    settings.accounts.insert(aor("alice"), alice);
    assert!(settings.accounts.add_number(&aor("+4989112"), &aor("bob")));
}

fn set_forward(settings: &mut Settings, user: &str, forward: Forward) {
    let rules = Some(Box::new(UserRules { forward, ..UserRules::default() }));
    let account = settings.accounts.find(&aor(user)).cloned().unwrap_or_default();
    settings.accounts.insert(aor(user), Account { rules, ..account });
}

/// The simulation, both trunks, and the phones of alice and bob, which are registered.
struct Office {
    sim: Simulation,
    provider: Agent,
    backup: Agent,
    alice: Agent,
    bob: Agent,
}

impl Office {
    fn new() -> Self {
        Self::with(|settings| secured(settings, |_| {}))
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::in_simulation(Simulation::with(change))
    }

    fn in_simulation(sim: Simulation) -> Self {
        let at = |name: &str, address: &str| sim.udp(name).at(format!("{address}:5060").parse().expect("an address"));
        let (provider, backup) = (at("provider", PROVIDER), at("backup", BACKUP));
        let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
        alice.signs_in(ALICE);
        bob.signs_in(BOB);
        Self { provider, backup, alice, bob, sim }
    }

    /// alice dials a number with her credentials.
    fn alice_dials(&self, number: &str) -> Sip {
        let invite = self.alice.request("INVITE", &format!("sip:{number}@office.example"));
        self.alice.authenticates(ALICE, &invite)
    }

    /// The same, and the INVITE that the provider gets.
    fn alice_reaches(&self, number: &str) -> (Sip, Sip) {
        let invite = self.alice_dials(number);
        self.alice.expects("100");
        (invite, self.provider.expects("INVITE"))
    }

    /// The trunk calls a URI.
    fn provider_calls(&self, uri: &str) -> Sip {
        let invite = self.provider.request("INVITE", uri).set("From", "<sip:+49301@provider.example>;tag=p1");
        self.provider.sends(&invite);
        invite
    }
}

/// The caller gets a failure.
fn is_refused(caller: &Agent, invite: &Sip, status: &str) {
    let refusal = caller.expects(status);
    caller.acks(invite, &refusal);
}
