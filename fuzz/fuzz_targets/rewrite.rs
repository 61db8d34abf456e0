//! A message and edits: without edits the octets stay the same, and with edits the octets that no edit touches do.
//!
//! The first octet of the input is the number of edits. Two octets for each edit follow, and then the message.
#![no_main]

use fuzz::parse;
use libfuzzer_sys::fuzz_target;
use parser::{HeaderName, Message, Rewrite, Span, elements};

const MAX_EDITS: u8 = 16;

fuzz_target!(|input: &[u8]| {
    let Some((count, rest)) = input.split_first() else { return };
    let Some((script, octets)) = rest.split_at_checked(usize::from(count % MAX_EDITS) * 2) else { return };
    let Some(message) = parse(octets) else { return };
    let unchanged = write(&mut Rewrite::new(), &message);
    assert_eq!(&unchanged, message.bytes(), "without edits the octets stay the same");
    any_spans_are_harmless(&message, script);
    if message.defect().is_none() {
        edits_change_only_their_own_octets(&message, script);
    }
});

fn write(rewrite: &mut Rewrite, message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    rewrite.write(message, &mut out);
    let mut again = Vec::new();
    rewrite.write(message, &mut again);
    assert_eq!(out, again, "the same edits give the same octets");
    out
}

fn any_spans_are_harmless(message: &Message, script: &[u8]) {
    let mut rewrite = Rewrite::new();
    for edit in script.chunks_exact(2) {
        let (start, end) = (u32::from(edit[0]), u32::from(edit[1]));
        rewrite.replace(Span { start: start * 3, end: end * 3 }, |out| out.push(b'x'));
    }
    write(&mut rewrite, message);
}

/// Applies the edits of a proxy, and compares the result with one that is computed in another, simpler way.
fn edits_change_only_their_own_octets(message: &Message, script: &[u8]) {
    const LISTS: [HeaderName; 4] = [HeaderName::Via, HeaderName::Route, HeaderName::Contact, HeaderName::RecordRoute];
    let mut rewrite = Rewrite::new();
    let mut removed = [(0_usize, 0_usize); LISTS.len()];
    let (mut first, mut last, mut uri) = (Vec::new(), Vec::new(), message.request_uri().to_vec());
    for (number, edit) in script.chunks_exact(2).enumerate() {
        let list = usize::from(edit[1]) % LISTS.len();
        let text = format!("X-Fuzz: {number}\r\n").into_bytes();
        match edit[0] % 6 {
            0 | 1 => {
                rewrite.remove_first(message, LISTS[list]);
                removed[list].0 += 1;
            }
            2 => {
                rewrite.remove_last(message, LISTS[list]);
                removed[list].1 += 1;
            }
            3 => {
                rewrite.put_first(message, |out| out.extend_from_slice(&text));
                first.push(text);
            }
            4 => {
                rewrite.append(message, |out| out.extend_from_slice(&text));
                last.push(text);
            }
            _ if message.is_request() => {
                uri = format!("sip:new{number}@example.com").into_bytes();
                rewrite.replace(message.request_uri_span(), |out| out.extend_from_slice(&uri));
            }
            _ => {}
        }
    }
    let out = write(&mut rewrite, message);
    let after = parse(&out).expect("the edited message can be parsed");
    if message.lines().len() + script.len() < Message::MAX_LINES {
        assert_eq!(after.defect(), None, "{}", String::from_utf8_lossy(&out));
    }
    assert_eq!((after.request_uri(), after.status(), after.body()), (&uri[..], message.status(), message.body()));
    for (name, (first, last)) in LISTS.into_iter().zip(removed) {
        let before = values(message, name);
        let kept = before.get(first.min(before.len())..before.len().saturating_sub(last)).unwrap_or_default();
        assert_eq!(values(&after, name), kept, "{}", String::from_utf8_lossy(&out));
    }
    let untouched = |line: &parser::Line| {
        let list = LISTS.iter().position(|name| *name == line.name);
        list.is_none_or(|list| removed[list] == (0, 0))
    };
    let lines = |message: &Message| {
        let lines = message.lines().filter(untouched);
        lines.map(|line| octets(message, line.whole).to_vec()).collect::<Vec<_>>()
    };
    let mut expected: Vec<_> = first.into_iter().chain(lines(message)).chain(last).collect();
    if message.lines().len() == 0 {
        // Without a line, both ends are one position, where the texts are in the order of the calls.
        expected.sort_by_key(|line| (line.len(), line.clone()));
    }
    assert_eq!(lines(&after), expected);
}

fn values(message: &Message, name: HeaderName) -> Vec<&[u8]> {
    let lines = message.lines().filter(|line| line.name == name);
    lines.flat_map(|line| elements(message.line_value(&line))).collect()
}

fn octets(message: &Message, span: Span) -> &[u8] {
    &message.bytes()[span.start as usize..span.end as usize]
}
