//! What requests can be sent over: follows from the listeners, since a message says in its Via where responses go.

use parser::Transport;
use smallvec::SmallVec;

use super::{Listener, Settings};

/// What requests can be sent over: a transport and an address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The transport.
    pub transport: Transport,
    /// IPv4; otherwise IPv6.
    pub is_ipv4: bool,
}

/// The preferred one first; those of one transport follow each other.
pub type Senders = SmallVec<[Sender; 6]>;

impl Settings {
    /// What requests can be sent over, in the order in which a name without NAPTR records is tried (RFC 3263 4.1).
    /// Connections to WebSocket clients are only opened by the clients (RFC 7118 1).
    pub(crate) fn senders(&self) -> Senders {
        let mut senders = Senders::new();
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            for is_ipv4 in [true, false] {
                let listens = |own: &Listener| own.transport == transport && own.address.is_ipv4() == is_ipv4;
                if self.listeners.iter().any(listens) {
                    senders.push(Sender { transport, is_ipv4 });
                }
            }
        }
        senders
    }
}
