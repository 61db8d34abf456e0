//! Whatever happens on the network, a subscriber that processes its NOTIFYs by RFC 3680 5.2 knows the current bindings
//! in the end.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "test code outside of test functions")]

use std::collections::BTreeMap;

use sim::{Agent, Impairments, Random, Simulation, Sip, param, uri_in};

const BOB: &str = "sip:bob@office.example";

/// What a subscriber knows: the current contacts by id.
#[derive(Default)]
struct View {
    version: Option<u32>,
    contacts: BTreeMap<String, String>,
    partial: usize,
}

impl View {
    /// RFC 3680 5.2
    fn apply(&mut self, notify: &Sip) {
        let attribute = |tag: &str, name: &str| {
            let (_, value) = tag.split_once(&format!(" {name}=\"")).unwrap_or_default();
            value.split('"').next().unwrap_or_default().to_owned()
        };
        let (_, document) = notify.body.split_once("<reginfo").unwrap_or_default();
        let version = attribute(document, "version").parse().ok();
        if version <= self.version {
            return;
        }
        let full = attribute(document, "state") == "full";
        let follows = self.version.is_some_and(|last| version == Some(last + 1));
        assert!(full || follows, "a change without the state before it");
        self.version = version;
        if full {
            self.contacts.clear();
        }
        self.partial += usize::from(!full);
        for contact in document.split("<contact").skip(1) {
            let (_, uri) = contact.split_once("<uri>").unwrap_or_default();
            let uri = uri.split('<').next().unwrap_or_default();
            let id = attribute(contact, "id");
            match attribute(contact, "state").as_str() {
                "active" => drop(self.contacts.insert(id, uri.to_owned())),
                _ => assert!(self.contacts.remove(&id).is_some(), "the end of what never was"),
            }
        }
    }

    /// Processes and answers all NOTIFYs that have arrived.
    fn process_notifies(&mut self, watcher: &Agent) {
        for notify in watcher.all_received().iter().filter(|sip| sip.what() == "NOTIFY") {
            self.apply(notify);
            watcher.answers(notify, 200);
        }
    }
}

/// Retransmits a request until there is a response.
fn sends_reliably(sim: &Simulation, phone: &Agent, request: &Sip) -> Sip {
    for _ in 0..50 {
        phone.sends(request);
        sim.millis(60);
        let answers = phone.all_received();
        if let Some(answer) = answers.into_iter().find(|sip| sip.value("CSeq") == request.value("CSeq")) {
            assert_eq!(answer.what(), "200", "{answer}");
            return answer;
        }
    }
    panic!("nothing gets through");
}

fn run_trial(seed: u64) {
    let workers = 1 + u8::try_from(seed % 3).unwrap_or(0);
    let sim = Simulation::build(workers, seed, |settings| settings.registrar.limits.min_expires = 1);
    let mut random = Random::new(seed);
    let watcher = sim.udp("bob/watcher");
    let phones = ["bob/desk", "bob/home", "bob/mobile"].map(|name| sim.udp(name));
    watcher.reaches_worker(usize::from(workers) - 1);
    let subscribe = watcher.request("SUBSCRIBE", BOB).with("Event", "reg").with("Expires", 3000);
    watcher.sends(&subscribe);
    let mut view = View::default();
    watcher.expects("200");
    sim.impair(Impairments { delay: (1, 30), lost: 200, duplicated: 100, late: 20, ..Impairments::NONE });
    for _ in 0..40 {
        let phone = &phones[random.index(phones.len())];
        phone.reaches_worker(random.index(usize::from(workers)));
        let expires = [0, 3, 20, 600][random.index(4)];
        sends_reliably(&sim, phone, &phone.register().with("Expires", expires));
        for _ in 0..random.index(12) {
            sim.millis(700);
            view.process_notifies(&watcher);
        }
    }
    sim.impair(Impairments::NONE);
    for _ in 0..100 {
        sim.millis(500);
        view.process_notifies(&watcher);
    }
    let query = sends_reliably(&sim, &phones[0], &phones[0].register().without("Contact"));
    let long = |contact: &&str| param(contact, "expires") != Some("1");
    let mut there: Vec<&str> = query.values("Contact").filter(long).map(uri_in).collect();
    let mut known: Vec<&str> = view.contacts.values().map(String::as_str).collect();
    there.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, there, "seed {seed}");
    assert!(view.partial > 3, "seed {seed}: {} changes", view.partial);
}

#[test]
fn the_last_notified_state_matches_the_registrations() {
    // checklist 155
    (0..60).for_each(run_trial);
}
