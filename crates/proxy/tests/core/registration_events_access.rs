//! Who may subscribe to registrations, and for how long (RFC 3680 4.6).

use proxy::{Account, Accounts, Authentication, Others, Settings};
use sim::{Agent, DOMAIN, Login, Simulation, Sip};

use crate::registration_events::{BOB, document, next_notify, resubscribe, subscribe, watch};

use crate::accounts::{ALICE, CAROL, aor};

/// alice may subscribe to bob; carol may not.
fn secured(settings: &mut Settings) {
    settings.authentication = Authentication::Required;
    let alice = Account { may_watch: Others::Listed(vec![aor("bob")]), ..ALICE.account(DOMAIN) };
    for (user, account) in [("alice", alice), ("bob", Account::default()), ("carol", CAROL.account(DOMAIN))] {
        settings.accounts.insert(aor(user), account);
    }
}

/// Subscribes with credentials. Returns the second SUBSCRIBE.
fn prove(watcher: &Agent, login: Login<'_>, uri: &str) -> Sip {
    watcher.sends(&subscribe(watcher, uri));
    let refused = watcher.expects("401");
    let asked = subscribe(watcher, uri);
    let answer = login.answer(&refused, "SHA-256", &asked, 1);
    let asked = asked.with("Authorization", answer);
    watcher.sends(&asked);
    asked
}

#[test]
fn only_permitted_users_may_subscribe() {
    // checklist 155
    let sim = Simulation::with(secured);
    let (alice, carol) = (sim.udp("alice"), sim.udp("carol"));
    prove(&carol, CAROL, BOB);
    assert_eq!(carol.expects("403").reason(), "Not allowed to watch this user");
    prove(&carol, CAROL, "sip:carol@office.example");
    carol.expects("200");
    next_notify(&carol);
    let asked = prove(&alice, ALICE, BOB);
    let ok = alice.expects("200");
    next_notify(&alice);
    // A copy of it is not a replay. A refresh needs no password, because the dialog is sufficient.
    alice.sends(&asked);
    alice.expects("200");
    alice.sends(&resubscribe(&alice, &asked, &ok, 1, 600));
    alice.expects("200");
    next_notify(&alice);
    alice.receives_nothing();
    // It only says that the subscription was terminated.
    sim.seconds(5);
    sim.reconfigure(|settings| drop(settings.accounts.insert(aor("alice"), ALICE.account(DOMAIN))));
    let last = next_notify(&alice);
    assert_eq!(last.value("Subscription-State"), "terminated;reason=rejected");
    assert_eq!(document(&last), (2, true, "init", vec![]));
}

#[test]
fn a_notify_goes_to_the_host_that_subscribed() {
    // It is longer than the SUBSCRIBE and retransmitted until there is a response, so it could flood another host.
    let sim = Simulation::with(secured);
    let (alice, victim) = (sim.udp("alice"), sim.udp("victim"));
    sim.dns("victim.test", &[victim.address]);
    let asks = |name: &str, value: &str| {
        let asked = || subscribe(&alice, BOB).set(name, value);
        alice.sends(&asked());
        let refused = alice.expects("401");
        let again = asked();
        alice.sends(&again.clone().with("Authorization", ALICE.answer(&refused, "SHA-256", &again, 1)));
    };
    let contact = format!("<sip:alice@{}>", victim.address);
    asks("Contact", &contact);
    alice.expects("403");
    asks("Record-Route", &format!("<sip:{};lr>", victim.address));
    alice.expects("403");
    asks("Contact", "<sip:alice@victim.test>");
    alice.expects("200");
    let asked = prove(&alice, ALICE, BOB);
    let ok = alice.expects("200");
    next_notify(&alice);
    alice.sends(&resubscribe(&alice, &asked, &ok, 1, 600).set("Contact", contact));
    alice.expects("403");
    victim.receives_nothing();
}

#[test]
fn a_refresh_without_permission_is_refused() {
    // checklist 155
    let sim = Simulation::with(secured);
    let alice = sim.udp("alice");
    let asked = prove(&alice, ALICE, BOB);
    let ok = alice.expects("200");
    next_notify(&alice);
    sim.reconfigure(|settings| drop(settings.accounts.insert(aor("alice"), ALICE.account(DOMAIN))));
    alice.sends(&resubscribe(&alice, &asked, &ok, 1, 600));
    alice.expects("403");
    assert_eq!(next_notify(&alice).value("Subscription-State"), "terminated;reason=rejected");
}

#[test]
fn a_subscription_ends_when_the_account_changes() {
    // checklist 155
    let changed = Login { password: "looking-glass", ..CAROL };
    let changes: [fn(&mut Settings, Login<'_>); 2] = [
        |settings, changed| drop(settings.accounts.insert(aor("carol"), changed.account(DOMAIN))),
        |settings, _| {
            settings.accounts = Accounts::default();
            settings.accounts.insert(aor("bob"), Account::default());
        },
    ];
    for change in changes {
        let sim = Simulation::with(secured);
        let carol = sim.udp("carol");
        prove(&carol, CAROL, "sip:carol@office.example");
        carol.expects("200");
        next_notify(&carol);
        sim.seconds(5);
        sim.reconfigure(|settings| settings.authentication = Authentication::Required);
        carol.receives_nothing();
        sim.reconfigure(|settings| change(settings, changed));
        assert_eq!(next_notify(&carol).value("Subscription-State"), "terminated;reason=rejected");
    }
    let sim = Simulation::new();
    let desk = sim.udp("bob/desk");
    watch(&desk);
    sim.seconds(5);
    sim.reconfigure(secured);
    assert_eq!(
        next_notify(&desk).value("Subscription-State"),
        "terminated;reason=rejected",
        "the password was not needed"
    );
}

#[test]
fn without_authentication_the_from_names_the_subscriber() {
    // checklist 155
    let sim = Simulation::new();
    let (alice, stranger) = (sim.udp("alice"), sim.udp("bob"));
    alice.sends(&subscribe(&alice, BOB));
    alice.expects("403");
    stranger.sends(&subscribe(&stranger, BOB).set("From", "<sip:bob@elsewhere.example>;tag=1"));
    stranger.expects("403");
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.authentication = Authentication::Off;
    });
    let (alice, nobody) = (sim.udp("alice"), sim.udp("nobody"));
    alice.sends(&subscribe(&alice, BOB));
    alice.expects("200");
    next_notify(&alice);
    nobody.sends(&subscribe(&nobody, "sip:nobody@office.example"));
    nobody.expects("404");
}

#[test]
fn a_trusted_network_may_not_subscribe_without_credentials() {
    // checklist 155
    let sim = Simulation::with(|settings| {
        secured(settings);
        settings.trusted = vec!["192.0.2.0/24".parse().unwrap()];
    });
    let alice = sim.udp("alice");
    alice.sends(&subscribe(&alice, BOB));
    alice.expects("401");
}

#[test]
fn a_nonce_of_another_worker_is_accepted() {
    // checklist 155
    let sim = Simulation::with_workers(2, secured);
    let alice = sim.udp("alice");
    alice.sends(&subscribe(&alice, BOB));
    let refused = alice.expects("401");
    let asked = subscribe(&alice, BOB);
    let answer = ALICE.answer(&refused, "SHA-256", &asked, 1);
    let asked = asked.with("Authorization", &answer);
    alice.reaches_worker(1).sends(&asked);
    let ok = alice.expects("200");
    next_notify(&alice);
    // The nonce of one worker and the dialog of another would be handed over in circles.
    alice.sends(&resubscribe(&alice, &asked, &ok, 1, 600).with("Authorization", &answer));
    alice.expects("200");
    next_notify(&alice);
    assert_eq!([0, 1].map(|worker| sim.load(worker).subscriptions), [1, 0]);
}
