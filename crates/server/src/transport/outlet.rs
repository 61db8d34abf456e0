//! Datagrams on their way out. Those of one turn of a worker leave together: what goes to one peer and is equally long
//! leaves in one system call, and the system cuts it into datagrams (UDP_SEGMENT). A trunk, an edge proxy or another
//! server gets many in a turn; a phone gets one, which leaves as it is.
//!
//! Decides which datagrams share a call. Those to one peer leave in the order in which they came. Must not look into
//! them.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use bytes::Bytes;
use proxy::Hop;

use super::Udp;
use crate::metrics::{Series, Tally};

/// What an outlet holds before it must be emptied: datagrams, and bytes of them.
const MANY: usize = 256;
const LARGE: usize = 256 << 10;

/// Longer ones leave alone: what does not fit into a packet cannot be cut off (Ethernet's MTU, less IPv6 and UDP).
const SEGMENT: usize = 1452;

/// What one call takes (UDP's own limit over IPv4).
const RUN: usize = 65_507;

/// What one worker's UDP sockets have to send.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    text: Vec<u8>,
    waiting: Vec<Waiting>,
    run: Vec<u8>,
}

#[derive(Debug)]
struct Waiting {
    /// The same for all to one peer.
    mark: u64,
    to: SocketAddr,
    /// The address that it says it comes from.
    from: IpAddr,
    /// The index of its socket.
    socket: usize,
    span: Range<usize>,
    /// Whether its text is wanted back if it cannot be sent.
    concerns: bool,
}

impl Outlet {
    /// One more, for the socket at this index.
    pub(super) fn push(&mut self, socket: usize, hop: &Hop, text: &[u8], concerns: bool) {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        let (to, from, span) = (hop.remote, hop.local.ip(), start..self.text.len());
        self.waiting.push(Waiting { mark: mark(to), to, from, socket, span, concerns });
    }

    /// Whether it must be flushed before it is given more.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= MANY || self.text.len() >= LARGE
    }

    /// Sends all. What could not be sent and is wanted back is appended to `failed`.
    pub(super) fn flush(&mut self, sockets: &[Udp], failed: &mut Vec<Bytes>, tally: &mut Tally) {
        let Self { text, waiting, run } = self;
        waiting.sort_unstable_by_key(|one| (one.mark, one.span.start));
        let mut rest = waiting.as_slice();
        while let [first, ..] = rest {
            let Some(socket) = sockets.get(first.socket) else { break };
            let (together, others) = rest.split_at(length_of_run(rest, socket.most_segments()));
            rest = others;
            let run = (together.len() > 1).then(|| join(together, text, run));
            if run.is_some_and(|run| socket.send_run(first.to, first.from, run, first.span.len()).is_ok()) {
                continue;
            }
            for one in together {
                let text = text.get(one.span.clone()).unwrap_or_default();
                if let Err(loss) = socket.send(one.to, one.from, text) {
                    tally.count(Series::Lost(loss));
                    failed.extend(one.concerns.then(|| Bytes::copy_from_slice(text)));
                }
            }
        }
        waiting.clear();
        text.clear();
    }
}

/// A number to sort by: peers that share one only share fewer calls.
fn mark(peer: SocketAddr) -> u64 {
    let ip = match peer.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() ^ (ip.to_bits() >> 64)) as u64,
    };
    (ip << 16) ^ u64::from(peer.port())
}

/// How many of the first ones leave in one call, at least 1: to one peer, equally long, but the last may be shorter.
fn length_of_run(waiting: &[Waiting], most: usize) -> usize {
    let Some(first) = waiting.first() else { return 0 };
    let segment = first.span.len();
    if !(1..=SEGMENT).contains(&segment) {
        return 1;
    }
    let same_way = |one: &&Waiting| (one.socket, one.to, one.from) == (first.socket, first.to, first.from);
    let mut same_way = waiting.iter().take(most.min(RUN / segment).max(1)).take_while(same_way);
    let alike = same_way.clone().take_while(|one| one.span.len() == segment).count();
    let has_short_end = same_way.nth(alike).is_some_and(|one| (1..segment).contains(&one.span.len()));
    alike + usize::from(has_short_end)
}

/// Their text in one piece: often it is one already.
fn join<'t>(together: &[Waiting], text: &'t [u8], run: &'t mut Vec<u8>) -> &'t [u8] {
    let follows = |pair: &[Waiting]| matches!(pair, [one, next] if one.span.end == next.span.start);
    if let [first, .., last] = together
        && together.windows(2).all(follows)
    {
        return text.get(first.span.start..last.span.end).unwrap_or_default();
    }
    run.clear();
    together.iter().for_each(|one| run.extend_from_slice(text.get(one.span.clone()).unwrap_or_default()));
    run
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use parser::Transport;

    use super::*;
    use crate::transport::udp::tests::udp;

    fn hop(remote: SocketAddr, local: SocketAddr) -> Hop {
        Hop { transport: Transport::Udp, remote, local, connection: 0 }
    }

    fn waiting(port: u16, lengths: &[usize]) -> Vec<Waiting> {
        let mut outlet = Outlet::default();
        let (peer, own) = (SocketAddr::from(([192, 0, 2, 1], port)), SocketAddr::from(([192, 0, 2, 9], 5060)));
        lengths.iter().for_each(|length| outlet.push(0, &hop(peer, own), &vec![b'x'; *length], false));
        outlet.waiting
    }

    #[test]
    fn what_shares_a_call() {
        let run = |lengths: &[usize], most| length_of_run(&waiting(1, lengths), most);
        assert_eq!(run(&[300], 64), 1);
        assert_eq!(run(&[300, 300, 300], 64), 3);
        assert_eq!(run(&[300, 300, 300], 2), 2);
        assert_eq!(run(&[300, 300], 1), 1, "the system has refused");
        assert_eq!(run(&[300, 300, 299, 300], 64), 3, "a shorter one ends it");
        assert_eq!(run(&[300, 301], 64), 1);
        assert_eq!(run(&[300, 0], 64), 1);
        assert_eq!(run(&[0, 0], 64), 1);
        assert_eq!(run(&[1453, 1453], 64), 1);
        assert_eq!(run(&[1400; 100], 64), 46, "no longer than a datagram");
        let two_peers = [waiting(1, &[300]), waiting(2, &[300])].into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(length_of_run(&two_peers, 64), 1);
    }

    #[tokio::test]
    async fn everything_arrives_in_order() {
        for own in ["127.0.0.1:0", "0.0.0.0:0"] {
            let socket = udp(own);
            let local = SocketAddr::from(([127, 0, 0, 1], socket.socket().local_addr().expect("bound").port()));
            let peers = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a peer"));
            let remote = |peer: usize| peers[peer].local_addr().expect("an address");
            let mut outlet = Outlet::default();
            // The long ones need fragments or, over loopback, none; the others go in runs of several lengths.
            let length = |at: usize| if at % 10 == 9 { 9000 } else { 400 + at / 4 % 2 };
            let text = |at: usize| [at.to_string().as_bytes(), &vec![b'x'; length(at)]].concat();
            for at in 0..120 {
                outlet.push(0, &hop(remote(at % 3), local), &text(at), false);
            }
            let sockets = [socket];
            outlet.flush(&sockets, &mut Vec::new(), &mut Tally::default());
            for at in 0..120 {
                let mut buffer = [0; 10_000];
                let (length, from) = peers[at % 3].recv_from(&mut buffer).expect("a datagram");
                assert!(buffer[..length] == text(at) && from == local, "{own} {at}");
            }
            assert!(outlet.waiting.is_empty() && outlet.text.is_empty());
        }
    }

    #[tokio::test]
    async fn what_cannot_be_sent_comes_back() {
        // checklist 115
        let sockets = [udp("127.0.0.1:0")];
        let local = sockets[0].socket().local_addr().expect("bound");
        let peer = UdpSocket::bind("127.0.0.1:0").expect("a peer");
        let (there, nowhere) = (peer.local_addr().expect("an address"), SocketAddr::from(([255; 4], 5060)));
        let (mut outlet, mut failed, mut tally) = (Outlet::default(), Vec::new(), Tally::default());
        for (text, concerns) in [(b"one", true), (b"two", false), (b"six", true)] {
            outlet.push(0, &hop(nowhere, local), text, concerns);
        }
        outlet.push(0, &hop(there, local), b"arrives", true);
        outlet.flush(&sockets, &mut failed, &mut tally);
        assert_eq!(failed, [&b"one"[..], b"six"]);
        let mut buffer = [0; 16];
        assert_eq!(peer.recv(&mut buffer).ok(), Some(7));
    }
}
