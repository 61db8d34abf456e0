//! Kamailio (Debian package `kamailio`) as a telephone provider: the server registers there as a trunk, answers the challenges of
//! its calls and of requests within them, and gets the calls to its numbers from there. `kamailio.cfg` beside this file is the provider. Its other customer
//! is a scripted phone, and so is the phone of the office.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::harness::digest::{Algorithm, Credentials};
use crate::harness::message::{ack_of, cancel_of};
use crate::harness::process::Process;
use crate::harness::server::{fresh_ip, run};
use crate::harness::{Dialog, Message, PATIENCE, Phone, Server, wait_for};

/// The number of the other customer, as the provider and as a phone of the office dial it.
const CUSTOMER: &str = "+4930555";
const DIALLED: &str = "sip:030555@office.example";

/// The account of the other customer.
const SESAME: Credentials<'_> = Credentials::new(CUSTOMER, "sesame").with(Algorithm::Md5);

/// The provider.
struct Kamailio {
    process: Process,
    folder: TempDir,
    ip: IpAddr,
}

impl Kamailio {
    fn start() -> Self {
        let (ip, folder) = (fresh_ip(), TempDir::with_prefix("frontdesk-kamailio-").expect("a temporary folder"));
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/kamailio.cfg");
        let mut command = Command::new("kamailio");
        // In the foreground (-DD), so that it stays the parent of its processes.
        command.args(["-DD", "-E", "-m", "32", "-M", "8", "-l", &format!("udp:{ip}:5060"), "-f"]).arg(config);
        command.arg("-w").arg(folder.path()).arg("-Y").arg(folder.path());
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        path.push(":/usr/sbin");
        command.env("PATH", path);
        Self { process: run(command, folder.path()), folder, ip }
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 5060)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr.log")).unwrap_or_default()
    }

    /// A phone of the other customer, which is registered.
    #[track_caller]
    fn customer(&self) -> Phone {
        let answers = || {
            let mut phone = Phone::udp("probe", self.address()).of(&self.ip.to_string());
            let options = phone.request("OPTIONS", &format!("sip:{}", self.ip));
            phone.send(options);
            phone.next_in(Duration::from_millis(200))
        };
        assert!(wait_for(PATIENCE, answers).is_some(), "Kamailio does not answer:\n{}", self.log());
        let mut phone = Phone::udp(CUSTOMER, self.address()).of(&self.ip.to_string());
        let register = phone.register(Some(&format!("<{}>", phone.contact()))).with("Expires", 600);
        phone.authenticated(register, SESAME);
        phone.response(200);
        phone
    }
}

impl Drop for Kamailio {
    /// The first process ends the others when it gets this signal.
    fn drop(&mut self) {
        self.process.signal("TERM");
        if self.process.wait(PATIENCE).is_none() || std::thread::panicking() {
            println!("--- log of Kamailio ---\n{}", self.log());
        }
    }
}

/// A server with a phone, whose trunk is the provider.
fn office(provider: &Kamailio) -> (Server, Phone) {
    let server = Server::start(&format!(
        "\
domains: [office.example]
authentication: required
accounts:
  - {{ user: alice, password: a, caller_id: \"+4989112\", numbers: [\"+4989112\"] }}
trunks:
  - {{ name: provider, server: \"{}:5060\", user: \"4989100\", password: secret, register: true }}
outgoing:
  - {{ prefix: \"0\", strip: 1, add: \"+49\", trunks: [provider] }}
",
        provider.ip
    ));
    server.logs("registered at the trunk provider");
    let alice = Phone::udp("alice", server.address()).registered_as("a");
    (server, alice)
}

/// The phone of the office dials the number of the customer. Returns the INVITE as sent and as received.
#[track_caller]
fn dials(alice: &mut Phone, customer: &mut Phone) -> (Message, Message) {
    let invite = alice.invite(DIALLED);
    let invite = alice.authenticated(invite, Credentials::new("alice", "a"));
    (invite, customer.expect("INVITE"))
}

/// The callee rings and accepts a call. Returns the dialogs of both.
#[track_caller]
fn accepts(caller: &mut Phone, invite: &Message, callee: &mut Phone, received: &Message) -> [Dialog; 2] {
    callee.reply(received, 180);
    // Neither a challenge of the provider nor any other final response comes before.
    caller.response(180);
    let sent = callee.reply(received, 200);
    let ok = caller.response(200);
    let dialog = Dialog::caller(invite, &ok);
    caller.send(dialog.ack());
    callee.expect("ACK");
    [dialog, Dialog::callee(received, &sent)]
}

/// The phone of the office hangs up, and does not notice that the provider challenges its request.
#[track_caller]
fn office_hangs_up(alice: &mut Phone, dialog: &mut Dialog, customer: &mut Phone) {
    let bye = dialog.request("BYE");
    alice.send(bye);
    let received = customer.expect("BYE");
    customer.reply(&received, 200);
    alice.response(200);
}

/// The phone of the customer hangs up, and answers the challenge of the provider.
#[track_caller]
fn customer_hangs_up(customer: &mut Phone, dialog: &mut Dialog, alice: &mut Phone) {
    let bye = dialog.request("BYE");
    customer.authenticated(bye, SESAME);
    let received = alice.expect("BYE");
    alice.reply(&received, 200);
    customer.response(200);
}

/// The phone of the office changes the media of the call with a re-INVITE, which the provider challenges too.
#[track_caller]
fn changes_media(alice: &mut Phone, dialog: &mut Dialog, customer: &mut Phone) {
    let again = dialog.request("INVITE").with("Contact", format!("<{}>", alice.contact()));
    alice.send(again);
    let received = customer.expect("INVITE");
    customer.reply(&received, 200);
    alice.response(200);
    alice.send(dialog.ack());
    let ack = customer.expect("ACK");
    let number = |message: &Message| message.header("CSeq").split(' ').next().map(str::to_owned);
    assert_eq!(number(&ack), number(&received), "RFC 3261 13.2.2.4");
}

#[test]
fn a_phone_calls_through_kamailio_as_the_provider() {
    let kamailio = Kamailio::start();
    let mut customer = kamailio.customer();
    let (_server, mut alice) = office(&kamailio);
    for callee_hangs_up in [false, true] {
        let (invite, received) = dials(&mut alice, &mut customer);
        assert_eq!(received.header("P-Asserted-Identity"), format!("<sip:+4989112@{}>", kamailio.ip));
        assert!(received.find("Proxy-Authorization").is_none(), "{received}");
        let [mut at_alice, mut at_customer] = accepts(&mut alice, &invite, &mut customer, &received);
        changes_media(&mut alice, &mut at_alice, &mut customer);
        if callee_hangs_up {
            customer_hangs_up(&mut customer, &mut at_customer, &mut alice);
        } else {
            office_hangs_up(&mut alice, &mut at_alice, &mut customer);
        }
    }
    // A call that is refused, one that is cancelled, and one to a number that nobody has.
    let (invite, received) = dials(&mut alice, &mut customer);
    customer.reply(&received, 486);
    let busy = alice.response(486);
    alice.send(ack_of(&invite, &busy));
    customer.expect("ACK");
    let (invite, received) = dials(&mut alice, &mut customer);
    customer.reply(&received, 180);
    alice.response(180);
    alice.send(cancel_of(&invite));
    assert_eq!(alice.response(200).method(), "CANCEL");
    let cancel = customer.expect("CANCEL");
    customer.reply(&cancel, 200);
    customer.reply(&received, 487);
    customer.expect("ACK");
    let terminated = alice.response(487);
    alice.send(ack_of(&invite, &terminated));
    let unknown = alice.invite("sip:030777@office.example");
    let unknown = alice.authenticated(unknown, Credentials::new("alice", "a"));
    let refused = alice.response(404);
    alice.send(ack_of(&unknown, &refused));
}

#[test]
fn a_call_of_kamailio_reaches_the_phone_until_the_server_stops() {
    let kamailio = Kamailio::start();
    let mut customer = kamailio.customer();
    let (server, mut alice) = office(&kamailio);
    let number = format!("sip:+4989112@{}", kamailio.ip);
    for callee_hangs_up in [false, true] {
        let invite = customer.invite(&number);
        let invite = customer.authenticated(invite, SESAME);
        let received = alice.expect("INVITE");
        let [mut at_customer, mut at_alice] = accepts(&mut customer, &invite, &mut alice, &received);
        if callee_hangs_up {
            changes_media(&mut alice, &mut at_alice, &mut customer);
            office_hangs_up(&mut alice, &mut at_alice, &mut customer);
        } else {
            customer_hangs_up(&mut customer, &mut at_customer, &mut alice);
        }
    }
    server.stop();
    // The registration has ended, so Kamailio knows no place to send this call to.
    let invite = customer.invite(&number);
    let invite = customer.authenticated(invite, SESAME);
    let refused = customer.response(404);
    customer.send(ack_of(&invite, &refused));
}
