//! Edits of a message's octets, applied in one pass. A proxy forwards everything else unchanged (RFC 3261 16.6, 16.7).
//! Defines the position of an edit, and which of two overlapping edits counts.

use std::ops::Range;

use crate::{
    HeaderName, Message, Span, Stamp,
    list::{Elements, is_single_element},
    span::{locate, offset},
};

/// A list of edits for one message, in any order. Reusable: [`Rewrite::clear`] keeps the memory.
///
/// Overlapping edits:
/// - texts inserted at one position are written in the order in which they were added, before a replacement at that
///   position;
/// - of two replacements that start at the same position, the one added later counts;
/// - an edit that starts inside octets that another one replaces is ignored.
///
/// An edit that is not inside the message is ignored.
#[derive(Debug, Default)]
pub struct Rewrite {
    edits: Vec<Edit>,
    texts: Vec<u8>,
    removed: Vec<RemovedElements>,
}

#[derive(Clone, Debug)]
struct Edit {
    span: Span,
    text: Range<usize>,
    /// Sort key: by position; at one position insertions first, in order, then replacements, the latest first.
    key: u64,
}

/// How many elements of a list header were removed at each end.
#[derive(Clone, Copy, Debug)]
struct RemovedElements {
    name: HeaderName,
    first: usize,
    last: usize,
}

impl Rewrite {
    /// No edits yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes all edits and keeps the memory for the next message.
    pub fn clear(&mut self) {
        self.edits.clear();
        self.texts.clear();
        self.removed.clear();
    }

    /// Replaces `span` by what `text` appends.
    pub fn replace(&mut self, span: Span, text: impl FnOnce(&mut Vec<u8>)) {
        let start = self.texts.len();
        text(&mut self.texts);
        let order = offset(self.edits.len());
        let order = if span.is_empty() { order } else { u32::MAX - order };
        let key = u64::from(span.start) << 32 | u64::from(order);
        self.edits.push(Edit { span, text: start..self.texts.len(), key });
    }

    /// Inserts what `text` appends before the octet at `at`.
    pub fn insert(&mut self, at: u32, text: impl FnOnce(&mut Vec<u8>)) {
        self.replace(Span { start: at, end: at }, text);
    }

    /// Removes the octets of `span`.
    pub fn remove(&mut self, span: Span) {
        if !span.is_empty() {
            self.replace(span, |_| {});
        }
    }

    /// Removes the first element of a list header: the whole line if it is the only one there, else the element and its
    /// comma. The next call removes the next one. Does nothing if no element is left.
    pub fn remove_first(&mut self, message: &Message, name: HeaderName) {
        let removed = self.removed(name);
        let total = if removed.last == 0 { usize::MAX } else { message.values(name).count() };
        if removed.first.saturating_add(removed.last) >= total {
            return;
        }
        let mut before = 0;
        for line in message.lines_of(name) {
            let value = message.line_value(&line);
            let count = count_elements(value);
            if before + count > removed.first {
                let index = removed.first - before;
                // How many of this line's elements were already removed at its end.
                let removed_after = removed.last.saturating_sub(total.saturating_sub(before + count));
                self.remove(if index + 1 + removed_after >= count {
                    line.whole
                } else {
                    element_and_comma(message, value, index)
                });
                return self.record_removed(name, |removed| removed.first += 1);
            }
            before += count;
        }
    }

    /// Removes the last element of a list header, as [`Rewrite::remove_first`] the first.
    pub fn remove_last(&mut self, message: &Message, name: HeaderName) {
        let removed = self.removed(name);
        let total = message.values(name).count();
        if removed.first.saturating_add(removed.last) >= total {
            return;
        }
        let mut after = 0;
        for line in message.lines_of(name).rev() {
            let value = message.line_value(&line);
            let count = count_elements(value);
            if after + count > removed.last {
                let index = count - 1 - (removed.last - after);
                let removed_before = removed.first.saturating_sub(total.saturating_sub(after + count));
                self.remove(if removed_before >= index {
                    line.whole
                } else {
                    comma_and_element(message, value, index)
                });
                return self.record_removed(name, |removed| removed.last += 1);
            }
            after += count;
        }
    }

    /// Removes every line of `name`.
    pub fn remove_all(&mut self, message: &Message, name: HeaderName) {
        message.lines_of(name).for_each(|line| self.remove(line.whole));
        self.record_removed(name, |removed| removed.first = usize::MAX);
    }

    /// Inserts whole lines, each with its CRLF, before the first header line. Several texts are written in the order of
    /// calls.
    pub fn put_first(&mut self, message: &Message, text: impl FnOnce(&mut Vec<u8>)) {
        self.insert(message.first_header_at(), text);
    }

    /// Inserts whole lines, each with its CRLF, after the last header line.
    pub fn append(&mut self, message: &Message, text: impl FnOnce(&mut Vec<u8>)) {
        self.insert(message.blank_at(), text);
    }

    /// Writes the source of the request into the top Via: `received` replaces an existing one (RFC 3261 18.2.1), and an
    /// existing `rport` gets its value (RFC 3581 4). A Via that cannot be parsed is left unchanged.
    pub fn stamp_via(&mut self, message: &Message, stamp: Stamp) {
        let Some(via) = message.values(HeaderName::Via).next() else { return };
        let Some(span) = message.span_of(via) else { return };
        self.replace(span, |out| stamp.write(via, out));
    }

    /// Appends the message to `out` with all edits applied. The edits are kept, so that the message can be written
    /// again; `message` must be the one that they were added for.
    pub fn write(&mut self, message: &Message, out: &mut Vec<u8>) {
        self.edits.sort_unstable_by_key(|edit| edit.key);
        let bytes = message.bytes();
        out.reserve(bytes.len() + self.texts.len());
        let mut at = 0;
        for edit in &self.edits {
            let (start, end) = (edit.span.start as usize, edit.span.end as usize);
            let (Some(kept), true) = (bytes.get(at..start), start <= end && end <= bytes.len()) else { continue };
            out.extend_from_slice(kept);
            out.extend_from_slice(self.texts.get(edit.text.clone()).unwrap_or_default());
            at = end;
        }
        out.extend_from_slice(bytes.get(at..).unwrap_or_default());
    }

    fn removed(&self, name: HeaderName) -> RemovedElements {
        self.removed.iter().find(|removed| removed.name == name).copied().unwrap_or(RemovedElements {
            name,
            first: 0,
            last: 0,
        })
    }

    fn record_removed(&mut self, name: HeaderName, change: impl FnOnce(&mut RemovedElements)) {
        let mut removed = self.removed(name);
        change(&mut removed);
        match self.removed.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = removed,
            None => self.removed.push(removed),
        }
    }
}

fn count_elements(value: &[u8]) -> usize {
    if is_single_element(value) { 1 } else { Elements::new(value).count() }
}

/// The element at `index` and the comma after it, up to the next element.
fn element_and_comma(message: &Message, value: &[u8], index: usize) -> Span {
    let mut elements = Elements::new(value).skip(index).filter_map(|element| locate(message.bytes(), element));
    let (first, next) = (elements.next().unwrap_or_default(), elements.next());
    Span { start: first.start, end: next.map_or(first.end, |next| next.start) }
}

/// The element at `index` and the comma before it, from the end of the previous element.
fn comma_and_element(message: &Message, value: &[u8], index: usize) -> Span {
    let mut elements =
        Elements::new(value).skip(index.saturating_sub(1)).filter_map(|element| locate(message.bytes(), element));
    let (before, last) = (elements.next().unwrap_or_default(), elements.next().unwrap_or_default());
    Span { start: before.end, end: last.end }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(routes: &str) -> Message {
        Message::parse(Bytes::from(format!("ACK sip:a SIP/2.0\r\nA: 1\r\n{routes}B: 2\r\n\r\nbody"))).unwrap()
    }

    /// The header lines between A and B after `edit`.
    fn header_lines_after(routes: &str, edit: impl FnOnce(&mut Rewrite, &Message)) -> String {
        let message = message(routes);
        let mut rewrite = Rewrite::new();
        edit(&mut rewrite, &message);
        let mut out = Vec::new();
        rewrite.write(&message, &mut out);
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("ACK sip:a SIP/2.0\r\nA: 1\r\n").unwrap();
        text.strip_suffix("B: 2\r\n\r\nbody").unwrap().to_owned()
    }

    fn removed(routes: &str, first: usize, last: usize) -> String {
        header_lines_after(routes, |rewrite, message| {
            (0..first).for_each(|_| rewrite.remove_first(message, HeaderName::Route));
            (0..last).for_each(|_| rewrite.remove_last(message, HeaderName::Route));
        })
    }

    #[test]
    fn elements_are_removed_with_their_comma_and_lines_with_their_last_element() {
        let routes = "Route: <sip:1>,\r\n <sip:2>\r\nRoute: <sip:3>\r\n";
        assert_eq!(removed(routes, 0, 0), routes);
        assert_eq!(removed(routes, 1, 0), "Route: <sip:2>\r\nRoute: <sip:3>\r\n");
        assert_eq!(removed(routes, 2, 0), "Route: <sip:3>\r\n");
        assert_eq!(removed(routes, 3, 0), "");
        assert_eq!(removed(routes, 9, 9), "");
        assert_eq!(removed(routes, 0, 1), "Route: <sip:1>,\r\n <sip:2>\r\n");
        assert_eq!(removed(routes, 0, 2), "Route: <sip:1>\r\n");
        assert_eq!(removed(routes, 1, 1), "Route: <sip:2>\r\n");
        assert_eq!(removed(routes, 1, 2), "");
        assert_eq!(removed("Route: a, b, c\r\n", 1, 1), "Route: b\r\n");
        assert_eq!(removed("Route: a, b, c\r\n", 2, 1), "");
        assert_eq!(removed("Route: a, b, c\r\n", 1, 2), "");
        assert_eq!(removed("Route: a, , c\r\n", 1, 0), "Route: c\r\n");
    }

    #[test]
    fn all_lines_are_removed() {
        let edit = |rewrite: &mut Rewrite, message: &Message| {
            rewrite.remove_all(message, HeaderName::Route);
            rewrite.remove_first(message, HeaderName::Route);
        };
        assert_eq!(header_lines_after("Route: a, b\r\nRoute: c\r\n", edit), "");
    }

    #[test]
    fn insertions_keep_their_order_and_the_last_replacement_counts() {
        let message = message("");
        let mut rewrite = Rewrite::new();
        let mut out = Vec::new();
        for round in 0..2 {
            out.clear();
            rewrite.clear();
            rewrite.append(&message, |out| out.extend_from_slice(b"Y: 1\r\n"));
            rewrite.replace(message.request_uri_span(), |out| out.extend_from_slice(b"sip:no"));
            rewrite.put_first(&message, |out| out.extend_from_slice(b"X: 1\r\n"));
            rewrite.replace(message.request_uri_span(), |out| out.extend_from_slice(b"sip:yes"));
            rewrite.put_first(&message, |out| out.extend_from_slice(b"X: 2\r\n"));
            rewrite.append(&message, |out| out.extend_from_slice(b"Y: 2\r\n"));
            rewrite.write(&message, &mut out);
            let expected = "ACK sip:yes SIP/2.0\r\nX: 1\r\nX: 2\r\nA: 1\r\nB: 2\r\nY: 1\r\nY: 2\r\n\r\nbody";
            assert_eq!(String::from_utf8_lossy(&out), expected, "round {round}");
        }
    }

    #[test]
    fn edits_inside_others_or_outside_the_message_are_ignored() {
        let message = message("");
        let mut rewrite = Rewrite::new();
        rewrite.remove(Span { start: 4, end: 9 });
        rewrite.insert(6, |out| out.push(b'!'));
        rewrite.remove(Span { start: 8, end: 12 });
        rewrite.insert(9, |out| out.push(b'?'));
        rewrite.remove(Span { start: 9000, end: 9001 });
        rewrite.replace(Span { start: 20, end: 9001 }, |out| out.push(b'!'));
        let mut out = Vec::new();
        rewrite.write(&message, &mut out);
        assert!(out.starts_with(b"ACK ? SIP/2.0\r\nA: 1\r\n"), "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn the_top_via_is_stamped_in_place() {
        let message = message("Via: SIP/2.0/UDP a;rport, SIP/2.0/UDP b\r\n");
        let mut rewrite = Rewrite::new();
        let received = Some("192.0.2.1".parse().unwrap());
        rewrite.stamp_via(&message, Stamp { received, rport: Some(9), rport_at: None });
        let mut out = Vec::new();
        rewrite.write(&message, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Via: SIP/2.0/UDP a;rport=9;received=192.0.2.1, SIP/2.0/UDP b\r\n"), "{text}");
    }
}
