//! The send queue of a worker's UDP sockets. Datagrams of one batch to the same peer with equal length are sent in
//! one system call, and the kernel splits them (UDP_SEGMENT). This helps towards trunks, edge proxies and other
//! servers; a phone usually gets a single datagram, which is sent directly.
//!
//! Decides which datagrams share a call. Datagrams to one peer stay in order. Must not look into them.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use proxy::Hop;

use super::Udp;
use super::sent::{SentDatagrams, Stored};
use crate::metrics::Tally;

/// Limits of the queue: datagrams, and their bytes.
const MAX_DATAGRAMS: usize = 256;
const MAX_BYTES: usize = 256 << 10;

/// Longest datagram that shares a call: each segment has to fit into a packet (Ethernet's MTU minus IPv6 and UDP
/// headers).
const MAX_SEGMENT: usize = 1452;

/// Limit of bytes per call (the longest UDP payload over IPv4).
const MAX_RUN: usize = 65_507;

/// Datagrams that one worker has to send.
#[derive(Debug)]
pub(crate) struct UdpSendQueue {
    datagrams: SentDatagrams,
    /// The octets of the datagrams in the queue.
    waiting: usize,
    queued: Vec<QueuedDatagram>,
    run: Vec<u8>,
}

#[derive(Debug)]
struct QueuedDatagram {
    /// Equal for all datagrams to one peer.
    sort_key: u64,
    to: SocketAddr,
    /// The source address.
    from: IpAddr,
    /// Index of the socket.
    socket: usize,
    stored: Stored,
    /// Whether the message is returned if it cannot be sent.
    report_failure: bool,
}

impl UdpSendQueue {
    /// An empty queue. `memory`: for the datagrams that wait or were sent last.
    pub(crate) fn new(memory: usize) -> Self {
        Self { datagrams: SentDatagrams::new(memory), waiting: 0, queued: Vec::new(), run: Vec::new() }
    }

    /// Queues a datagram for the socket at this index. False if it is too long for UDP.
    pub(crate) fn push(&mut self, socket: usize, hop: &Hop, bytes: &[u8], report_failure: bool) -> bool {
        if bytes.len() > MAX_RUN {
            return false;
        }
        let stored = self.datagrams.store(bytes);
        self.waiting += bytes.len();
        let (to, from) = (hop.remote, hop.local.ip());
        self.queued.push(QueuedDatagram { sort_key: sort_key(to), to, from, socket, stored, report_failure });
        true
    }

    /// Whether the queue has to be flushed before anything is added.
    pub(crate) const fn is_full(&self) -> bool {
        self.queued.len() >= MAX_DATAGRAMS || self.waiting >= MAX_BYTES
    }

    /// Sends all datagrams. Undelivered ones to report are appended to `failed`.
    pub(crate) fn flush(&mut self, sockets: &[Udp], failed: &mut Vec<Bytes>, tally: &mut Tally) {
        let Self { datagrams, queued, run, waiting } = self;
        queued.sort_unstable_by_key(|datagram| (datagram.sort_key, datagram.stored.position));
        let mut rest = queued.as_slice();
        while let [first, ..] = rest {
            let Some(socket) = sockets.get(first.socket) else { break };
            let (run_datagrams, others) = rest.split_at(length_of_run(rest, socket.max_segments()));
            rest = others;
            let run = (run_datagrams.len() > 1).then(|| join(run_datagrams, datagrams, run));
            if run.is_some_and(|run| socket.send_run(first.to, first.from, run, first.len()).is_ok()) {
                continue;
            }
            for datagram in run_datagrams {
                let bytes = datagrams.octets(datagram.stored.span.clone());
                if let Err(loss) = socket.send(datagram.to, datagram.from, bytes) {
                    tally.count(loss);
                    failed.extend(datagram.report_failure.then(|| Bytes::copy_from_slice(bytes)));
                }
            }
        }
        for QueuedDatagram { to, stored, report_failure, .. } in queued.drain(..) {
            if report_failure {
                datagrams.sent(to, stored);
            }
        }
        *waiting = 0;
    }

    /// Takes the requests that were sent to this address and that begin with these octets, which an ICMP message returned:
    /// more than one, if they were sent together.
    pub(crate) fn take_sent(&mut self, to: SocketAddr, mut quoted: &[u8]) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while let Some(request) = self.datagrams.take(to, quoted) {
            quoted = quoted.get(request.len()..).unwrap_or_default();
            taken.push(Bytes::copy_from_slice(request));
        }
        taken
    }
}

impl QueuedDatagram {
    const fn len(&self) -> usize {
        self.stored.span.end - self.stored.span.start
    }
}

/// Sort key of a peer. A collision only costs system calls.
fn sort_key(peer: SocketAddr) -> u64 {
    let ip = match peer.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() ^ (ip.to_bits() >> 64)) as u64,
    };
    (ip << 16) ^ u64::from(peer.port())
}

/// How many of the first datagrams share a call, at least 1: same peer and length, except that the last may be
/// shorter.
fn length_of_run(queued: &[QueuedDatagram], max: usize) -> usize {
    let Some(first) = queued.first() else { return 0 };
    let segment = first.len();
    if !(1..=MAX_SEGMENT).contains(&segment) {
        return 1;
    }
    let same_path = |datagram: &&QueuedDatagram| {
        (datagram.socket, datagram.to, datagram.from) == (first.socket, first.to, first.from)
    };
    let mut same_path = queued.iter().take(max.min(MAX_RUN / segment).max(1)).take_while(same_path);
    let equal_count = same_path.clone().take_while(|datagram| datagram.len() == segment).count();
    let has_short_end = same_path.nth(equal_count).is_some_and(|datagram| (1..segment).contains(&datagram.len()));
    equal_count + usize::from(has_short_end)
}

/// Their bytes in one slice, without a copy if they are adjacent.
fn join<'t>(run_datagrams: &[QueuedDatagram], datagrams: &'t SentDatagrams, run: &'t mut Vec<u8>) -> &'t [u8] {
    let follows = |pair: &[QueuedDatagram]| matches!(pair, [datagram, next] if datagram.stored.span.end == next.stored.span.start);
    if let [first, .., last] = run_datagrams
        && run_datagrams.windows(2).all(follows)
    {
        return datagrams.octets(first.stored.span.start..last.stored.span.end);
    }
    run.clear();
    for datagram in run_datagrams {
        run.extend_from_slice(datagrams.octets(datagram.stored.span.clone()));
    }
    run
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use parser::Transport;

    use super::super::socket::tests::udp;
    use super::*;

    fn hop(remote: SocketAddr, local: SocketAddr) -> Hop {
        Hop::to_address(Transport::Udp, remote, local)
    }

    fn queued(port: u16, lengths: &[usize]) -> Vec<QueuedDatagram> {
        let mut udp_send_queue = UdpSendQueue::new(0);
        let (peer, own) = (SocketAddr::from(([192, 0, 2, 1], port)), SocketAddr::from(([192, 0, 2, 9], 5060)));
        lengths.iter().for_each(|length| assert!(udp_send_queue.push(0, &hop(peer, own), &vec![b'x'; *length], false)));
        udp_send_queue.queued
    }

    #[test]
    fn datagrams_of_equal_length_share_a_call() {
        let run = |lengths: &[usize], max| length_of_run(&queued(1, lengths), max);
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
        let two_peers = [queued(1, &[300]), queued(2, &[300])].into_iter().flatten().collect::<Vec<_>>();
        assert_eq!(length_of_run(&two_peers, 64), 1);
    }

    #[tokio::test]
    async fn all_bytes_arrive_in_order() {
        for own in ["127.0.0.1:0", "0.0.0.0:0"] {
            let socket = udp(own);
            let local = SocketAddr::from(([127, 0, 0, 1], socket.socket().local_addr().expect("bound").port()));
            let peers = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a peer"));
            let remote = |peer: usize| peers[peer].local_addr().expect("an address");
            let mut udp_send_queue = UdpSendQueue::new(0);
            // Some exceed the MTU; the others form runs of several lengths.
            let length = |at: usize| if at % 10 == 9 { 9000 } else { 400 + at / 4 % 2 };
            let bytes = |at: usize| [at.to_string().as_bytes(), &vec![b'x'; length(at)]].concat();
            for at in 0..120 {
                assert!(udp_send_queue.push(0, &hop(remote(at % 3), local), &bytes(at), false));
            }
            let sockets = [socket];
            udp_send_queue.flush(&sockets, &mut Vec::new(), &mut Tally::default());
            for at in 0..120 {
                let mut buffer = [0; 10_000];
                let (length, from) = peers[at % 3].recv_from(&mut buffer).expect("a datagram");
                assert!(buffer[..length] == bytes(at) && from == local, "{own} {at}");
            }
            assert!(udp_send_queue.queued.is_empty() && udp_send_queue.waiting == 0);
        }
    }

    #[tokio::test]
    async fn undelivered_messages_are_returned() {
        // checklist 115
        let sockets = [udp("127.0.0.1:0")];
        let local = sockets[0].socket().local_addr().expect("bound");
        let peer = UdpSocket::bind("127.0.0.1:0").expect("a peer");
        let (there, nowhere) = (peer.local_addr().expect("an address"), SocketAddr::from(([255; 4], 5060)));
        let (mut udp_send_queue, mut failed, mut tally) = (UdpSendQueue::new(0), Vec::new(), Tally::default());
        for (bytes, report_failure) in [(b"one", true), (b"two", false), (b"six", true)] {
            assert!(udp_send_queue.push(0, &hop(nowhere, local), bytes, report_failure));
        }
        assert!(udp_send_queue.push(0, &hop(there, local), b"arrives", true));
        udp_send_queue.flush(&sockets, &mut failed, &mut tally);
        assert_eq!(failed, [&b"one"[..], b"six"]);
        let mut buffer = [0; 16];
        assert_eq!(peer.recv(&mut buffer).ok(), Some(7));
    }

    #[tokio::test]
    async fn requests_that_were_sent_together_are_found_together() {
        let sockets = [udp("127.0.0.1:0")];
        let local = sockets[0].socket().local_addr().expect("bound");
        let request = |number: u32| format!("OPTIONS sip:a SIP/2.0\r\nVia: x;branch={number}\r\n\r\n").into_bytes();
        let (mut udp_send_queue, mut failed) = (UdpSendQueue::new(0), Vec::new());
        for number in 1..=3 {
            assert!(udp_send_queue.push(0, &hop(local, local), &request(number), true));
        }
        udp_send_queue.flush(&sockets, &mut failed, &mut Tally::default());
        let quoted = [request(1), request(2), request(3)[..30].to_vec()].concat();
        assert_eq!(udp_send_queue.take_sent(local, &quoted), [request(1), request(2)]);
        assert!(udp_send_queue.take_sent(local, &quoted).is_empty());
    }
}
