//! Authors on loopback, and what is measured beside the service: a bare HTTP handler, and a bare process at the
//! other end of a socket.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use at_functions::clock::Clock;
use at_functions::dev::{Author, host_router};
use at_functions::server::{self, Listener};
use axum::Router;
use axum::routing::post;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use serde_json::value::RawValue;

/// The argument of the process at the other end of a bare round trip.
const MIRROR: &str = "mirror";
/// About what an echo call sends to its worker.
const PACKET_BYTES: usize = 300;

/// An author with a repo on a port of its own.
pub(crate) async fn author() -> anyhow::Result<Arc<Author>> {
    let listener = Listener::bind("repo", ([127, 0, 0, 1], 0).into()).await?;
    let author = Arc::new(Author::at_port(listener.address().port(), Clock::system())?);
    tokio::spawn(server::serve(listener, host_router(Arc::clone(&author)), std::future::pending()));
    Ok(author)
}

/// Starts the floor of HTTP: the same envelope parsed, the input sent back, nothing verified and nothing run.
pub(crate) async fn bare_handler() -> anyhow::Result<std::net::SocketAddr> {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        input: &'a RawValue,
    }
    async fn echo(body: axum::body::Bytes) -> String {
        match serde_json::from_slice::<Envelope<'_>>(&body) {
            Ok(envelope) => format!(r#"{{"ok":true,"output":{}}}"#, envelope.input),
            Err(_) => String::new(),
        }
    }
    let listener = Listener::bind("bare", ([127, 0, 0, 1], 0).into()).await?;
    let address = listener.address();
    let router = Router::new().route("/xrpc/at.functions.run", post(echo));
    tokio::spawn(server::serve(listener, router, std::future::pending()));
    Ok(address)
}

/// Whether this process was started as a mirror; then it has been one, and there is nothing else to do.
pub(crate) fn was_mirror() -> bool {
    let is_one = std::env::args().nth(1).as_deref() == Some(MIRROR);
    if is_one {
        reflect();
    }
    is_one
}

/// Sends back what comes in, until nothing comes any more.
fn reflect() {
    let socket = rustix::stdio::stdin();
    let mut packet = [0; PACKET_BYTES];
    while let Ok((length @ 1.., _)) = recv(socket.as_fd(), &mut packet, RecvFlags::empty()) {
        if send(socket.as_fd(), &packet[..length], SendFlags::empty()).is_err() {
            return;
        }
    }
}

/// A process that sends back what it is sent, over a socket of the kind that workers have. Ends when dropped.
pub(crate) struct Mirror {
    socket: Option<OwnedFd>,
    child: Child,
}

impl Mirror {
    pub(crate) fn start() -> anyhow::Result<Mirror> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let child = Command::new(std::env::current_exe()?).arg(MIRROR).stdin(Stdio::from(theirs)).spawn()?;
        Ok(Mirror { socket: Some(ours), child })
    }

    /// A packet there and back; the microseconds that it took.
    pub(crate) fn round_trip(&self) -> anyhow::Result<f64> {
        let mut packet = [1; PACKET_BYTES];
        let began = Instant::now();
        if let Some(socket) = &self.socket {
            send(socket, &packet, SendFlags::empty())?;
            recv(socket, &mut packet, RecvFlags::empty())?;
        }
        Ok(began.elapsed().as_secs_f64() * 1e6)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.socket = None;
        let _ = self.child.wait();
    }
}
