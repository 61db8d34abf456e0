//! Dialog events: the `dialog` event package (RFC 4235), as a watcher sees the calls of a user.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code outside of test functions")]

use std::time::Duration;

use proxy::{Account, Others};

use sim::{Agent, DialogView, ShownDialog, Simulation, Sip};

use crate::accounts::aor;
use crate::call_steps::{accepts, refuses, rings, stops};

pub(crate) const BOB: &str = "sip:bob@office.example";

/// A server with alice, bob and carol, where `board` may watch all users and `desk` may pick up their calls.
pub(crate) fn setup() -> Simulation {
    Simulation::with(add_accounts)
}

pub(crate) fn add_accounts(settings: &mut proxy::Settings) {
    for user in ["alice", "bob", "carol"] {
        settings.accounts.insert(aor(user), Account { label: user.to_uppercase().into(), ..Account::default() });
    }
    settings.accounts.insert(aor("board"), Account { may_watch: Others::All, ..Account::default() });
    settings.accounts.insert(aor("desk"), Account { may_pick_up: Others::All, ..Account::default() });
}

/// A subscriber to the calls of a user.
pub(crate) struct Watcher {
    pub(crate) phone: Agent,
    pub(crate) asked: Sip,
    pub(crate) ok: Sip,
    pub(crate) view: DialogView,
}

impl Watcher {
    /// Subscribes, and gets the full state.
    pub(crate) fn of(sim: &Simulation, name: &str, user: &str) -> Self {
        Self::at(sim.udp(name), user)
    }

    /// The same of a phone that has been set up.
    pub(crate) fn at(phone: Agent, user: &str) -> Self {
        let asked = phone.request("SUBSCRIBE", &format!("sip:{user}@office.example"));
        let asked = asked.with("Event", "dialog").with("Expires", 600).with("Accept", "application/dialog-info+xml");
        phone.sends(&asked);
        let ok = phone.expects("200");
        let mut watcher = Self { phone, asked, ok, view: DialogView::default() };
        watcher.is_notified();
        watcher
    }

    /// An INVITE of a phone that replaces the dialog of the last NOTIFY (RFC 3891 7.1).
    pub(crate) fn replacement(&self, phone: &Agent, uri: &str) -> Sip {
        let dialog = &self.view.last[0];
        let (call_id, to, from) = (&dialog.call_id, &dialog.remote_tag, &dialog.local_tag);
        assert!(!call_id.is_empty() && !to.is_empty() && !from.is_empty());
        let replaces = format!("{call_id} ;from-tag={from};to-tag={to};early-only");
        phone.request("INVITE", uri).with("Replaces", replaces).with("Require", "replaces")
    }

    /// Gets a NOTIFY and answers it.
    pub(crate) fn is_notified(&mut self) -> Sip {
        let notify = self.phone.expects("NOTIFY");
        self.view.apply(&notify);
        self.phone.answers(&notify, 200);
        notify
    }

    /// Waits until the limit of the rate allows the next NOTIFY, and gets it.
    pub(crate) fn sees(&mut self, sim: &Simulation, states: &[(&str, &str)]) {
        sim.seconds(1);
        self.settles(sim);
        assert_eq!(self.view.states(), states);
    }

    /// Gets all NOTIFYs until nothing changes any more. Returns what each of them had.
    pub(crate) fn settles(&mut self, sim: &Simulation) -> Vec<Vec<ShownDialog>> {
        let mut documents = Vec::new();
        while let Some(notify) = self.phone.next_message_if_any() {
            self.phone.answers(&notify, 200);
            if self.view.apply(&notify) {
                documents.push(self.view.last.clone());
            }
            sim.seconds(1);
        }
        documents
    }
}

/// What happens to a call of alice to bob.
#[derive(Clone, Copy, Debug)]
enum Act {
    Rings,
    Accepts,
    Refuses(u16),
    Cancels,
    CallerHangsUp,
    CalleeHangsUp,
    /// A request within the dialog gets this response.
    Fails(u16),
    /// No request comes for longer than `call_lifetime`.
    IsSilent,
}

/// A call of alice to bob, and who watches them.
struct Watched {
    sim: Simulation,
    alice: Agent,
    bob: Agent,
    invite: Sip,
    received: Sip,
    ok: Option<Sip>,
    /// Of alice and of bob.
    watchers: [Watcher; 2],
}

impl Watched {
    fn new() -> Self {
        let sim = Simulation::with(|settings| {
            add_accounts(settings);
            settings.call_lifetime = Duration::from_secs(60);
        });
        let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
        bob.registers();
        let watchers = ["alice", "bob"].map(|user| Watcher::of(&sim, &format!("board/{user}"), user));
        sim.seconds(1);
        let invite = alice.calls("bob");
        let received = bob.expects("INVITE");
        Self { sim, alice, bob, invite, received, ok: None, watchers }
    }

    fn act(&mut self, act: Act) {
        let (alice, bob, invite, received) = (&self.alice, &self.bob, &self.invite, &self.received);
        match act {
            Act::Rings => {
                bob.answers(received, 180);
                alice.expects("180");
            }
            Act::Accepts => self.ok = Some(accepts(alice, invite, bob, received)),
            Act::Refuses(status) => {
                bob.answers(received, status);
                alice.acks(invite, &alice.expects(&status.to_string()));
                bob.expects("ACK");
            }
            Act::Cancels => {
                alice.cancels(invite);
                bob.answers(&bob.expects("CANCEL"), 200);
                alice.expects("200");
                self.act(Act::Refuses(487));
            }
            Act::CallerHangsUp => self.hangs_up("BYE", 200),
            Act::Fails(status) => self.hangs_up("UPDATE", status),
            Act::CalleeHangsUp => {
                let ok = self.ok.as_ref().unwrap();
                bob.sends(&bob.within_as_callee(received, ok, "BYE"));
                alice.answers(&alice.expects("BYE"), 200);
                bob.expects("200");
            }
            Act::IsSilent => {
                // A watcher that does not answer loses its subscription.
                self.seen();
                self.sim.seconds(75);
                self.sim.sweep_calls();
            }
        }
    }

    /// alice sends a request within the dialog.
    fn hangs_up(&self, method: &str, status: u16) {
        self.alice.sends(&self.alice.within(&self.invite, self.ok.as_ref().unwrap(), method));
        self.bob.answers(&self.bob.expects(method), status);
        self.alice.expects(&status.to_string());
    }

    /// What the watchers of alice and of bob saw last.
    fn seen(&mut self) -> [String; 2] {
        self.sim.seconds(1);
        self.watchers.each_mut().map(|watcher| {
            watcher.settles(&self.sim);
            let live = watcher.view.states();
            let mut last = watcher.view.last.iter().map(|it| format!("{} {} {}", it.state, it.event, it.code));
            match live.first() {
                Some((_, state)) => (*state).to_owned(),
                None => last.next_back().unwrap_or_default(),
            }
        })
    }
}

#[test]
fn the_state_machine_of_rfc_4235() {
    // checklist 173
    use Act::{Accepts, CalleeHangsUp, CallerHangsUp, Cancels, Fails, IsSilent, Refuses, Rings};
    type Row = (&'static [Act], [&'static str; 2]);
    let rows: [Row; 14] = [
        (&[], ["trying", ""]),
        (&[Rings], ["early", "early"]),
        (&[Rings, Rings], ["early", "early"]),
        (&[Accepts], ["confirmed", "confirmed"]),
        (&[Rings, Accepts], ["confirmed", "confirmed"]),
        // bob's watchers were not told of a phone that did not ring.
        (&[Refuses(486)], ["terminated rejected 486", ""]),
        (&[Rings, Refuses(603)], ["terminated rejected 603", "terminated rejected 603"]),
        (&[Rings, Cancels], ["terminated cancelled 487", "terminated cancelled 487"]),
        (&[Rings, Accepts, CallerHangsUp], ["terminated local-bye ", "terminated remote-bye "]),
        (&[Rings, Accepts, CalleeHangsUp], ["terminated remote-bye ", "terminated local-bye "]),
        (&[Rings, Accepts, Fails(481)], ["terminated error ", "terminated error "]),
        (&[Rings, Accepts, Fails(408)], ["terminated error ", "terminated error "]),
        (&[Rings, Accepts, Fails(500)], ["confirmed", "confirmed"]),
        (&[Rings, Accepts, IsSilent], ["terminated timeout ", "terminated timeout "]),
    ];
    for (acts, seen) in rows {
        // With and without the time for a NOTIFY after each step.
        for each in [true, false] {
            let mut watched = Watched::new();
            watched.seen();
            for act in acts {
                watched.act(*act);
                if each {
                    watched.seen();
                }
            }
            assert_eq!(watched.seen(), seen, "{acts:?}, {each}");
            watched.sim.skip_final_check();
        }
    }
}

#[test]
fn a_phone_that_rings_is_shown_whichever_worker_forwards_its_180() {
    // checklist 173
    let sim = Simulation::with_workers(2, add_accounts);
    sim.core_messages_take(Duration::from_millis(20));
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let mut watcher = Watcher::of(&sim, "board", "bob");
    sim.seconds(1);
    // The worker of the 180 and of the subscription does not know yet whose phone rings.
    alice.reaches_worker(1);
    alice.calls("bob");
    rings(&alice, &bob);
    watcher.sees(&sim, &[("recipient", "early")]);
    sim.skip_final_check();
}

#[test]
fn the_document_names_both_sides() {
    // checklist 173
    let mut watched = Watched::new();
    watched.act(Act::Rings);
    watched.sim.seconds(5);
    let [caller, callee] = &mut watched.watchers;
    caller.phone.all_received();
    callee.phone.all_received();
    // A refresh gets the full state.
    for (watcher, (direction, remote, name)) in
        [(caller, ("initiator", BOB, "BOB")), (callee, ("recipient", "sip:alice@office.example", "ALICE"))]
    {
        let again = watcher.phone.within(&watcher.asked, &watcher.ok, "SUBSCRIBE");
        watcher.phone.sends(&again.with("Event", "dialog").with("Expires", 600));
        watcher.phone.expects("200");
        let notify = watcher.is_notified();
        let shown: Vec<_> = watcher.view.dialogs.values().cloned().collect();
        let state = "early".to_owned();
        let expected =
            ShownDialog { direction: direction.into(), state, remote: remote.into(), ..ShownDialog::default() };
        assert_eq!(shown, [expected], "no identifiers: {notify}");
        for part in ["<duration>5</duration>", &format!("<identity display=\"{name}\">{remote}</identity>")] {
            assert!(notify.body.contains(part), "{part} in {notify}");
        }
    }
    watched.sim.skip_final_check();
}

#[test]
fn who_may_not_watch_gets_403() {
    // checklist 173
    let sim = setup();
    let [alice, board, stranger] = ["alice", "board", "nobody"].map(|name| sim.udp(name));
    for (watcher, user, status) in [
        (&alice, "alice", "200"),
        (&alice, "bob", "403"),
        (&board, "bob", "200"),
        (&board, "nobody", "404"),
        (&stranger, "bob", "403"),
    ] {
        let uri = format!("sip:{user}@office.example");
        watcher.sends(&watcher.request("SUBSCRIBE", &uri).with("Event", "dialog"));
        assert_eq!(watcher.next_message().what(), status, "{user}");
        if status == "200" {
            watcher.answers(&watcher.expects("NOTIFY"), 200);
        }
        watcher.receives_nothing();
    }
    sim.skip_final_check();
}

#[test]
fn a_permission_that_is_taken_away_ends_the_subscription() {
    // checklist 173
    let sim = setup();
    let mut board = Watcher::of(&sim, "board", "bob");
    sim.reconfigure(|settings| {
        settings.accounts.insert(aor("board"), Account::default());
    });
    sim.seconds(2);
    let notify = board.is_notified();
    assert_eq!(notify.value("Subscription-State"), "terminated;reason=rejected");
    assert!(board.view.dialogs.is_empty());
}

#[test]
fn identifiers_are_for_those_who_may_use_them() {
    // checklist 173
    let sim = setup();
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob/phone"));
    bob.registers();
    let mut watchers = ["board", "desk", "bob/other"].map(|name| Watcher::of(&sim, name, "bob"));
    let mut own = Watcher::of(&sim, "alice/other", "alice");
    sim.seconds(1);
    let invite = alice.calls("bob");
    let received = bob.expects("INVITE");
    let [caller_tag, call_id] = [invite.param("From", "tag").unwrap(), invite.value("Call-ID")];
    own.is_notified();
    sim.seconds(1);
    let trying = own.view.last[0].clone();
    assert_eq!((&*trying.call_id, &*trying.local_tag, &*trying.remote_tag), (call_id, caller_tag, ""));
    let ringing = bob.answers(&received, 180);
    alice.expects("180");
    let identified = |shown: &ShownDialog| (shown.call_id.clone(), shown.local_tag.clone(), shown.remote_tag.clone());
    let none = identified(&ShownDialog::default());
    let all = (call_id.to_owned(), ringing.to_tag().to_owned(), caller_tag.to_owned());
    for (watcher, expected) in watchers.iter_mut().zip([&none, &all, &all]) {
        watcher.is_notified();
        assert_eq!(identified(&watcher.view.last[0]), *expected, "{}", watcher.phone.user());
    }
    // Then there is nothing to pick up, and a lamp key must not take the call over.
    accepts(&alice, &invite, &bob, &received);
    sim.seconds(1);
    for (watcher, expected) in watchers.iter_mut().zip([&none, &none, &all]) {
        watcher.is_notified();
        assert_eq!(identified(&watcher.view.last[0]), *expected, "{}", watcher.phone.user());
    }
    sim.skip_final_check();
}

#[test]
fn each_phone_that_rings_has_a_dialog_and_the_caller_has_one() {
    // checklist 173
    let sim = setup();
    let alice = sim.udp("alice");
    let [desk, mobile] = ["bob/desk", "bob/mobile"].map(|name| {
        let phone = sim.udp(name);
        phone.registers();
        phone
    });
    let mut caller = Watcher::of(&sim, "board/alice", "alice");
    let mut callee = Watcher::of(&sim, "board/bob", "bob");
    sim.seconds(1);
    let (invite, [at_desk, at_mobile]) = alice.calls_phones("bob", [&desk, &mobile]);
    desk.answers(&at_desk, 180);
    alice.expects("180");
    mobile.answers(&at_mobile, 180);
    alice.expects("180");
    sim.seconds(1);
    caller.settles(&sim);
    callee.settles(&sim);
    assert_eq!(caller.view.states(), [("initiator", "early")]);
    assert_eq!(callee.view.states(), [("recipient", "early"), ("recipient", "early")]);
    accepts(&alice, &invite, &mobile, &at_mobile);
    stops(&desk, &at_desk);
    callee.sees(&sim, &[("recipient", "confirmed")]);
    let ended: Vec<_> = callee.view.last.iter().map(|it| (&*it.state, &*it.event)).collect();
    // A phone that shows the last dialog of a document shows the call that goes on.
    assert_eq!(ended, [("terminated", "cancelled"), ("confirmed", "")]);
    sim.skip_final_check();
}

#[test]
fn a_call_that_is_forwarded_ends_for_the_first_user_only() {
    // checklist 173
    let sim = Simulation::with(|settings| {
        add_accounts(settings);
        let forward = proxy::Forward { busy: Some(proxy::Party::Name(aor("carol"))), ..proxy::Forward::default() };
        let rules = proxy::UserRules { forward, ..proxy::UserRules::default() };
        settings.accounts.insert(aor("bob"), Account { rules: Some(Box::new(rules)), ..Account::default() });
    });
    let (alice, bob, carol) = (sim.udp("alice"), sim.udp("bob"), sim.udp("carol"));
    bob.registers();
    carol.registers();
    let mut watchers = ["alice", "bob", "carol"].map(|user| Watcher::of(&sim, &format!("board/{user}"), user));
    sim.seconds(1);
    let invite = alice.calls("bob");
    alice.expects("100");
    let at_bob = rings(&alice, &bob);
    let mut seen = watchers.each_mut().map(|watcher| watcher.settles(&sim));
    refuses(&bob, &at_bob, 486);
    alice.expects("181");
    let at_carol = rings(&alice, &carol);
    accepts(&alice, &invite, &carol, &at_carol);
    sim.seconds(1);
    for (watcher, seen) in watchers.iter_mut().zip(&mut seen) {
        seen.append(&mut watcher.settles(&sim));
    }
    let text = |it: &ShownDialog| format!("{} {} {}", it.state, it.event, it.code).trim_end().to_owned();
    let seen = seen.map(|documents| documents.concat().iter().map(text).collect::<Vec<_>>());
    let [caller, first, second] = &seen;
    // alice's call went on all the time.
    assert_eq!(*caller, ["trying", "early", "confirmed"]);
    assert_eq!(*first, ["early", "terminated rejected 486"]);
    assert_eq!(second.last().map(String::as_str), Some("confirmed"));
    sim.skip_final_check();
}

#[test]
fn changes_that_are_too_fast_are_reported_together() {
    // checklist 173
    let mut watched = Watched::new();
    watched.seen();
    watched.act(Act::Rings);
    watched.act(Act::Accepts);
    let [caller, callee] = &mut watched.watchers;
    caller.is_notified();
    callee.is_notified();
    let seen = [&*caller, &*callee].map(|it| it.view.states().first().copied());
    assert_eq!(seen, [Some(("initiator", "early")), Some(("recipient", "early"))]);
    watched.sim.millis(500);
    watched.watchers.iter().for_each(|watcher| watcher.phone.receives_nothing());
    watched.sim.millis(600);
    let [caller, callee] = &mut watched.watchers;
    caller.is_notified();
    callee.is_notified();
    let seen = [&*caller, &*callee].map(|it| it.view.states().first().copied());
    assert_eq!(seen, [Some(("initiator", "confirmed")), Some(("recipient", "confirmed"))]);
    watched.sim.skip_final_check();
}

#[test]
fn a_subscription_expires() {
    // checklist 173
    let sim = setup();
    let mut board = Watcher::of(&sim, "board", "bob");
    sim.seconds(599);
    board.phone.receives_nothing();
    sim.seconds(2);
    let notify = board.is_notified();
    assert_eq!(notify.value("Subscription-State"), "terminated;reason=timeout");
    assert!(board.view.has_ended);
}

#[test]
fn a_phone_that_answers_at_another_worker_is_shown_at_once() {
    // checklist 173
    let sim = Simulation::with_workers(2, add_accounts);
    sim.core_messages_take(Duration::from_millis(1));
    let (alice, bob) = (sim.udp("alice"), sim.udp("bob"));
    bob.registers();
    let mut watcher = Watcher::at(sim.udp("board").reaches_worker(1).clone(), "bob");
    sim.seconds(1);
    alice.calls("bob");
    let received = bob.expects("INVITE");
    bob.reaches_worker(1).answers(&received, 180);
    alice.expects("180");
    watcher.sees(&sim, &[("recipient", "early")]);
    sim.skip_final_check();
}
