//! HTTP connections: how many, how long, how large.
//!
//! Decides the limits and timeouts. When all connections are in use, or one peer has half of them, a new connection
//! replaces the one that has been idle for longest (of the same peer, in the second case). So a client that sends its
//! request at once is served while an attacker holds connections open or sends requests slowly. A live trace counts as a
//! request in progress and may last, while its client reads: only whoever may read everything else can open one.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use parser::Transport;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::reply::Body;
use super::{AdminState, routes};
use crate::metrics::{self, DriverLimit, Series};
use crate::trace::Progress;

/// Timeout for the head of a request, and for the next request on the connection.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Lifetime of a connection; a request in progress then has [`SHUTDOWN_GRACE`] to finish.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// Request heads of browsers are about a kilobyte.
const MAX_HEADER_SIZE: usize = 16 << 10;
const MAX_HEADER_COUNT: usize = 64;

/// Accepts connections until the task is dropped, at most `max` at a time.
pub(crate) async fn serve(listener: TcpListener, state: Arc<AdminState>, max: usize) {
    let connections = Arc::new(HttpConnections::new(max));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Loopback clients are exempt, so that the administrator can lift any ban.
                if state.defence.is_banned(peer.ip()) && !peer.ip().to_canonical().is_loopback() {
                    metrics::count(Series::Banned { transport: Transport::Tcp });
                    continue;
                }
                let Some(permit) = connections.admit(peer.ip()) else { continue };
                let (state, id) = (Arc::clone(&state), permit.id);
                let task = tokio::spawn(serve_connection(stream, peer, state, permit));
                connections.set_task(id, task.abort_handle());
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept an HTTP connection");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// The open HTTP connections.
struct HttpConnections {
    max: usize,
    max_per_peer: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    list: Vec<HttpConnection>,
    next: u64,
}

struct HttpConnection {
    id: u64,
    peer: IpAddr,
    /// Order in which connections became idle; `None` while a request is being answered.
    idle: Option<u64>,
    task: Option<AbortHandle>,
}

/// Counts one connection until it is dropped.
struct HttpPermit {
    id: u64,
    /// Of the live trace that was opened: with it the connection may last.
    live: Mutex<Option<Progress>>,
    connections: Arc<HttpConnections>,
}

impl HttpConnections {
    fn new(max: usize) -> Self {
        Self { max, max_per_peer: max.div_ceil(2), inner: Mutex::default() }
    }

    /// Admits a connection, closing an idle one if needed. `None` if every candidate is answering a request.
    fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<HttpPermit> {
        let mut inner = self.inner.lock();
        let is_share_full = inner.list.iter().filter(|entry| entry.peer == peer).count() >= self.max_per_peer;
        if is_share_full || inner.list.len() >= self.max {
            metrics::count(DriverLimit::AdminConnections);
            let may_close = |entry: &&HttpConnection| entry.idle.is_some() && (!is_share_full || entry.peer == peer);
            let id = inner.list.iter().filter(may_close).min_by_key(|entry| entry.idle)?.id;
            inner.remove(id).and_then(|entry| entry.task)?.abort();
        }
        let id = inner.next_tick();
        inner.list.push(HttpConnection { id, peer, idle: Some(id), task: None });
        Some(HttpPermit { id, live: Mutex::default(), connections: Arc::clone(self) })
    }

    /// Sets the task to abort when the connection is replaced.
    fn set_task(&self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.inner.lock().find(id) {
            entry.task = Some(task);
        }
    }
}

impl Inner {
    fn next_tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn find(&mut self, id: u64) -> Option<&mut HttpConnection> {
        self.list.iter_mut().find(|entry| entry.id == id)
    }

    fn remove(&mut self, id: u64) -> Option<HttpConnection> {
        let at = self.list.iter().position(|entry| entry.id == id)?;
        Some(self.list.swap_remove(at))
    }
}

impl HttpPermit {
    /// A request is being answered.
    fn mark_busy(&self) {
        if let Some(entry) = self.connections.inner.lock().find(self.id) {
            entry.idle = None;
        }
    }

    /// The response has been built.
    fn mark_idle(&self) {
        let mut inner = self.connections.inner.lock();
        let now = inner.next_tick();
        if let Some(entry) = inner.find(self.id) {
            entry.idle = Some(now);
        }
    }
}

impl Drop for HttpPermit {
    fn drop(&mut self) {
        self.connections.inner.lock().remove(self.id);
    }
}

async fn serve_connection(stream: TcpStream, peer: SocketAddr, state: Arc<AdminState>, permit: HttpPermit) {
    let permit = Arc::new(permit);
    let of_requests = Arc::clone(&permit);
    let answer = service_fn(move |request| {
        let (state, permit) = (Arc::clone(&state), Arc::clone(&of_requests));
        async move {
            permit.mark_busy();
            let reply = routes::answer(&state, peer.ip(), request).await;
            let live = match reply.body() {
                Body::Live(trace) => Some(trace.progress()),
                Body::Whole(_) => None,
            };
            if live.is_none() {
                permit.mark_idle();
            }
            *permit.live.lock() = live;
            Ok::<_, Infallible>(reply)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(MAX_HEADER_SIZE)
        .max_headers(MAX_HEADER_COUNT);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer));
    // Errors are not logged: the client has gone or was too slow.
    if timeout(CONNECTION_TIMEOUT, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let live = permit.live.lock().clone();
        match live {
            Some(progress) => tokio::select! {
                _ = connection => {}
                () = progress.stalled() => {
                    tracing::warn!("a trace of messages is ended: its client {} does not read", peer.ip());
                }
            },
            None => {
                let _ = timeout(SHUTDOWN_GRACE, connection).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(connections: &HttpConnections) -> Vec<u8> {
        let octet = |entry: &HttpConnection| match entry.peer {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => 0,
        };
        let mut peers: Vec<_> = connections.inner.lock().list.iter().map(octet).collect();
        peers.sort_unstable();
        peers
    }

    #[tokio::test]
    async fn a_new_connection_replaces_the_longest_idle_one() {
        let connections = Arc::new(HttpConnections::new(4));
        let admit = |peer: u8| {
            let permit = connections.admit([192, 0, 2, peer].into())?;
            connections.set_task(permit.id, tokio::spawn(std::future::pending::<()>()).abort_handle());
            Some(permit)
        };
        let first = [admit(1), admit(1)].map(|permit| permit.expect("a permit"));
        // Over half of the limit: the third connection of one peer replaces its first.
        let third = admit(1).expect("a permit");
        assert_eq!(peers(&connections), [1, 1]);
        let others = [admit(2), admit(3)].map(|permit| permit.expect("a permit"));
        // Over the limit: the longest idle connection is replaced, never one that is being answered.
        first[1].mark_busy();
        let fourth = admit(4).expect("a permit");
        assert_eq!(peers(&connections), [1, 2, 3, 4]);
        others.iter().chain([&fourth]).for_each(HttpPermit::mark_busy);
        assert!(admit(5).is_none());
        first[1].mark_idle();
        assert!(admit(5).is_some());
        assert_eq!(peers(&connections), [2, 3, 4]);
        drop((first, third, others, fourth));
        assert!(peers(&connections).is_empty());
    }
}
