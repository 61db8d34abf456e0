//! UDP (RFC 3261 18): receives datagrams in batches, sends from the address that the peer expects.
//!
//! Decides which datagrams are messages, and which socket sends. Must not parse.
//!
//! quinn-udp receives several datagrams per system call, each with its destination address, and sends several
//! datagrams of equal length in one call. Its socket options are not applied to our sockets: they forbid
//! fragmentation, but SIP messages may exceed the path MTU (RFC 3261 18.1.1 requires up to 65,535 bytes), and they
//! request timestamps and ECN bits.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use location::{Flow, FlowId};
use parser::Transport;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{icmp, stun};
use crate::defence::BanList;
use crate::metrics::{DriverLimit, Loss, Series, Tally};
use crate::transport::arena::Arena;

/// Size of one receive buffer: the longest datagram, or several coalesced ones (UDP_GRO).
const BUFFER: usize = 1 << 16;

/// Receive calls per socket and batch of the worker. More calls make longer runs of datagrams to send.
const BATCHES: usize = 4;

/// How often a datagram is sent again because ICMP messages about others came.
const ICMP_RETRIES: usize = 3;

/// One listening address of one worker.
pub(crate) struct Udp {
    socket: Arc<UdpSocket>,
    system: UdpSocketState,
    local: SocketAddr,
}

/// A message that has arrived.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// The message.
    pub(crate) bytes: Bytes,
    /// Its addresses.
    pub(crate) flow: Flow,
}

/// Receive buffers of one worker, shared by its sockets.
pub(crate) struct UdpReceiver {
    buffers: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
    arena: Arena,
    max_message: usize,
}

impl Udp {
    /// Registers the socket with the event loop of this thread.
    pub(crate) fn new(socket: std::net::UdpSocket, local: SocketAddr) -> io::Result<Self> {
        // `UdpSocketState` detects kernel features and sets options on its socket: a temporary one.
        let system = UdpSocketState::new((&std::net::UdpSocket::bind(SocketAddr::new(local.ip(), 0))?).into())?;
        Ok(Self { socket: Arc::new(UdpSocket::from_std(socket)?), system, local })
    }

    /// The socket to wait on.
    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// The same socket, for the task that reads its ICMP messages.
    pub(crate) const fn shared(&self) -> &Arc<UdpSocket> {
        &self.socket
    }

    /// Its port.
    pub(crate) const fn port(&self) -> u16 {
        self.local.port()
    }

    /// How well this socket fits a message with the source address `local`; `None`: not at all.
    pub(crate) fn match_score(&self, local: SocketAddr) -> Option<u8> {
        let same_port = self.local.port() == local.port();
        match (self.local.ip() == local.ip(), self.local.ip().is_unspecified()) {
            _ if self.local.is_ipv4() != local.is_ipv4() => None,
            (true, _) if same_port => Some(3),
            (_, true) if same_port => Some(2),
            (_, true) => Some(1),
            _ => Some(0),
        }
    }

    /// Sends a message to `to`. `from` is the source address if the socket is bound to all addresses.
    pub(super) fn send(&self, to: SocketAddr, from: IpAddr, bytes: &[u8]) -> Result<(), Loss> {
        let mut result = self.send_once(to, from, bytes);
        for _ in 0..ICMP_RETRIES {
            if !result.as_ref().is_err_and(icmp::is_about_another_datagram) {
                break;
            }
            result = self.send_once(to, from, bytes);
        }
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Loss::SendBuffer,
            _ => {
                tracing::debug!(%error, remote = %to, "cannot send");
                Loss::Unsendable
            }
        })
    }

    fn send_once(&self, to: SocketAddr, from: IpAddr, bytes: &[u8]) -> io::Result<()> {
        match self.local.ip().is_unspecified() {
            true => self.transmit(to, from, bytes, None),
            // Not by libc, whose function is a cancellation point: two atomic operations for each datagram.
            false => Ok(rustix::net::sendto(&*self.socket, bytes, SendFlags::empty(), &to).map(drop)?),
        }
    }

    /// Sends several messages in one call: `bytes` is split after every `segment` bytes. Either all are sent or none.
    pub(super) fn send_run(&self, to: SocketAddr, from: IpAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
        self.transmit(to, from, bytes, Some(segment))
    }

    /// Limit of messages per call; 1 if the kernel has refused more.
    pub(super) fn max_segments(&self) -> usize {
        self.system.max_gso_segments()
    }

    fn transmit(&self, to: SocketAddr, from: IpAddr, contents: &[u8], segment_size: Option<usize>) -> io::Result<()> {
        let wildcard = self.local.ip().is_unspecified();
        let src_ip = Some(from).filter(|ip| wildcard && !ip.is_unspecified());
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip };
        self.system.try_send((&*self.socket).into(), &transmit)
    }
}

impl UdpReceiver {
    /// Buffers for messages up to `max_message` bytes.
    pub(crate) fn new(max_message: usize) -> Self {
        Self {
            buffers: vec![0; BUFFER * BATCH_SIZE].into_boxed_slice(),
            metas: [RecvMeta::default(); BATCH_SIZE],
            arena: Arena::default(),
            max_message,
        }
    }

    /// Appends the waiting datagrams, up to a limit; returns whether there may be more. Datagrams of banned addresses
    /// are dropped unread.
    pub(crate) fn receive(
        &mut self,
        socket: &Udp,
        banned: &BanList,
        datagrams: &mut Vec<Datagram>,
        tally: &mut Tally,
    ) -> bool {
        (0..BATCHES).all(|_| self.receive_batch(socket, banned, datagrams, tally))
    }

    fn receive_batch(
        &mut self,
        socket: &Udp,
        banned: &BanList,
        datagrams: &mut Vec<Datagram>,
        tally: &mut Tally,
    ) -> bool {
        let mut buffers = self.buffers.chunks_exact_mut(BUFFER);
        let mut slices: [_; BATCH_SIZE] = std::array::from_fn(|_| IoSliceMut::new(buffers.next().unwrap_or_default()));
        let mut received = 0;
        let outcome = socket.socket.try_io(Interest::READABLE, || {
            received = socket.system.recv((&*socket.socket).into(), &mut slices, &mut self.metas)?;
            // A short batch has emptied the socket: `WouldBlock` clears the readiness and saves a call that would
            // return nothing.
            if received < BATCH_SIZE { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        for (meta, buffer) in self.metas.iter().zip(self.buffers.chunks_exact(BUFFER)).take(received) {
            let flow = Flow {
                transport: Transport::Udp,
                remote: meta.addr,
                local: SocketAddr::new(meta.dst_ip.unwrap_or_else(|| socket.local.ip()), socket.local.port()),
                id: FlowId::None,
            };
            if banned.is_banned(meta.addr.ip()) {
                tally.count(Series::Banned { transport: Transport::Udp });
                continue;
            }
            let octets = buffer.get(..meta.len).unwrap_or_default();
            for octets in octets.chunks(meta.stride.max(1)) {
                if let Some(series) = classify(octets, flow.local.ip(), self.max_message) {
                    tally.count(series);
                } else if let Some(answer) = stun::answer(octets, flow.remote) {
                    tally.count(Series::KeepAlive { transport: Transport::Udp });
                    // A lost response is requested again.
                    let _ = socket.send(flow.remote, flow.local.ip(), &answer);
                } else {
                    datagrams.push(Datagram { bytes: self.arena.copy(octets).freeze(), flow });
                }
            }
        }
        // The error of an earlier datagram says nothing about what has arrived.
        outcome.is_ok() || outcome.is_err_and(|error| icmp::is_about_another_datagram(&error))
    }
}

/// The series of a datagram that is not a message; `None` if it may be one.
fn classify(octets: &[u8], local: IpAddr, max_message: usize) -> Option<Series> {
    // RFC 5626 3.5.2 and common practice: phones keep NAT mappings alive with blank lines or a zero octet.
    if octets.iter().all(|octet| matches!(octet, b'\r' | b'\n' | 0 | b' ')) {
        return Some(Series::KeepAlive { transport: Transport::Udp });
    }
    let broadcast = match local {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.is_multicast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    };
    if broadcast {
        return Some(Loss::Broadcast.into());
    }
    (octets.len() > max_message).then_some(DriverLimit::MessageSize.into())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Config, Listen};
    use crate::defence::{Defence, Failure};
    use crate::transport::bind::{self, WorkerSocket};
    use location::{AnyStore, MemoryStore};

    pub(in crate::transport) fn udp(address: &str) -> Udp {
        let listen = Listen { transport: Transport::Udp, address: address.parse().expect("an address") };
        let mut bound = bind::bind(&listen, 1).expect("a free port");
        let Some(WorkerSocket::Udp(socket)) = bound.sockets.pop() else { panic!("UDP") };
        Udp::new(socket, bound.listener.address).expect("a socket")
    }

    #[tokio::test]
    async fn datagrams_of_a_banned_address_are_dropped() {
        let (socket, mut config) = (udp("127.0.0.1:0"), Config::default());
        config.defence.failures.0 = 1;
        let defence = Defence::new(&config, Arc::new(AnyStore::Memory(MemoryStore::new())));
        let [good, bad] = ["127.0.0.21:0", "127.0.0.22:0"].map(|at| std::net::UdpSocket::bind(at).expect("a phone"));
        defence.record_failure(bad.local_addr().expect("an address").ip(), Failure::Unreadable);
        let mut banned = BanList::default();
        banned.update(&defence);
        for phone in [&bad, &good] {
            phone.send_to(b"\0\x01\0\0\x21\x12\xA4\x42transaction!", socket.local).expect("sent");
            phone.send_to(b"OPTIONS", socket.local).expect("sent");
        }
        let (mut udp_receiver, mut datagrams) = (UdpReceiver::new(1 << 16), Vec::new());
        while datagrams.is_empty() {
            socket.socket().readable().await.expect("readable");
            udp_receiver.receive(&socket, &banned, &mut datagrams, &mut Tally::default());
        }
        let from: Vec<_> = datagrams.iter().map(|datagram| Some(datagram.flow.remote)).collect();
        assert_eq!(from, [good.local_addr().ok()]);
        bad.set_nonblocking(true).expect("a phone");
        assert!(bad.recv_from(&mut [0; 64]).is_err(), "not even STUN is answered");
    }

    #[tokio::test]
    async fn a_batch_has_its_addresses() {
        let socket = udp("0.0.0.0:0");
        let phone = std::net::UdpSocket::bind("127.0.0.1:0").expect("a phone");
        let to = SocketAddr::from(([127, 7, 7, 7], socket.local.port()));
        let long = vec![b'x'; 40_000];
        for octets in [&b"OPTIONS"[..], b"\r\n\r\n", &long] {
            phone.send_to(octets, to).expect("sent");
        }
        let (mut udp_receiver, mut datagrams) = (UdpReceiver::new(1 << 16), Vec::new());
        while datagrams.len() < 2 {
            socket.socket().readable().await.expect("readable");
            udp_receiver.receive(&socket, &BanList::default(), &mut datagrams, &mut Tally::default());
        }
        let lengths: Vec<_> = datagrams.iter().map(|datagram| datagram.bytes.len()).collect();
        assert_eq!(lengths, [7, 40_000]);
        let flow = datagrams[0].flow;
        assert_eq!((flow.local, Some(flow.remote)), (to, phone.local_addr().ok()));

        // The response is sent from the address that was addressed.
        socket.send(phone.local_addr().expect("an address"), flow.local.ip(), b"answer").expect("sent");
        let mut buffer = [0; 16];
        let (length, from) = phone.recv_from(&mut buffer).expect("an answer");
        assert_eq!((&buffer[..length], from), (&b"answer"[..], to));
    }

    #[tokio::test]
    async fn a_stun_request_is_answered() {
        let socket = udp("0.0.0.0:0");
        let phone = std::net::UdpSocket::bind("127.0.0.1:0").expect("a phone");
        let to = SocketAddr::from(([127, 7, 7, 7], socket.local.port()));
        phone.send_to(b"\0\x01\0\0\x21\x12\xA4\x42transaction!", to).expect("sent");
        let (mut udp_receiver, mut datagrams) = (UdpReceiver::new(1 << 16), Vec::new());
        socket.socket().readable().await.expect("readable");
        udp_receiver.receive(&socket, &BanList::default(), &mut datagrams, &mut Tally::default());
        let mut buffer = [0; 64];
        let (length, from) = phone.recv_from(&mut buffer).expect("an answer");
        assert_eq!((length, from, &buffer[..2]), (32, to, &b"\x01\x01"[..]));
        assert!(datagrams.is_empty(), "STUN never reaches the core");
    }

    #[test]
    fn datagrams_that_are_not_messages_are_counted() {
        let local = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(classify(b"", local, 100), Some(Series::KeepAlive { transport: Transport::Udp }));
        assert_eq!(classify(b"\0", local, 100), Some(Series::KeepAlive { transport: Transport::Udp }));
        assert_eq!(classify(b"x", IpAddr::from([255; 4]), 100), Some(Loss::Broadcast.into()));
        assert_eq!(classify(&[b'x'; 101], local, 100), Some(DriverLimit::MessageSize.into()));
        assert_eq!(classify(&[b'x'; 100], local, 100), None);
    }

    #[tokio::test]
    async fn the_socket_with_the_source_address_sends() {
        let (own, wild) = (udp("127.0.0.5:0"), udp("0.0.0.0:0"));
        assert_eq!(own.match_score(own.local), Some(3));
        assert_eq!(wild.match_score(SocketAddr::new(own.local.ip(), wild.local.port())), Some(2));
        assert_eq!(own.match_score("[::1]:5060".parse().expect("an address")), None);
    }
}
