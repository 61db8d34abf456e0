//! Any octets as a message: everything that can be asked of it is asked, and everything made from it is a message again.
#![no_main]

use bytes::Bytes;
use fuzz::{parse, read_all};
use libfuzzer_sys::fuzz_target;
use parser::{Leniency, Message, Reply, SentInvite, Stamp, write_ack, write_cancel};

fuzz_target!(|octets: &[u8]| {
    let Some(message) = parse(octets) else { return };
    read_all(&message);
    its_lines_are_its_head(&message);
    leniency_changes_no_place(octets, &message);
    it_parses_to_itself(&message);
    if message.is_request() {
        answers_are_messages(&message);
    }
});

fn its_lines_are_its_head(message: &Message) {
    let mut at = message.first_header_at();
    for line in message.lines() {
        assert_eq!(line.whole.start, at, "lines follow each other");
        assert!(line.whole.start <= line.value.start && line.value.end <= line.whole.end);
        at = line.whole.end;
    }
    assert!(at as usize <= message.bytes().len() - message.body().len());
}

fn leniency_changes_no_place(octets: &[u8], strict: &Message) {
    let leniency = Leniency { lone_lf: true, lone_cr: true };
    let lenient = Message::parse_with(Bytes::copy_from_slice(octets), leniency).expect("a lenient reader reads more");
    assert!(strict.lines().eq(lenient.lines()) && strict.body() == lenient.body());
    assert!(strict.defect().is_some() || lenient.defect().is_none(), "a lenient reader objects to less");
}

fn it_parses_to_itself(message: &Message) {
    let again = Message::parse(message.bytes().clone()).expect("it parsed before");
    assert_eq!(message.bytes(), again.bytes());
    assert!(message.lines().eq(again.lines()));
    assert_eq!(message.defect(), again.defect());
    assert_eq!(message.request_uri(), again.request_uri());
}

fn answers_are_messages(message: &Message) {
    let stamp = Stamp { received: Some([192, 0, 2, 1].into()), rport: Some(5060) };
    for status in [100, 404] {
        let mut out = Vec::new();
        Reply::new(&mut out, message, status, b"Some Reason", stamp, Some(b"tag")).finish();
        check(message, &out);
    }
    let mut ack = Vec::new();
    write_ack(&SentInvite::as_is(message), message, &mut ack);
    check(message, &ack);
    let mut cancel = Vec::new();
    write_cancel(&SentInvite::as_is(message), Some(b"SIP;cause=200"), &mut cancel);
    check(message, &cancel);
}

/// What is made of a good message is good.
fn check(of: &Message, made: &[u8]) {
    let made = parse(made).expect("it has a start line");
    // One line more than a message may have is not for us to avoid.
    if of.defect().is_none() && of.lines().len() < Message::MAX_LINES - 10 {
        assert_eq!(made.defect(), None, "{}", String::from_utf8_lossy(made.bytes()));
    }
}
