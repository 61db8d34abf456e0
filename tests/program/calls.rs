//! Records of calls: in the log, in the API, as CSV, in the file, and after a restart.

use std::fs;
use std::path::Path;

use crate::harness::digest::Credentials;
use crate::harness::http;
use crate::harness::server::{CLOSED, OPEN, fresh_ip};
use crate::harness::{Dialog, PATIENCE, Phone, Server, wait_for};

use serde_json::Value;
use tempfile::TempDir;

const DISK: &str = "location: { store: disk, path: data/location }\n";

/// The records that this request returns, once there are so many.
#[track_caller]
fn ended(server: &Server, query: &str, count: usize) -> Vec<Value> {
    let get = || http::get(server.http(), &format!("/api/v1/calls?{query}")).json();
    let found = wait_for(PATIENCE, || get()["ended"].as_array().filter(|ended| ended.len() == count).cloned());
    found.unwrap_or_else(|| panic!("{}\n{}", get(), server.log()))
}

/// A call that is answered. Returns the dialogs of both sides.
#[track_caller]
fn talk(alice: &mut Phone, bob: &mut Phone) -> (Dialog, Dialog) {
    let (invite, at_bob) = alice.calls(&bob.aor(), bob);
    bob.reply(&at_bob, 180);
    alice.response(180);
    let answered = bob.reply(&at_bob, 200);
    let ok = alice.response(200);
    let (caller, callee) = (Dialog::caller(&invite, &ok), Dialog::callee(&at_bob, &answered));
    alice.send(caller.ack());
    bob.expect("ACK");
    (caller, callee)
}

/// One side hangs up.
#[track_caller]
fn hang_up(one: &mut Phone, dialog: &mut Dialog, other: &mut Phone) {
    one.send(dialog.request("BYE"));
    let bye = other.expect("BYE");
    other.reply(&bye, 200);
    one.response(200);
}

/// Strangers cannot fill the disk with refused calls; the refused calls of users are all recorded.
#[test]
fn refused_calls_of_strangers_have_few_records() {
    let config = format!("{CLOSED}calls: {{ file: calls.csv }}\n");
    let server = Server::start(&config);
    let mut eve = Phone::udp("eve", server.address());
    for _ in 0..50 {
        let invite = eve.invite("sip:bob@192.0.2.250");
        eve.send(invite);
        eve.response(403);
    }
    let mut alice = Phone::udp("alice", server.address());
    for _ in 0..25 {
        let invite = alice.invite("sip:bob@office.example");
        alice.authenticated(invite, Credentials::new("alice", "wonderland"));
        alice.response(480);
    }
    assert_eq!(ended(&server, "user=alice", 25).len(), 25);
    // The first three and the 10th are logged.
    assert_eq!(ended(&server, "user=eve", 4).len(), 4);
    let folder = server.stop();
    let text = csv_files(folder.path()).concat();
    let lines = |user: &str| text.lines().filter(|line| line.contains(user)).count();
    assert_eq!((lines("alice@"), lines("eve@")), (25, 4), "{text}");
}

fn csv_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "csv"));
    files.map(|path| fs::read_to_string(path).expect("a file")).collect()
}

#[test]
fn a_record_says_who_hung_up_and_survives_a_restart() {
    let config = format!("{OPEN}{DISK}calls: {{ file: calls.csv }}\nworkers: 2\n");
    let server = Server::start(&config);
    let mut alice = Phone::udp("alice", server.address()).registered();
    let mut bob = Phone::udp("bob", server.address()).registered();
    let (mut at_alice, _) = talk(&mut alice, &mut bob);
    server.counts("frontdesk_calls", &[], |calls| calls == 1.0);
    let now = http::get(server.http(), "/api/v1/calls").json();
    assert!(now["total"] == 1 && now["now"][0]["answered"].is_string(), "{now}");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    hang_up(&mut alice, &mut at_alice, &mut bob);
    let [record] = &ended(&server, "", 1)[..] else { panic!("one record") };
    assert_eq!((&record["ending"], &record["hung_up"]), (&"answered".into(), &"caller".into()));
    assert_eq!(record["reached"], "bob@office.example");
    let talked = record["talked"].as_u64().filter(|talked| (1..20).contains(talked)).expect("some seconds");
    server.logs(&format!("call alice -> bob: rang 1 phone, answered after 0s, alice hung up after {talked}s"));
    server.counts("frontdesk_call_duration_seconds_count", &[], |calls| calls == 1.0);
    server.counts("frontdesk_calls", &[], |calls| calls == 0.0);

    // One call is busy, and one goes on over the restart.
    let (_, at_bob) = alice.calls(&bob.aor(), &mut bob);
    bob.reply(&at_bob, 486);
    alice.response(486);
    let (_, mut at_bob) = talk(&mut alice, &mut bob);
    assert_eq!(ended(&server, "user=BOB", 2)[0]["ending"], "busy");
    let ip = server.ip();
    let folder = server.stop();
    let text = fs::read_to_string(folder.path().join("calls.csv")).expect("the file");
    let lines: Vec<_> = text.split("\r\n").collect();
    assert_eq!(lines[0], "start,answer,end,from,to,reached,ending,status,seconds");
    let end = format!(",alice@office.example,bob@office.example,bob@office.example,caller_hung_up,200,{talked}");
    assert!(lines[1].ends_with(&end), "{text}");
    assert!(lines[2].ends_with(",busy,486,") && lines.len() == 4, "{text}");

    let server = Server::start_in(folder, ip, &config);
    assert_eq!(ended(&server, "", 2)[1]["talked"], talked);
    assert_eq!(http::get(server.http(), "/api/v1/calls").json()["total"], 1);
    hang_up(&mut bob, &mut at_bob, &mut alice);
    assert_eq!(ended(&server, "", 3)[0]["hung_up"], "callee");
    let csv = http::get(server.http(), "/api/v1/calls.csv?number=0");
    assert_eq!(csv.body, "start,answer,end,from,to,reached,ending,status,seconds\r\n");
    let csv = http::get(server.http(), "/api/v1/calls.csv?user=alice").body;
    assert!(csv.lines().count() == 4 && csv.contains("callee_hung_up,200,"), "{csv}");
}

#[test]
fn the_file_is_rotated_and_no_record_is_kept_with_keep_off() {
    let server = Server::start(&format!("{OPEN}calls: {{ file: calls.csv, rotate: 300B, keep: off }}\n"));
    let mut alice = Phone::udp("=1+1", server.address());
    for _ in 0..5 {
        let invite = alice.invite("sip:nobody@office.example");
        alice.send(invite);
        alice.response(480);
        let line = |text: &String| text.contains("nobody");
        assert!(wait_for(PATIENCE, || csv_files(server.path()).iter().any(line).then_some(())).is_some());
    }
    let lines = || csv_files(server.path()).iter().map(|text| text.lines().count() - 1).sum::<usize>();
    assert!(wait_for(PATIENCE, || (lines() == 5).then_some(())).is_some(), "{:?}", csv_files(server.path()));
    let files = csv_files(server.path());
    assert!(files.len() > 1 && files.iter().all(|text| text.len() <= 300), "{files:?}");
    assert!(files.iter().flat_map(|text| text.lines().skip(1)).all(|line| line.contains(",'=1+1@")), "{files:?}");
    assert_eq!(http::get(server.http(), "/api/v1/calls").json()["found"], 0);
}

#[test]
fn a_path_that_cannot_be_written_stops_the_start() {
    let folder = TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let mut server = Server::launch(folder, fresh_ip(), &format!("{OPEN}calls: {{ file: missing/calls.csv }}\n"));
    let status = server.wait(PATIENCE).expect("the server ends");
    assert!(!status.success() && server.log().contains("missing/calls.csv"), "{}", server.log());
}
