//! ICMP messages about datagrams that were sent (RFC 3261 18.4), from the error queue of a socket.
//!
//! Decides which of them mean that a request did not arrive. The kernel checks only that the packet in an ICMP message
//! has the addresses and the port of the socket, so anybody can forge one: `sent` finds the request that it is about.
//! Runs in a task of its own, so that the worker does nothing as long as there are none.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::errno::Errno;
use nix::libc::{in_pktinfo, in6_pktinfo, sock_extended_err, sockaddr_in6};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::metrics::{self, Loss};
use crate::transport::Inbound;

/// The octets of a datagram that are read: an ICMPv6 message has at most 1280 (RFC 4443 2.4).
const MAX_QUOTED: usize = 1280;

/// ICMP messages that are passed on in each interval; an attacker may send any number of them. The rest is only read.
const MAX_REPORTS: u32 = 64;
const INTERVAL: Duration = Duration::from_millis(10);

/// A datagram that did not arrive.
#[derive(Debug, PartialEq, Eq)]
struct Unreached {
    to: SocketAddr,
    /// Its first octets.
    quoted: Bytes,
}

/// Reads the error queue of a socket until the worker ends.
pub(crate) async fn report_icmp(socket: Arc<UdpSocket>, inbox: mpsc::Sender<Inbound>) {
    let mut control = nix::cmsg_space!(sock_extended_err, sockaddr_in6, in_pktinfo, in6_pktinfo);
    let (mut interval_began, mut reports) = (Instant::now(), 0);
    while socket.ready(Interest::ERROR).await.is_ok() {
        for _ in 0..MAX_REPORTS {
            let read = socket.try_io(Interest::ERROR, || read_error(&socket, &mut control));
            let unreached = match read {
                Ok(Some(unreached)) => unreached,
                Ok(None) => continue,
                Err(_) => break,
            };
            if interval_began.elapsed() > INTERVAL {
                (interval_began, reports) = (Instant::now(), 0);
            }
            reports += 1;
            let Unreached { to, quoted } = unreached;
            let inbound = Inbound::Unreached { to, quoted, is_shared: false };
            if reports > MAX_REPORTS || inbox.try_send(inbound).is_err() {
                metrics::count(Loss::Icmp);
            }
        }
        // An attacker that sends ICMP messages must not keep the worker from its phones.
        tokio::task::yield_now().await;
    }
}

/// Takes one message from the error queue; `None` if it does not say that a datagram did not arrive.
fn read_error(socket: &UdpSocket, control: &mut [u8]) -> io::Result<Option<Unreached>> {
    let mut quoted = [0; MAX_QUOTED];
    let mut slices = [IoSliceMut::new(&mut quoted)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(control), flags)?;
    // Of an ICMP message this is the address that the datagram was sent to.
    let to = message.address.as_ref().and_then(address);
    let is_unreached = message.cmsgs().map_err(io::Error::from)?.any(|control| match control {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            means_unreached(&error)
        }
        _ => false,
    });
    let length = message.bytes;
    let quoted = quoted.get(..length).unwrap_or_default();
    Ok(to.filter(|_| is_unreached).map(|to| Unreached { to, quoted: Bytes::copy_from_slice(quoted) }))
}

/// RFC 3261 18.4: unreachable, or a problem of a parameter. Not: time exceeded, source quench, or a packet that is too
/// big, which the kernel handles.
fn means_unreached(error: &sock_extended_err) -> bool {
    use nix::libc::{SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6};
    match (error.ee_origin, error.ee_type, error.ee_code) {
        // RFC 792: 3 is destination unreachable, with code 4 fragmentation needed; 12 is parameter problem.
        (SO_EE_ORIGIN_ICMP, 3, code) => code != 4,
        (SO_EE_ORIGIN_ICMP, 12, _) => true,
        // RFC 4443: 1 is destination unreachable, 4 is parameter problem.
        (SO_EE_ORIGIN_ICMP6, 1 | 4, _) => true,
        _ => false,
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port()))))
}

/// Whether a call failed because the socket has an ICMP message about an earlier datagram. The call has removed this
/// error, so it can be repeated.
pub(super) fn is_about_another_datagram(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(
            Errno::ECONNREFUSED
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::ENOPROTOOPT
                | Errno::EPROTO
                | Errno::EOPNOTSUPP
                | Errno::EACCES
                // "Fragmentation needed" and "packet too big". So can be an error of this call, which is then repeated
                // for nothing.
                | Errno::EMSGSIZE
        )
    )
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as Phone;

    use super::super::socket::tests::udp;
    use super::*;

    #[tokio::test]
    async fn a_closed_port_is_reported_and_other_datagrams_still_pass() {
        // checklist 115
        for own in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let socket = udp(own);
            let ip = if own.starts_with('[') { "::1" } else { "127.0.0.1" };
            let phones = [(); 2].map(|()| Phone::bind((ip, 0)).expect("a phone"));
            let [closed, open] = phones.each_ref().map(|phone| phone.local_addr().expect("an address"));
            let [gone, there] = phones;
            drop(gone);
            let (inbox, mut received) = mpsc::channel(8);
            let task = tokio::spawn(report_icmp(Arc::clone(socket.shared()), inbox));
            for number in 0..20_u8 {
                socket.send(closed, closed.ip(), &[number; 400]).expect("the error of an earlier one is not its own");
                socket.send(open, open.ip(), &[number; 400]).expect("the error of another one is not its own");
                let mut buffer = [0; 500];
                assert_eq!((there.recv(&mut buffer).expect("a datagram"), buffer[0]), (400, number));
                let Some(Inbound::Unreached { to, quoted, .. }) = received.recv().await else { panic!("{own}") };
                assert_eq!((to, &quoted[..]), (closed, &[number; 400][..]));
            }
            task.abort();
        }
    }

    #[test]
    fn no_icmp_message_is_an_error_of_the_next_datagram() {
        // Linux net/ipv4/icmp.c icmp_err_convert and net/ipv6/icmp.c icmpv6_err_convert. Anybody can forge these messages:
        // the next request, to whomever, would not be sent, and its phone would be passed over.
        let of_icmp = [
            Errno::ENETUNREACH,
            Errno::EHOSTUNREACH,
            Errno::ENOPROTOOPT,
            Errno::ECONNREFUSED,
            Errno::EMSGSIZE,
            Errno::EOPNOTSUPP,
            Errno::EHOSTDOWN,
            Errno::ENONET,
            Errno::EACCES,
            Errno::EPROTO,
        ];
        for errno in of_icmp {
            assert!(is_about_another_datagram(&errno.into()), "{errno}");
        }
        assert!(!is_about_another_datagram(&io::ErrorKind::WouldBlock.into()));
    }

    #[test]
    fn some_types_mean_that_a_datagram_did_not_arrive() {
        // checklist 115
        let error = |ee_origin, ee_type, ee_code| sock_extended_err {
            ee_errno: 0,
            ee_origin,
            ee_type,
            ee_code,
            ee_pad: 0,
            ee_info: 0,
            ee_data: 0,
        };
        let cases = [
            (2, 3, 3, true),
            (2, 3, 1, true),
            (2, 3, 4, false),
            (2, 12, 0, true),
            (2, 11, 0, false),
            (2, 4, 0, false),
            (3, 1, 4, true),
            (3, 2, 0, false),
            (3, 3, 0, false),
            (1, 0, 0, false),
        ];
        for (origin, kind, code, expected) in cases {
            assert_eq!(means_unreached(&error(origin, kind, code)), expected, "{origin} {kind} {code}");
        }
    }
}
