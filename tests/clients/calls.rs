//! What every softphone must be able to do: register, refresh, call, be called, and unregister, over UDP and TCP, with
//! and without an outbound proxy. The other side of the calls is a scripted phone of carol; what both sides send is
//! checked.

use crate::harness::digest::Credentials;
use crate::harness::message::{ack_of, cancel_of};
use crate::harness::server::CLOSED;
use crate::harness::{Dialog, Message, Phone, Server};
use crate::jssip::JSSIP;
use crate::linphone::LINPHONE;
use crate::pjsua::PJSUA;
use crate::softphone::{Client, Over, Settings, Softphone};
use crate::twinkle::TWINKLE;

/// One call or call attempt.
type Call = fn(&mut Setup);

/// The calls of every client, in order.
const CALLS: [(&str, Call); 10] = [
    ("it calls, and hangs up", |setup| {
        let invite = setup.dials();
        setup.carol_answers(&invite);
        setup.hangs_up();
    }),
    ("it calls, and Carol hangs up", |setup| {
        let invite = setup.dials();
        let dialog = setup.carol_answers(&invite);
        setup.carol_hangs_up(dialog);
    }),
    ("it calls, and cancels", |setup| {
        let invite = setup.dials();
        setup.types(setup.client.hang_up);
        let cancel = setup.carol.expect("CANCEL");
        setup.carol.reply(&cancel, 200);
        setup.carol_refuses(&invite, 487);
        setup.phone.says(setup.client.has_cancelled);
    }),
    ("Carol is busy", |setup| {
        let invite = setup.dials();
        setup.carol_refuses(&invite, 486);
        setup.phone.says(setup.client.is_busy);
    }),
    ("Carol declines", |setup| {
        let invite = setup.dials();
        setup.carol_refuses(&invite, 603);
        setup.phone.says(setup.client.is_declined);
    }),
    ("it is called, and hangs up", |setup| {
        let invite = setup.carol_dials();
        setup.answers(&invite);
        setup.hangs_up();
    }),
    ("it is called, and Carol hangs up", |setup| {
        let invite = setup.carol_dials();
        let dialog = setup.answers(&invite);
        setup.carol_hangs_up(dialog);
    }),
    ("it is called, and Carol cancels", |setup| {
        let invite = setup.carol_dials();
        setup.carol.send(cancel_of(&invite));
        setup.carol.response(200);
        setup.is_refused(&invite, 487);
        setup.phone.says(setup.client.is_cancelled);
    }),
    ("it declines", |setup| {
        let invite = setup.carol_dials();
        setup.types(setup.client.decline);
        setup.is_refused(&invite, setup.client.declines_with);
    }),
    ("it is busy", |setup| {
        let invite = setup.dials();
        let dialog = setup.carol_answers(&invite);
        let mut bob = Phone::udp("bob", setup.server.address());
        let invite = bob.invite("sip:alice@office.example");
        bob.authenticated(invite, Credentials::new("bob", "builder"));
        assert_eq!(bob.next_final().status(), Some(486));
        setup.carol_hangs_up(dialog);
    }),
];

/// A server, a client as the phone of alice, and the phone of carol.
struct Setup {
    server: Server,
    client: &'static Client,
    settings: Settings,
    phone: Softphone,
    carol: Phone,
}

impl Setup {
    /// Registers the client and carol, each after one challenge.
    #[track_caller]
    fn open(config: &str, client: &'static Client, over: Over, carol_over: Over, proxy: bool) -> Self {
        let server = Server::start(&format!("{CLOSED}{config}"));
        let settings = Settings::new(&server, over, proxy);
        let carol = carol_over.phone("carol", &server).registered_as("christmas");
        let phone = (client.start)(&server, &settings);
        for outcome in ["registered", "challenged"] {
            server.counts("frontdesk_registrations_total", &[("outcome", outcome)], |count| count == 2.0);
        }
        server.counts("frontdesk_bindings", &[], |count| count == 2.0);
        Self { server, client, settings, phone, carol }
    }

    /// Types a line into the client.
    fn types(&mut self, line: &str) {
        self.phone.type_in(line);
    }

    /// The client calls carol, and the phone of carol rings.
    #[track_caller]
    fn dials(&mut self) -> Message {
        self.types(&format!("{} {}", self.client.call, self.settings.uri("carol")));
        let invite = self.carol.expect("INVITE");
        self.carol.reply(&invite, 180);
        self.phone.says(self.client.hears_ringing);
        invite
    }

    /// carol calls, and the client rings.
    #[track_caller]
    fn carol_dials(&mut self) -> Message {
        let invite = self.carol.invite("sip:alice@office.example");
        let invite = self.carol.authenticated(invite, Credentials::new("carol", "christmas"));
        self.carol.response(180);
        self.phone.says(self.client.rings);
        invite
    }

    #[track_caller]
    fn carol_answers(&mut self, invite: &Message) -> Dialog {
        let session = self.carol.invite("sip:nobody").body;
        let ok = self.carol.answer(invite, 200).body("application/sdp", session);
        let ok = self.carol.send(ok);
        self.carol.expect("ACK");
        self.phone.says(self.client.is_answered);
        Dialog::callee(invite, &ok)
    }

    #[track_caller]
    fn answers(&mut self, invite: &Message) -> Dialog {
        self.types(self.client.answer);
        let ok = self.carol.next_final();
        assert_eq!(ok.status(), Some(200), "{ok}");
        let dialog = Dialog::caller(invite, &ok);
        self.carol.send(dialog.ack());
        self.phone.says(self.client.has_answered);
        dialog
    }

    #[track_caller]
    fn carol_refuses(&mut self, invite: &Message, status: u16) {
        self.carol.reply(invite, status);
        self.carol.expect("ACK");
    }

    #[track_caller]
    fn is_refused(&mut self, invite: &Message, status: u16) {
        let refusal = self.carol.next_final();
        assert_eq!(refusal.status(), Some(status), "{refusal}");
        self.carol.send(ack_of(invite, &refusal));
    }

    #[track_caller]
    fn hangs_up(&mut self) {
        self.types(self.client.hang_up);
        let bye = self.carol.expect("BYE");
        self.carol.reply(&bye, 200);
    }

    #[track_caller]
    fn carol_hangs_up(&mut self, mut dialog: Dialog) {
        self.carol.send(dialog.request("BYE"));
        self.carol.response(200);
        self.phone.says(self.client.is_hung_up);
    }

    /// The client unregisters.
    #[track_caller]
    fn unregisters(&mut self) {
        self.types(self.client.unregister);
        self.server.counts("frontdesk_registrations_total", &[("outcome", "unregistered")], |count| count == 1.0);
    }

    /// The client unregisters, is not called any more, and ends.
    #[track_caller]
    fn leaves(mut self) {
        self.unregisters();
        self.server.counts("frontdesk_bindings", &[], |count| count == 1.0);
        let invite = self.carol.invite("sip:alice@office.example");
        let invite = self.carol.authenticated(invite, Credentials::new("carol", "christmas"));
        self.is_refused(&invite, 480);
        self.phone.quits();
    }
}

/// A client registers, calls, is called, and unregisters. With an outbound proxy, carol is on the other transport.
#[track_caller]
fn all_calls_work(client: &'static Client, over: Over, proxy: bool) {
    let other = if over == Over::Udp { Over::Tcp } else { Over::Udp };
    let mut setup = Setup::open("", client, over, if proxy { other } else { over }, proxy);
    for (name, call) in CALLS {
        println!("--- {name}");
        call(&mut setup);
        // Nothing arrives late. Besides, Twinkle ignores what is typed while it ends the previous call.
        setup.carol.silence();
    }
    setup.server.counts("frontdesk_bindings", &[], |count| count == 2.0);
    setup.leaves();
}

/// A client registers again before its registration ends.
#[track_caller]
fn it_refreshes(client: &'static Client, over: Over) {
    let config = "registrar: { min_expires: 5s, default_expires: 7s, max_expires: 7s }\n";
    let mut setup = Setup::open(config, client, over, over, false);
    let refreshed = |count| count >= 3.0;
    setup.server.counts("frontdesk_registrations_total", &[("outcome", "registered")], refreshed);
    setup.unregisters();
    setup.phone.quits();
}

/// A client whose connection is closed, as after a restart of the server, registers over a new one and is called there.
#[track_caller]
fn it_is_called_after_a_restart(client: &'static Client, over: Over) {
    let config = "location: { store: disk, path: data/location }\n";
    let mut setup = Setup::open(config, client, over, Over::Udp, false);
    let ip = setup.server.ip();
    setup.server = Server::start_in(setup.server.stop(), ip, &format!("{CLOSED}{config}"));
    setup.server.counts("frontdesk_registrations_total", &[("outcome", "registered")], |count| count == 1.0);
    setup.server.counts("frontdesk_bindings", &[], |count| count == 2.0);
    let invite = setup.carol_dials();
    let dialog = setup.answers(&invite);
    setup.carol_hangs_up(dialog);
    setup.leaves();
}

#[test]
fn pjsua_is_called_after_a_server_restart() {
    it_is_called_after_a_restart(&PJSUA, Over::Tcp);
}

#[test]
fn jssip_over_websocket() {
    all_calls_work(&JSSIP, Over::WebSocket, false);
}

#[test]
fn jssip_over_websocket_calls_over_udp() {
    all_calls_work(&JSSIP, Over::WebSocket, true);
}

#[test]
fn jssip_refreshes_over_websocket() {
    it_refreshes(&JSSIP, Over::WebSocket);
}

#[test]
fn jssip_is_called_after_a_server_restart() {
    it_is_called_after_a_restart(&JSSIP, Over::WebSocket);
}

/// The tests of a client.
macro_rules! tests_of {
    ($($name:ident: $client:ident),+) => { $(mod $name {
        use super::{Over, all_calls_work, it_refreshes};

        #[test]
        fn over_udp() {
            all_calls_work(&super::$client, Over::Udp, false);
        }

        #[test]
        fn over_udp_through_an_outbound_proxy() {
            all_calls_work(&super::$client, Over::Udp, true);
        }

        #[test]
        fn over_tcp() {
            all_calls_work(&super::$client, Over::Tcp, false);
        }

        #[test]
        fn over_tcp_through_an_outbound_proxy() {
            all_calls_work(&super::$client, Over::Tcp, true);
        }

        #[test]
        fn refreshes_over_udp() {
            it_refreshes(&super::$client, Over::Udp);
        }

        #[test]
        fn refreshes_over_tcp() {
            it_refreshes(&super::$client, Over::Tcp);
        }
    })+ };
}

tests_of!(
    linphone: LINPHONE,
    pjsua: PJSUA,
    twinkle: TWINKLE
);
