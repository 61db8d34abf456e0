//! Which connections of a worker have data to read or room to write: one epoll instance for all of them, which the event
//! loop of the worker waits for. A task for each connection would take memory while it is idle, and each message would
//! cost a wake-up, a task switch and a place in a channel.
//!
//! Decides nothing. A connection is reported once for each change (edge-triggered): it has to be read until a read is
//! short, and to be written again after a write that was short.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Token};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most connections that one call reports. The others are reported by the next one.
const EVENTS: usize = 256;

/// The readiness of the connections of one worker.
#[derive(Debug)]
pub(super) struct Readiness {
    poll: AsyncFd<mio::Poll>,
    events: Events,
}

impl Readiness {
    /// Of no connections yet. Has to be called by a task of the worker's event loop.
    pub(super) fn new() -> io::Result<Self> {
        let poll = wait_for(mio::Poll::new()?)?;
        Ok(Self { poll, events: Events::with_capacity(EVENTS) })
    }

    /// Adds a connection. It is removed when its socket is closed.
    pub(super) fn register(&self, socket: &mut TcpStream, token: usize) -> io::Result<()> {
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        self.poll.get_ref().registry().register(socket, Token(token), interest)
    }

    /// Whether [`changes`](Self::changes) may report something; if not, the task is woken when it may.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll.poll_read_ready(cx).map(drop)
    }

    /// The changes that the event loop has seen.
    pub(super) fn changes(&mut self) -> impl Iterator<Item = &Event> {
        self.events.clear();
        // `WouldBlock`: the event loop has seen none.
        let _ = self.poll.try_io_mut(Interest::READABLE, |poll| ask(poll, &mut self.events));
        self.events.iter()
    }

    /// The changes up to this moment, even if the event loop has not seen them.
    pub(super) fn changes_until_now(&mut self) -> impl Iterator<Item = &Event> {
        self.events.clear();
        let _ = ask(self.poll.get_mut(), &mut self.events);
        self.events.iter()
    }
}

#[expect(deprecated, reason = "the other constructors are unsafe; the descriptor is closed by its owner, after this")]
fn wait_for(poll: mio::Poll) -> io::Result<AsyncFd<mio::Poll>> {
    AsyncFd::with_interest(poll, Interest::READABLE)
}

/// `WouldBlock`: these are all.
fn ask(poll: &mut mio::Poll, events: &mut Events) -> io::Result<()> {
    poll.poll(events, Some(Duration::ZERO))?;
    if events.iter().count() < EVENTS { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}
