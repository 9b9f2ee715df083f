//! Sockets: accepting connections, serving HTTP/1.1 on each, and draining them at the end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::StartError;
use super::connection::{HeadTimed, Phase};

/// How long an idle connection is kept (longer than any pool that PDSes and fronts keep).
const IDLE: Duration = Duration::from_secs(180);
/// The most bytes of a request's head; a token has up to 8 KiB.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Connections at once. Beyond it, new ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 4096;
/// How long calls in flight get to finish once the service is told to stop: the longest a call
/// takes, and a little.
const DRAIN: Duration = Duration::from_secs(10);

/// A bound address, not yet served.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; the error names the `setting` that gave it.
    pub async fn bind(setting: &str, address: SocketAddr) -> Result<Listener, StartError> {
        let bound = async {
            let socket = TcpListener::bind(address).await?;
            let address = socket.local_addr()?;
            Ok::<_, std::io::Error>(Listener { socket, address })
        };
        bound.await.map_err(|error| StartError::of(format!("{setting} {address}: {error}")))
    }

    /// The address, with the port that the system chose where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves `router` until `stop` resolves; then takes no new connections, finishes the calls in
/// flight, and returns.
pub async fn serve(listener: Listener, router: Router, stop: impl Future<Output = ()>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let permit = tokio::select! {
            // The semaphore is never closed.
            permit = Arc::clone(&connections).acquire_owned() => permit.expect("open semaphore"),
            () = &mut stop => break,
        };
        let stream = tokio::select! {
            accepted = listener.socket.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Most likely out of descriptors: without a pause this loop would spin.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let watcher = graceful.watcher();
        let router = router.clone();
        tokio::spawn(async move {
            // Errors here are the peer's: a reset, a head that is no HTTP, or too slow.
            if let Err(error) = watcher.watch(connection(stream, router)).await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some calls did not finish in time and were cut off");
    }
}

/// HTTP/1.1 on one connection. There is no HTTP/2: neither PDSes nor fronts speak it to an upstream
/// unless told to, and it would add its own ways to be held up.
fn connection(stream: TcpStream, router: Router) -> impl GracefulConnection<Error = hyper::Error> {
    // Small answers should not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let phase = Phase::default();
    let io = TokioIo::new(HeadTimed::new(stream, phase.clone()));
    let service = service_fn(move |request: http::Request<Incoming>| {
        phase.head_is_read();
        let phase = phase.clone();
        let router = router.clone();
        async move {
            let response = router.oneshot(request.map(axum::body::Body::new)).await;
            phase.request_is_answered();
            response
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(io, service)
}
