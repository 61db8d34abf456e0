//! Binds all sockets once, before the server starts, so that an address in use is an error at startup.
//!
//! Decides socket options. Each worker has its own socket on the same address (SO_REUSEPORT). With that option a
//! second server of the same user could bind the address too, so each address is first bound without it.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv4RecvErr, Ipv6RecvErr, Ipv6RecvPacketInfo, UdpGroSegment};
use parser::Transport;
use proxy::Listener;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{Config, Listen};

/// Size of the socket buffers of UDP: datagrams wait there while a worker is busy. The kernel may grant less
/// (net.core.rmem_max).
const BUFFER: usize = 4 << 20;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The sockets of one listener, one for each worker.
#[derive(Debug)]
pub(crate) struct BoundListener {
    /// The listener, with its actual port.
    pub(crate) listener: Listener,
    /// One for each worker.
    pub(crate) sockets: Vec<WorkerSocket>,
}

/// The socket of one worker.
#[derive(Debug)]
pub(crate) enum WorkerSocket {
    /// Receives and sends.
    Udp(std::net::UdpSocket),
    /// Accepts connections, of every transport over TCP.
    Stream(std::net::TcpListener),
}

/// Binds all listeners for this number of workers, or returns the one that cannot be bound.
pub(crate) fn bind_all(listen: &[Listen], workers: u8) -> Result<Vec<BoundListener>, (Listen, io::Error)> {
    let is_default = listen == Config::default().listen;
    let mut bound = Vec::with_capacity(listen.len());
    for listen in listen {
        match bind(listen, workers) {
            Ok(listener) => bound.push(listener),
            // The administrator may not even know of it, and other phones work without it.
            Err(error) if is_default && listen.transport.is_websocket() => {
                tracing::warn!(%error, "{listen} cannot be used: phones in browsers cannot connect (see `listen`)");
            }
            Err(error) => return Err((*listen, error)),
        }
    }
    Ok(bound)
}

/// Binds a listener for this number of workers.
pub(super) fn bind(listen: &Listen, workers: u8) -> io::Result<BoundListener> {
    let transport = listen.transport;
    let address = bind_exclusively(listen)?;
    let mut sockets = Vec::with_capacity(usize::from(workers));
    for _ in 0..workers {
        sockets.push(match transport {
            Transport::Udp => WorkerSocket::Udp(udp(address)?.into()),
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => WorkerSocket::Stream(tcp(address)?),
        });
    }
    Ok(BoundListener { listener: Listener { transport, address }, sockets })
}

/// Checks that the address is free, and replaces port 0 by a free port.
fn bind_exclusively(listen: &Listen) -> io::Result<SocketAddr> {
    let socket = open(listen.address, listen.transport)?;
    if listen.transport.is_reliable() {
        // Allows connections of an earlier run in TIME_WAIT; another listening socket still fails.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&listen.address.into())?;
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
}

fn udp(address: SocketAddr) -> io::Result<Socket> {
    let socket = open(address, Transport::Udp)?;
    socket.set_reuse_port(true)?;
    // A smaller buffer is acceptable.
    let _ = (socket.set_recv_buffer_size(BUFFER), socket.set_send_buffer_size(BUFFER));
    if address.ip().is_unspecified() {
        // To respond from the address that was addressed (RFC 3581 4).
        match address {
            SocketAddr::V4(_) => setsockopt(&socket, Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvPacketInfo, &true)?,
        }
    }
    // ICMP messages about what was sent (RFC 3261 18.4). Without them the timers tell that a phone is gone.
    let _ = match address {
        SocketAddr::V4(_) => setsockopt(&socket, Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(&socket, Ipv6RecvErr, &true),
    };
    // An optimisation that old kernels do not have.
    let _ = setsockopt(&socket, UdpGroSegment, &true);
    socket.bind(&address.into())?;
    Ok(socket)
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
    let (kind, protocol) =
        if transport.is_reliable() { (Type::STREAM, Protocol::TCP) } else { (Type::DGRAM, Protocol::UDP) };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // Otherwise it would conflict with an IPv4 listener on the same port.
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
}
