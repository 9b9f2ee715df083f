//! Sockets: accepting connections, serving HTTP/1.1 on each, and draining them at the end.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use super::connection::{Phase, Timed};
use super::limited::Peer;
use super::{StartError, descriptors};

/// How long an idle connection is kept (longer than any pool that PDSes and fronts keep).
const IDLE: Duration = Duration::from_secs(180);
/// The most bytes of a request's head; a token has up to 8 KiB.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Connections at once. For one more, the one that has waited longest for a request is closed; while
/// none waits, new ones stay in the kernel's backlog.
const MAX_CONNECTIONS: usize = 4096;
/// How soon it is looked again for one that waits.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long calls in flight get to finish once the service is told to stop: the longest a call
/// takes, and a little.
const DRAIN: Duration = Duration::from_secs(10);

/// A bound address, not yet served.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    max_connections: usize,
}

impl Listener {
    /// Binds `address`; the error names the `setting` that gave it.
    pub async fn bind(setting: &str, address: SocketAddr) -> Result<Listener, StartError> {
        let bound = async {
            let socket = TcpListener::bind(address).await?;
            let address = socket.local_addr()?;
            Ok::<_, std::io::Error>(Listener {
                socket,
                address,
                max_connections: descriptors::for_connections().min(MAX_CONNECTIONS),
            })
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
    let connections = Arc::new(Connections::new(listener.max_connections));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.socket.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Most likely out of descriptors: without a pause this loop would spin.
                    tracing::warn!(%error, "a connection could not be accepted");
                    connections.close_longest_waiting();
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        // Only now that somebody is there is another's place taken.
        let place = tokio::select! {
            place = connections.place() => place,
            () = &mut stop => break,
        };
        let watcher = graceful.watcher();
        let router = router.clone();
        tokio::spawn(async move {
            // Errors here are the peer's: a reset, a head that is no HTTP, or too slow.
            let served = watcher.watch(connection(stream, Peer(peer.ip()), router, place.phase.clone()));
            tokio::select! {
                biased;
                () = place.phase.given_up() => {}
                ended = served => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                },
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("some calls did not finish in time and were cut off");
    }
}

/// HTTP/1.1 on one connection. There is no HTTP/2: neither PDSes nor fronts speak it to an upstream
/// unless told to, and it would add its own ways to be held up.
fn connection(
    stream: TcpStream,
    peer: Peer,
    router: Router,
    phase: Phase,
) -> impl GracefulConnection<Error = hyper::Error> {
    // Small answers should not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Timed::new(stream, phase.clone()));
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        phase.head_is_read();
        request.extensions_mut().insert(peer);
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

/// The connections that are open, so that silent ones cannot keep everybody else out.
struct Connections {
    places: Arc<Semaphore>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last: u64,
    phases: HashMap<u64, Phase>,
}

/// One connection's place; given back by dropping it.
struct Place {
    phase: Phase,
    number: u64,
    connections: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    fn new(most: usize) -> Connections {
        Connections { places: Arc::new(Semaphore::new(most)), open: Mutex::default() }
    }

    /// A place for one more. Where all are taken, whoever has waited longest for a request loses its own.
    async fn place(self: &Arc<Connections>) -> Place {
        loop {
            let permit = Arc::clone(&self.places);
            let permit = match Arc::clone(&permit).try_acquire_owned() {
                Ok(permit) => Ok(Ok(permit)),
                Err(_) => {
                    self.close_longest_waiting();
                    tokio::time::timeout(LOOK_AGAIN, permit.acquire_owned()).await
                }
            };
            if let Ok(Ok(permit)) = permit {
                let phase = Phase::opening();
                let mut open = self.open();
                open.last += 1;
                let number = open.last;
                open.phases.insert(number, phase.clone());
                drop(open);
                return Place { phase, number, connections: Arc::clone(self), _permit: permit };
            }
        }
    }

    /// Ends the connection that has been without a request for the longest time, if one is without.
    fn close_longest_waiting(&self) {
        let open = self.open();
        let waiting = open.phases.values().filter_map(|phase| Some((phase.waits_since()?, phase)));
        if let Some((_, phase)) = waiting.min_by_key(|(since, _)| *since) {
            phase.give_up();
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // The map is whole after every statement.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().phases.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::server::connection::ANSWER_TIME;

    /// More than the kernel's buffers of both ends hold.
    const LARGE: usize = 32 * 1024 * 1024;

    struct Served {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    async fn serve_at_most(max_connections: usize) -> Served {
        let listener = Listener::bind("test", ([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.address();
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/large", get(|| async { vec![b'x'; LARGE] }))
            .route("/never", get(std::future::pending::<()>));
        let (stop, stopped) = oneshot::channel();
        let listener = Listener { max_connections, ..listener };
        let task = tokio::spawn(serve(listener, router, async {
            let _ = stopped.await;
        }));
        Served { address, stop, task }
    }

    async fn ask(stream: &mut TcpStream, path: &str) {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    }

    /// Has the server, which shares the test's thread, see to what has reached it: a runtime looks at its
    /// sockets once in some dozens of turns.
    async fn all_that_came_is_seen() {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    }

    /// Whether the next thing read is an answer, rather than the end.
    async fn is_answered(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut answer)).await;
        matches!(read.expect("an answer or the end"), Ok(length) if answer[..length].starts_with(b"HTTP/1.1 200"))
    }

    #[tokio::test]
    async fn when_all_places_are_taken_the_longest_idle_connection_makes_room() {
        let served = serve_at_most(3).await;
        let mut working = TcpStream::connect(served.address).await.unwrap();
        ask(&mut working, "/never").await;
        all_that_came_is_seen().await;
        let mut used_again = TcpStream::connect(served.address).await.unwrap();
        ask(&mut used_again, "/").await;
        assert!(is_answered(&mut used_again).await);
        let mut silent = TcpStream::connect(served.address).await.unwrap();
        all_that_came_is_seen().await;
        // How long they have waited is told in milliseconds at the finest.
        tokio::time::sleep(Duration::from_millis(20)).await;
        ask(&mut used_again, "/").await;
        assert!(is_answered(&mut used_again).await);

        let mut newcomer = TcpStream::connect(served.address).await.unwrap();
        ask(&mut newcomer, "/").await;
        assert!(is_answered(&mut newcomer).await);
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap(), 0, "closed");
        ask(&mut used_again, "/").await;
        assert!(is_answered(&mut used_again).await);
        let quiet = tokio::time::timeout(Duration::from_millis(50), working.read(&mut [0; 1])).await;
        assert!(quiet.is_err(), "a connection with a request in hand was closed");
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_given_up() {
        let served = serve_at_most(3).await;
        let mut stuck = TcpStream::connect(served.address).await.unwrap();
        ask(&mut stuck, "/large").await;
        // The next request is read while the answer waits: hyper's timer for heads is off then.
        ask(&mut stuck, "/").await;
        tokio::time::sleep(ANSWER_TIME + Duration::from_secs(2)).await;
        let mut taken = 0;
        let mut buffer = vec![0; 1024 * 1024];
        while let Ok(length @ 1..) = stuck.read(&mut buffer).await {
            taken += length;
        }
        assert!(taken < LARGE, "{taken}");
    }

    #[tokio::test]
    async fn a_stop_does_not_wait_for_stuck_clients() {
        let served = serve_at_most(8).await;
        let mut streams = Vec::new();
        for path in ["/never", "/large", "/"] {
            let mut stream = TcpStream::connect(served.address).await.unwrap();
            ask(&mut stream, path).await;
            streams.push(stream);
        }
        let mut in_head = TcpStream::connect(served.address).await.unwrap();
        in_head.write_all(b"GET / HT").await.unwrap();
        let _silent = TcpStream::connect(served.address).await.unwrap();
        all_that_came_is_seen().await;
        let started = Instant::now();
        served.stop.send(()).unwrap();
        served.task.await.unwrap();
        let took = started.elapsed();
        assert!(took > DRAIN - Duration::from_secs(1) && took < 3 * DRAIN, "{took:?}");
        assert!(TcpStream::connect(served.address).await.is_err());
    }
}
