//! The octets of the datagrams that one worker has to send, and of the requests that it sent last: ICMP returns only
//! the first octets of a datagram, and its sender needs the whole request to be answered.
//!
//! Decides how long a request is found: until so many later octets were sent. Datagrams are written once, into a ring,
//! so that keeping them costs no copy. Must not decide what an ICMP message means.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;

/// The least size of the ring: it has to hold what waits to be sent.
const MIN_SIZE: usize = 512 << 10;

/// The most requests that are found.
const MAX_REQUESTS: usize = 4096;

/// A ring of octets. A position counts all octets that were ever stored.
#[derive(Debug)]
pub(super) struct SentDatagrams {
    octets: Box<[u8]>,
    end: u64,
    /// The requests that were sent, the oldest first.
    requests: VecDeque<SentRequest>,
}

/// A datagram in the ring.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Its position; later datagrams have a higher one.
    pub(super) position: u64,
    /// Where its octets are.
    pub(super) span: Range<usize>,
}

#[derive(Debug)]
struct SentRequest {
    to: SocketAddr,
    stored: Stored,
}

impl SentDatagrams {
    /// An empty ring of at least this size.
    pub(super) fn new(size: usize) -> Self {
        Self { octets: vec![0; size.max(MIN_SIZE)].into_boxed_slice(), end: 0, requests: VecDeque::new() }
    }

    /// Stores a datagram in place of the oldest ones. It must be shorter than the ring.
    pub(super) fn store(&mut self, datagram: &[u8]) -> Stored {
        let size = self.octets.len() as u64;
        let mut start = usize::try_from(self.end % size).unwrap_or_default();
        if start + datagram.len() > self.octets.len() {
            self.end += size - self.end % size;
            start = 0;
        }
        let (position, span) = (self.end, start..start + datagram.len());
        if let Some(room) = self.octets.get_mut(span.clone()) {
            room.copy_from_slice(datagram);
        }
        self.end += datagram.len() as u64;
        Stored { position, span }
    }

    /// The octets in a span.
    pub(super) fn octets(&self, span: Range<usize>) -> &[u8] {
        self.octets.get(span).unwrap_or_default()
    }

    /// The datagram is a request and was sent: it can be found from now on.
    pub(super) fn sent(&mut self, to: SocketAddr, stored: Stored) {
        if self.requests.len() >= MAX_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(SentRequest { to, stored });
    }

    /// Takes the last request to this address that begins with these octets, or that they begin with: datagrams that were
    /// sent together are quoted as one, if they did not leave this machine. The octets have to include its top Via: only
    /// somebody who has received the request knows the branch in it, so nobody else can make it fail.
    ///
    /// Where the Via ends is looked up once, and not in each request: anybody can send many ICMP messages that quote no Via.
    pub(super) fn take(&mut self, to: SocketAddr, quoted: &[u8]) -> Option<&[u8]> {
        end_of_top_via(quoted)?;
        let is_intact = |stored: &Stored| self.end - stored.position <= self.octets.len() as u64;
        let is_it = |request: &SentRequest| {
            let SentRequest { to: sent_to, stored } = request;
            (sent_to.ip(), sent_to.port()) == (to.ip(), to.port()) && is_intact(stored) && {
                let octets = self.octets(stored.span.clone());
                octets.starts_with(quoted) || quoted.starts_with(octets)
            }
        };
        let found = self.requests.iter().rposition(is_it)?;
        let request = self.requests.remove(found)?;
        Some(self.octets(request.stored.span))
    }
}

/// The end of the line with the top Via, which this server wrote.
fn end_of_top_via(request: &[u8]) -> Option<usize> {
    let find = |what: &[u8], from: usize| {
        let found = request.get(from..)?.windows(what.len()).position(|octets| octets == what)?;
        Some(from + found)
    };
    let start = find(b"\r\nVia: ", 0)?;
    find(b"\r\n", start + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: usize) -> Vec<u8> {
        let head = format!("INVITE sip:bob@x SIP/2.0\r\nRoute: <sip:y>\r\nVia: SIP/2.0/UDP z;branch={number}\r\nTo: ");
        [head.as_bytes(), &vec![b'x'; 900]].concat()
    }

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn a_request_is_found_by_its_first_octets_once() {
        let mut ring = SentDatagrams::new(0);
        for number in 1..=3 {
            let stored = ring.store(&request(number));
            ring.sent(to(5060), stored);
        }
        let quoted = &request(2)[..520];
        assert_eq!(ring.take(to(5061), quoted), None, "another address");
        assert_eq!(ring.take(to(5060), &request(2)[..68]), None, "without the whole Via");
        assert_eq!(ring.take(to(5060), b""), None);
        assert_eq!(ring.take(to(5060), &request(4)[..520]), None, "never sent");
        assert_eq!(ring.take(to(5060), quoted), Some(&request(2)[..]));
        assert_eq!(ring.take(to(5060), quoted), None, "again");
        assert_eq!(ring.take(to(5060), &request(1)), Some(&request(1)[..]), "the whole datagram");
    }

    #[test]
    fn the_oldest_are_overwritten_and_not_found() {
        let mut ring = SentDatagrams::new(0);
        let kept = MIN_SIZE / request(1000).len();
        for number in 1000..1000 + 2 * kept {
            let stored = ring.store(&request(number));
            assert_eq!(ring.octets(stored.span.clone()), request(number));
            ring.sent(to(5060), stored);
        }
        assert!(ring.take(to(5060), &request(1000 + kept - 1)).is_none());
        assert!(ring.take(to(5060), &request(1000 + kept + 1)).is_some());
        let stored = ring.store(&vec![0; 60_000]);
        assert_eq!(stored.span.len(), 60_000);
        for _ in 0..MAX_REQUESTS + 1 {
            ring.sent(to(1), stored.clone());
        }
        assert_eq!(ring.requests.len(), MAX_REQUESTS);
    }
}
