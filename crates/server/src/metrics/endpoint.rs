//! `GET /metrics`: just enough HTTP/1.1 for a scraper, one answer a connection.
//!
//! Decides what is answered and how long a client may take. Bound before the program says that it serves, so that port
//! 0 can be told. Few at a time: a scraper that hangs costs one slot and is shown the door.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Scrapes at a time; the next one waits in the listener's queue.
const AT_A_TIME: usize = 8;

/// For a request to arrive and its answer to leave.
const PATIENCE: Duration = Duration::from_secs(5);

/// A scraper's request head is some 300 bytes.
const MAX_HEAD: usize = 8 << 10;

/// Serves scrapes until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, metrics: PrometheusHandle) {
    let slots = Arc::new(Semaphore::new(AT_A_TIME));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let metrics = metrics.clone();
                tokio::spawn(async move {
                    // A scraper that is gone or too slow is its own problem.
                    let _ = timeout(PATIENCE, answer(stream, &metrics)).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept a scrape");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, metrics: &PrometheusHandle) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 || head.len() > MAX_HEAD {
            return Ok(());
        }
    }
    let line = head.split(|octet| *octet == b'\r').next().unwrap_or_default();
    let mut words = line.split(|octet| *octet == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|octet| *octet == b'?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        (b"GET", b"/metrics") => ("200 OK", metrics.render()),
        (b"GET", _) => ("404 Not Found", "The metrics are at /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", String::new()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {length}\r\n\
         Allow: GET\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
