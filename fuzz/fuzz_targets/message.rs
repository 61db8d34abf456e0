//! Any octets as a message: every accessor is called, and each message that is written because of it can be parsed.
#![no_main]

use bytes::Bytes;
use fuzz::{parse, read_all};
use libfuzzer_sys::fuzz_target;
use parser::{Leniency, Message, Reply, SentInvite, Stamp, write_ack, write_cancel};

fuzz_target!(|octets: &[u8]| {
    let Some(message) = parse(octets) else { return };
    read_all(&message);
    lines_fill_the_head(&message);
    leniency_changes_only_the_defect(octets, &message);
    parsing_again_gives_the_same(&message);
    if message.is_request() {
        written_messages_can_be_parsed(&message);
    }
});

fn lines_fill_the_head(message: &Message) {
    let mut at = message.first_header_at();
    for line in message.lines() {
        assert_eq!(line.whole.start, at, "a line starts where the previous one ends");
        assert!(line.whole.start <= line.value.start && line.value.end <= line.whole.end);
        at = line.whole.end;
    }
    assert!(at as usize <= message.bytes().len() - message.body().len());
}

fn leniency_changes_only_the_defect(octets: &[u8], strict: &Message) {
    let leniency = Leniency { lone_lf: true, lone_cr: true };
    let lenient = Message::parse_with(Bytes::copy_from_slice(octets), leniency)
        .expect("a message that is valid is valid with leniency");
    assert!(strict.lines().eq(lenient.lines()) && strict.body() == lenient.body());
    assert!(strict.defect().is_some() || lenient.defect().is_none(), "leniency adds no defect");
}

fn parsing_again_gives_the_same(message: &Message) {
    let again = Message::parse(message.bytes().clone()).expect("a parsed message can be parsed again");
    assert_eq!(message.bytes(), again.bytes());
    assert!(message.lines().eq(again.lines()));
    assert_eq!(message.defect(), again.defect());
    assert_eq!(message.request_uri(), again.request_uri());
}

fn written_messages_can_be_parsed(message: &Message) {
    let stamp = Stamp { received: Some([192, 0, 2, 1].into()), rport: Some(5060), rport_at: None };
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

/// A message that is written because of a `received` one without a defect has none either.
fn check(received: &Message, written: &[u8]) {
    let written = parse(written).expect("the message has a start line");
    // A written message may have some lines more than the received one, and so more than the parser accepts.
    if received.defect().is_none() && received.lines().len() < Message::MAX_LINES - 10 {
        assert_eq!(written.defect(), None, "{}", String::from_utf8_lossy(written.bytes()));
    }
}
