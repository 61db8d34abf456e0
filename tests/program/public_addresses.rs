//! A registration and the call that follows it, with the exact messages and public addresses. The test runs in a
//! network namespace that has 200.201.202.203 on its loopback.

use std::net::{Ipv4Addr, UdpSocket};

use crate::harness::message::{param, uri};
use crate::harness::{Phone, Server, namespace};

const CONFIG: &str = "domains: [munich.de]\naliases: [registrar.munich.de]\nauthentication: off\n";

const REGISTER: &str = "\
REGISTER sip:registrar.munich.de SIP/2.0\r
Via: SIP/2.0/UDP 200.201.202.203:5060;branch=z9hG4bKus19\r
Max-Forwards: 70\r
To: Werner Heisenberg <sip:werner.heisenberg@munich.de>\r
From: Werner Heisenberg <sip:werner.heisenberg@munich.de>\r
  ;tag=3431\r
Call-ID: 23@200.201.202.203\r
CSeq: 1 REGISTER\r
Contact: sip:werner.heisenberg@200.201.202.203\r
Content-Length: 0\r
\r
";

#[test]
fn a_phone_registers_through_a_real_address_and_is_called() {
    namespace::inside(
        "public_addresses::a_phone_registers_through_a_real_address_and_is_called",
        &["200.201.202.203/32"],
        || {
            let server = Server::start(CONFIG);
            let mut sender = Phone::udp("werner.heisenberg", server.address()).of("munich.de");
            sender.send_raw(REGISTER.as_bytes());
            let ok = sender.response(200);

            assert_eq!(ok.start, "SIP/2.0 200 OK");
            // checklist 30, 110: its Via has another address than its packets, and the response goes to the source.
            let via = ok.header("Via");
            assert!(via.starts_with("SIP/2.0/UDP 200.201.202.203:5060;"), "{via}");
            assert_eq!(param(via, "branch"), Some("z9hG4bKus19"));
            assert_eq!(param(via, "received"), Some("127.0.0.1"));
            assert_eq!(ok.list("Via").len(), 1);
            let from = ok.header("From");
            assert!(from.starts_with("Werner Heisenberg <sip:werner.heisenberg@munich.de>"), "{from}");
            assert_eq!(ok.tag("From"), Some("3431"));
            let to = ok.header("To");
            assert!(to.starts_with("Werner Heisenberg <sip:werner.heisenberg@munich.de>;tag="), "{to}");
            assert!(ok.tag("To").is_some_and(|tag| !tag.is_empty()));
            assert_eq!((ok.header("Call-ID"), ok.header("CSeq")), ("23@200.201.202.203", "1 REGISTER"));
            let contacts = ok.list("Contact");
            assert_eq!(contacts.len(), 1, "{ok}");
            assert_eq!(uri(contacts[0]), "sip:werner.heisenberg@200.201.202.203");
            assert_eq!(param(contacts[0], "expires"), Some("3600"));

            let socket =
                UdpSocket::bind((Ipv4Addr::new(200, 201, 202, 203), 5060)).expect("the address of this namespace");
            let mut heisenberg = Phone::on_socket("werner.heisenberg", server.address(), socket).of("munich.de");
            let mut bohr = Phone::udp("niels.bohr", server.address()).of("munich.de");
            let (sent, invite) = bohr.calls("sip:werner.heisenberg@munich.de", &mut heisenberg);
            assert_eq!(invite.uri(), "sip:werner.heisenberg@200.201.202.203");
            assert_eq!(invite.header("Max-Forwards"), "69");
            assert_eq!(invite.header("To"), sent.header("To"));
            assert_eq!(invite.body, sent.body);
            heisenberg.reply(&invite, 200);
            bohr.response(200);
        },
    );
}
