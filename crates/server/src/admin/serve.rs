//! HTTP connections: how many, how long, how large.
//!
//! Decides patience. Bound before the program says that it serves, so that port 0 can be told. What finds no slot waits
//! in the listener's queue; nobody keeps a slot for longer than a minute, and no peer has more than half of them.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{Office, routes};
use crate::metrics;

/// For the head of a request to arrive, and between two of them.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// For a connection; then it may end what it is doing.
const LIFE: Duration = Duration::from_secs(60);
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A browser's request head is some kilobyte.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// Serves until the task is dropped, `most` connections at a time.
pub(crate) async fn serve(listener: TcpListener, office: Arc<Office>, most: usize) {
    let (slots, guests) = (Arc::new(Semaphore::new(most)), Arc::new(Guests::new(most.div_ceil(2))));
    loop {
        if slots.available_permits() == 0 {
            metrics::capped(metrics::ADMIN_CONNECTIONS);
        }
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Who sits at this machine may lift any ban.
                if office.defence.covers(peer.ip()) && !peer.ip().to_canonical().is_loopback() {
                    metrics::refused_connection();
                    continue;
                }
                let Some(seat) = guests.seat(peer.ip()) else {
                    metrics::capped(metrics::ADMIN_CONNECTIONS);
                    continue;
                };
                let office = Arc::clone(&office);
                tokio::spawn(async move {
                    converse(stream, peer, office).await;
                    drop((slot, seat));
                });
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept an HTTP connection");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// How many connections each peer has.
struct Guests {
    most: usize,
    by_peer: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them, while it lasts.
struct Seat {
    peer: IpAddr,
    guests: Arc<Guests>,
}

impl Guests {
    fn new(most: usize) -> Self {
        Self { most, by_peer: Mutex::default() }
    }

    fn seat(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let mut by_peer = self.by_peer.lock();
        let count = by_peer.entry(peer).or_default();
        let room = *count < self.most;
        *count += usize::from(room);
        room.then(|| Seat { peer, guests: Arc::clone(self) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_peer = self.guests.by_peer.lock();
        if let Entry::Occupied(mut count) = by_peer.entry(self.peer) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, office: Arc<Office>) {
    let answer = service_fn(move |request| {
        let office = Arc::clone(&office);
        async move { Ok::<_, Infallible>(routes::answer(&office, peer.ip(), &request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer));
    // A client that is gone or too slow is its own problem.
    if timeout(LIFE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_WORDS, connection).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_seats() {
        let guests = Arc::new(Guests::new(2));
        let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let (first, second) = (guests.seat(one), guests.seat(one));
        assert!(first.is_some() && second.is_some() && guests.seat(one).is_none());
        assert!(guests.seat(other).is_some());
        drop(first);
        assert!(guests.seat(one).is_some());
        drop(second);
        assert!(guests.by_peer.lock().is_empty());
    }
}
