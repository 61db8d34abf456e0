//! The wall clock is wrong, or is set: registrations expire as granted. Changes while the server runs are tested where
//! the clock is an argument (`crates/server/src/clock.rs`, `crates/location/tests/disk.rs`); here it changes between
//! two runs.

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, SystemTime};

use location::{
    Aor, Change, ContactChange, DiskOptions, DiskStore, Flow, Hooks, Limits, Operation, Record, Store as _, Ticket,
    Wall,
};
use tempfile::TempDir;

use crate::harness::server::{OPEN, data, fresh_ip};
use crate::harness::{PATIENCE, Phone, Server, http, wait_for};

const CONFIG: &str = "location: { store: disk, path: data/location }\n";
const HOURS_10: i64 = 10 * 3_600_000;

/// The store of an earlier run: bob is registered for an hour by a clock that was this far ahead, and it was set right
/// in that run or not.
fn left_behind(folder: &Path, ahead: i64, set_right: bool) {
    let millis = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let clock = Wall(Wall::since_epoch(millis).0.saturating_add_signed(ahead));
    let (tell, shown) = sync_channel(1);
    let hooks = Hooks {
        done: Box::new(move |_, outcome| tell.send(outcome.is_ok()).expect("the receiver is open")),
        ..Hooks::default()
    };
    let store = DiskStore::open(&data(folder).join("location"), DiskOptions::new(clock), hooks).expect("a store");
    if set_right {
        store.set_ahead(-ahead);
    }
    let aor = Aor::new(b"bob", b"office.example");
    let local = "127.0.0.1:5060".parse().expect("an address");
    let flow = Flow { transport: parser::Transport::Udp, remote: local, local, id: location::FlowId::None };
    let uri = b"sip:bob@192.0.2.7";
    let contact =
        ContactChange { uri, params: b"", expires: Some(3600), q: None, instance: None, reg_id: None, flow_id: None };
    let operation = Operation::Update([contact].into_iter().collect());
    let change = Change { call_id: b"1", cseq: 1, transaction: 1, flow, path: b"", user_agent: b"", operation };
    let applied = Record::empty(&aor).apply(&change, store.time(), &Limits::DEFAULT).expect("registered");
    store.commit(None, applied.changed().expect("a change"), Ticket { worker: 0, id: 1 });
    assert_eq!(shown.recv(), Ok(true));
}

/// For how many seconds the phone of bob is registered according to the server.
fn left(ahead: i64, set_right: bool) -> u64 {
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    left_behind(folder.path(), ahead, set_right);
    let server = started(folder);
    let bob = http::get(server.http(), "/api/v1/users/bob");
    if bob.status == 404 {
        return 0;
    }
    // The shown times and the Date of a 200 are those of the wall clock.
    let mut phone = Phone::udp("bob", server.address());
    let query = phone.register(None);
    let date = phone.ask(query).header("Date").to_owned();
    let shown = humantime::parse_rfc3339(server.log().split_whitespace().next().expect("a line")).expect("a time");
    let [today, yesterday] = [shown, shown - Duration::from_secs(60)]
        .map(|time| humantime::format_rfc3339_seconds(time).to_string().get(11..16).expect("hours").to_owned());
    assert!(date.contains(&format!(" {today}:")) || date.contains(&format!(" {yesterday}:")), "{date} at {shown:?}");
    let seconds = bob.json()["phones"][0]["expires_in"].as_u64().expect("seconds");
    let refreshed = bob.json()["phones"][0]["refreshed"].as_str().expect("a time").to_owned();
    let refreshed = humantime::parse_rfc3339(&refreshed).expect("a time");
    assert!(refreshed.elapsed().is_ok_and(|passed| passed < Duration::from_secs(60)), "{refreshed:?}");
    seconds
}

/// A server in this folder. Its lock may still be held by a process that another test is starting: between fork and
/// exec that is a copy of this process.
fn started(mut folder: TempDir) -> Server {
    let ip = fresh_ip();
    for _ in 0..20 {
        let server = Server::launch(folder, ip, &format!("{OPEN}{CONFIG}"));
        let done = || ["listening", "in use by another"].into_iter().find(|word| server.log().contains(word));
        if wait_for(PATIENCE, done) == Some("listening") {
            return server;
        }
        folder = server.kill();
    }
    panic!("the store stays locked");
}

#[test]
fn a_clock_set_between_two_runs_neither_drops_nor_prolongs_registrations() {
    // It was right all the time.
    assert!((3500..=3600).contains(&left(0, false)));
    // It was ten hours ahead or behind, and was set right while the server ran.
    for ahead in [HOURS_10, -HOURS_10] {
        let left = left(ahead, true);
        assert!((3500..=3600).contains(&left), "{ahead}: {left}");
    }
    // It is ten hours behind: nobody is registered for longer than granted.
    let left = left(HOURS_10, false);
    assert!((3500..=3600).contains(&left), "{left}");
}
