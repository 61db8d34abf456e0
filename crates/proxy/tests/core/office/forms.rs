//! Calls by the rules of the office that name a party in an unusual way: redirections of phones to groups and numbers,
//! URIs of this server in the configuration, parameters of a number, members that ring late and keep their forwarding.

use std::sync::Arc;
use std::time::Duration;

use proxy::{
    Account, Forward, GroupMember, GroupStrategy, Office, OfficeName, Party, RingGroup, Settings, SingleTarget,
    UserRules,
};
use sim::{Agent, Simulation, Sip};

use super::phone;
use crate::accounts::aor;
use crate::call_steps::calls;

fn name(text: &str) -> Party {
    Party::Name(aor(text))
}

fn add_group(office: &mut Office, name: &str, strategy: GroupStrategy, members: &[GroupMember]) {
    let group = RingGroup {
        aor: aor(name),
        label: "".into(),
        members: members.to_vec(),
        strategy,
        ring_time: Duration::from_secs(20),
        otherwise: None,
        calls: 0.into(),
    };
    assert!(office.add(&aor(name), OfficeName::Group(Arc::new(group))));
}

fn member(to: Party, follow: bool) -> GroupMember {
    GroupMember { to, follow }
}

fn rules(settings: &mut Settings, user: &str, rules: UserRules) {
    settings.accounts.insert(aor(user), Account { rules: Some(Box::new(rules)), ..Account::default() });
}

/// alice calls; bob, carol and dave have a phone each. carol and dave are the group 600.
fn setup(change: impl FnOnce(&mut Settings)) -> (Simulation, Agent, [Agent; 3]) {
    let sim = Simulation::with(|settings| {
        settings.forking.single_target = SingleTarget::Stateful;
        for user in ["alice", "bob", "carol", "dave", "101"] {
            settings.accounts.insert(aor(user), Account::default());
        }
        let members = ["carol", "dave"].map(|user| member(name(user), false));
        add_group(&mut settings.office, "600", GroupStrategy::Parallel, &members);
        change(settings);
    });
    let alice = sim.udp("alice");
    let phones = ["bob", "carol", "dave"].map(|user| {
        let phone = sim.udp(user);
        phone.registers();
        phone
    });
    (sim, alice, phones)
}

fn redirects(phone: &Agent, received: &Sip, contact: &str) {
    phone.sends(&phone.answer(received, 302).without("Contact").with("Contact", contact));
    phone.expects("ACK");
}

#[test]
fn a_phone_redirects_to_a_group() {
    let (_sim, alice, [bob, carol, dave]) = setup(|_| {});
    let invite = calls(&alice, "bob");
    let at_bob = bob.expects("INVITE");
    redirects(&bob, &at_bob, "<sip:600@office.example>");
    let at_carol = carol.expects("INVITE");
    dave.expects("INVITE");
    carol.answers(&at_carol, 200);
    let ok = alice.expects("200");
    alice.acks(&invite, &ok);
    carol.expects("ACK");
}

#[test]
fn a_member_of_a_group_redirects_to_a_number_and_to_itself() {
    let (_sim, alice, [bob, carol, dave]) = setup(|settings| {
        assert!(settings.accounts.add_number(&aor("+4989555"), &aor("bob")));
    });
    let invite = calls(&alice, "600");
    let (at_carol, at_dave) = (carol.expects("INVITE"), dave.expects("INVITE"));
    // The other members ring already.
    redirects(&carol, &at_carol, "<sip:600@office.example>");
    dave.receives_nothing();
    redirects(&dave, &at_dave, "<sip:+49-89-555@office.example;user=phone>");
    let at_bob = bob.expects("INVITE");
    bob.answers(&at_bob, 486);
    bob.expects("ACK");
    let busy = alice.expects("486");
    alice.acks(&invite, &busy);
}

#[test]
fn a_redirection_does_not_disturb_a_user_that_must_not_be_disturbed() {
    let (_sim, alice, [bob, carol, _]) = setup(|settings| {
        rules(settings, "carol", UserRules { do_not_disturb: true, ..UserRules::default() });
    });
    let invite = calls(&alice, "bob");
    let at_bob = bob.expects("INVITE");
    redirects(&bob, &at_bob, "<sip:carol@office.example>");
    let refused = alice.expects("480");
    alice.acks(&invite, &refused);
    carol.receives_nothing();
}

#[test]
fn a_uri_of_this_server_stands_for_its_name() {
    // As the party after a user, as a member of a group, as the voicemail server.
    let uri = || Party::Uri("sip:600@office.example".into());
    for dialled in ["bob", "700", "101"] {
        let (_sim, alice, [_, carol, dave]) = setup(|settings| {
            settings.office.voicemail = Some("sip:600@office.example".into());
            let always = |party| Forward { always: Some(party), ..Forward::default() };
            rules(settings, "bob", UserRules { forward: always(uri()), ..UserRules::default() });
            rules(settings, "101", UserRules { forward: always(Party::Voicemail), ..UserRules::default() });
            add_group(&mut settings.office, "700", GroupStrategy::Parallel, &[member(uri(), false)]);
        });
        let invite = alice.calls(dialled);
        alice.expects("100");
        carol.expects("INVITE");
        let at_dave = dave.expects("INVITE");
        dave.answers(&at_dave, 200);
        let ok = alice.expects("200");
        alice.acks(&invite, &ok);
        dave.expects("ACK");
    }
}

#[test]
fn the_parameters_of_a_number_are_not_part_of_it() {
    // RFC 3261 19.1.6
    for uri in [
        "sip:600;user=phone@office.example",
        "sip:600;phone-context=+4989@office.example;user=phone",
        "sip:6-0-0;ext=1@office.example",
        "sip:%36%30%30@office.example",
    ] {
        let (_sim, alice, [_, carol, dave]) = setup(|_| {});
        alice.invites(uri);
        alice.expects("100");
        carol.expects("INVITE");
        dave.expects("INVITE");
    }
    let (sim, alice, _) = setup(|_| {});
    let phone = phone(&sim, "101");
    for uri in ["sip:101;npdi@office.example", "sip:1-01@office.example", "tel:1.0.1"] {
        let invite = alice.invites(uri);
        alice.expects("100");
        let received = phone.expects("INVITE");
        phone.answers(&received, 486);
        phone.expects("ACK");
        let busy = alice.expects("486");
        alice.acks(&invite, &busy);
    }
    for uri in ["sip:bob;x@office.example", "sip:;600@office.example", "sip:+;x@office.example"] {
        let invite = alice.invites(uri);
        let refused = alice.expects("404");
        alice.acks(&invite, &refused);
    }
}

#[test]
fn the_time_of_a_member_begins_when_its_phone_rings() {
    let (sim, alice, [bob, carol, dave]) = setup(|settings| {
        let forward = Forward { no_answer: Some(name("dave")), after: Duration::from_secs(10), ..Forward::default() };
        rules(settings, "carol", UserRules { forward, ..UserRules::default() });
        let members = [member(name("bob"), false), member(name("carol"), true)];
        add_group(&mut settings.office, "700", GroupStrategy::Sequential, &members);
    });
    alice.calls("700");
    alice.expects("100");
    let at_bob = bob.expects("INVITE");
    bob.answers(&at_bob, 180);
    sim.seconds(15);
    dave.receives_nothing();
    sim.seconds(5);
    let at_carol = carol.expects("INVITE");
    carol.answers(&at_carol, 180);
    sim.seconds(9);
    dave.receives_nothing();
    sim.seconds(1);
    dave.expects("INVITE");
    carol.expects("CANCEL");
}
