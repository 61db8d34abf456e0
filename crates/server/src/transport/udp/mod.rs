//! UDP (RFC 3261 18): the sockets of one worker, its queue of datagrams to send, ICMP, and STUN on the SIP port.
//!
//! This file only lists the modules.

mod icmp;
mod send_queue;
mod sent;
mod socket;
mod stun;

pub(crate) use icmp::report_icmp;
pub(crate) use send_queue::UdpSendQueue;
pub(crate) use socket::{Datagram, Udp, UdpReceiver};
