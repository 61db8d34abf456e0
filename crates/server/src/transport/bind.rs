//! Sockets before anybody serves them: bound once, early, so that a refusal ends the start and not a call.
//!
//! Decides socket options. Every worker has its own socket on the same address (SO_REUSEPORT); since that would let a
//! second server of the same user join in unnoticed, each address is first bound without it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use parser::Transport;
use proxy::Listener;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Listen;

/// Datagrams wait here while a worker is busy. The system may grant less (net.core.rmem_max).
const BUFFER: usize = 4 << 20;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The sockets of one listener, one for each worker.
#[derive(Debug)]
pub(crate) struct Bound {
    /// What is served, with the real port.
    pub(crate) listener: Listener,
    /// For one worker each.
    pub(crate) sockets: Vec<Sockets>,
}

/// What one worker gets of a listener.
#[derive(Debug)]
pub(crate) enum Sockets {
    /// See [`udp`](super::udp) for why there are two.
    Udp {
        /// Receives.
        receiver: std::net::UdpSocket,
        /// Sends.
        sender: std::net::UdpSocket,
    },
    /// Accepts.
    Tcp(std::net::TcpListener),
}

/// Binds one listener for so many workers.
pub(crate) fn bind(listen: &Listen, workers: u8) -> io::Result<Bound> {
    let transport = listen.transport;
    let address = probe(listen)?;
    let mut sockets = Vec::with_capacity(usize::from(workers));
    if transport == Transport::Udp {
        // All senders first: until it is connected, one of them could be given a datagram.
        let senders: Vec<_> = (0..workers).map(|_| sender(address)).collect::<io::Result<_>>()?;
        for sender in senders {
            sockets.push(Sockets::Udp { receiver: udp(address)?.into(), sender });
        }
    } else {
        for _ in 0..workers {
            sockets.push(Sockets::Tcp(tcp(address)?));
        }
    }
    Ok(Bound { listener: Listener { transport, address }, sockets })
}

/// The address, with a free port for port 0, if nobody else has it.
fn probe(listen: &Listen) -> io::Result<SocketAddr> {
    let socket = open(listen.address, listen.transport)?;
    if listen.transport != Transport::Udp {
        // Connections of an earlier run that linger in TIME_WAIT are no reason to refuse; a listening socket still is.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&listen.address.into())?;
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

fn udp(address: SocketAddr) -> io::Result<Socket> {
    let socket = open(address, Transport::Udp)?;
    socket.set_reuse_port(true)?;
    // A smaller buffer than asked for is no error.
    let _ = (socket.set_recv_buffer_size(BUFFER), socket.set_send_buffer_size(BUFFER));
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A socket that sends from `address` and is given no datagram: connected to nobody (port 9 of this machine).
fn sender(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = udp(address)?;
    let nobody = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let mut nobody = SocketAddr::new(nobody, 9);
    if let (SocketAddr::V6(nobody), SocketAddr::V6(own)) = (&mut nobody, address) {
        nobody.set_scope_id(own.scope_id());
    }
    socket.connect(&nobody.into())?;
    Ok(socket.into())
}

fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = open(address, Transport::Tcp)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn open(address: SocketAddr, transport: Transport) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
        _ => (Type::STREAM, Protocol::TCP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // Else an IPv4 listener on the same port would be in its way.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(transport: Transport, text: &str) -> Listen {
        Listen { transport, address: text.parse().expect("an address") }
    }

    #[test]
    fn a_second_server_is_refused() {
        for transport in [Transport::Udp, Transport::Tcp] {
            let first = bind(&listen(transport, "127.0.0.1:0"), 2).expect("a free port");
            assert_eq!(first.sockets.len(), 2);
            assert_ne!(first.listener.address.port(), 0);
            let again = Listen { transport, address: first.listener.address };
            assert_eq!(bind(&again, 1).expect_err("in use").kind(), io::ErrorKind::AddrInUse, "{transport:?}");
        }
    }

    #[test]
    fn senders_are_given_nothing() {
        let bound = bind(&listen(Transport::Udp, "127.0.0.1:0"), 3).expect("a free port");
        for _ in 0..64 {
            // A new source port each, so that the system spreads them over the sockets.
            let phone = std::net::UdpSocket::bind("127.0.0.1:0").expect("a phone");
            phone.send_to(b"x", bound.listener.address).expect("sent");
        }
        let mut seen = 0;
        for sockets in &bound.sockets {
            let Sockets::Udp { receiver, sender } = sockets else { panic!("UDP") };
            while receiver.recv(&mut [0; 8]).is_ok() {
                seen += 1;
            }
            assert!(sender.recv(&mut [0; 8]).is_err());
        }
        assert_eq!(seen, 64);
    }
}
