//! `/health` and `/ready` while the server waits for its store (docs/cluster.md).
//!
//! Decides nothing else: all other paths get 503.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::reply::{self, Reply};
use super::status;
use crate::worker::Health;

/// Connections at a time; one more waits.
const MAX_CONNECTIONS: usize = 16;

/// Lifetime of a connection, which serves one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);

/// Accepts connections until the task is dropped.
pub(crate) async fn serve_start(listener: TcpListener, health: Arc<Health>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let health = Arc::clone(&health);
                tokio::spawn(async move {
                    let _permit = permit;
                    // A client that is too slow tries again.
                    let _ = timeout(CONNECTION_TIMEOUT, serve_connection(stream, &health)).await;
                });
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept an HTTP connection");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, health: &Health) {
    let answer =
        service_fn(|request: Request<_>| async move { Ok::<_, Infallible>(answer(request.uri().path(), health)) });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).keep_alive(false);
    let _ = http.serve_connection(TokioIo::new(stream), answer).await;
}

fn answer(path: &str, health: &Health) -> Reply {
    match path {
        "/health" => status::health(health),
        "/ready" => status::ready(health),
        _ => reply::problem(StatusCode::SERVICE_UNAVAILABLE, "the server is starting: see /ready"),
    }
}
