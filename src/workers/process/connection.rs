//! The service's end of the socket: never waits but where it says so.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use serde::Serialize;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::message::{Began, Begin, MAX_FROM_PROCESS, Walls, message, packet};
use super::program::{Process, Role, Starter};
use super::socket::{self, Broken, Incoming, Outgoing, Receiver};

/// How long a process may take until it is sealed and says so. It takes some 20 ms on a quiet machine.
const START_TIME: Duration = Duration::from_secs(10);

/// The service's end of one process's socket.
pub(super) struct Connection {
    socket: AsyncFd<OwnedFd>,
    /// What the socket had no room for. Its length is bounded by what is sent: a few packets a run.
    waiting: Mutex<VecDeque<Outgoing>>,
    some_wait: Notify,
}

/// A process that stands behind its walls.
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) connection: Connection,
    pub(super) receiver: Receiver,
    pub(super) walls: Walls,
}

/// Why a process did not start. For the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NotStarted(pub(super) String);

/// Starts a worker, or what a worker's walls are tried with, and waits until it is sealed.
pub(super) async fn start(
    starter: &Starter,
    role: Role,
    threads: usize,
    slots: usize,
) -> Result<Started, NotStarted> {
    start_with(starter, role, &Begin { threads, slots }).await
}

/// Starts a process, tells it how to `begin`, and waits until it is sealed.
pub(super) async fn start_with(
    starter: &Starter,
    role: Role,
    begin: &impl Serialize,
) -> Result<Started, NotStarted> {
    let failed = |error: &dyn std::fmt::Display| NotStarted(error.to_string());
    let (ours, theirs) = socket::pair().map_err(|error| failed(&error))?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(|error| failed(&error))?;
    let process = starter.process(role, theirs).await.map_err(|error| failed(&error))?;
    let connection = Connection::new(ours).map_err(|error| failed(&error))?;
    let begin = packet(begin, None).map_err(|error| failed(&error))?;
    connection.send(begin).map_err(|error| failed(&error))?;
    let mut receiver = Receiver::new(MAX_FROM_PROCESS);
    let began = match timeout(START_TIME, connection.receive(&mut receiver)).await {
        Ok(began) => began.map_err(|error| failed(&error))?,
        Err(_) => return Err(failed(&"it did not get ready in time")),
    };
    match message(&began).map_err(|error| failed(&error))? {
        Began::Ready(walls) => Ok(Started { process, connection, receiver, walls }),
        Began::Failed(reason) => Err(failed(&reason)),
    }
}

impl Connection {
    pub(super) fn new(socket: OwnedFd) -> std::io::Result<Connection> {
        Ok(Connection {
            // What its successor asks its callers to promise, `OwnedFd` keeps by itself: the descriptor
            // stays the same and open.
            #[allow(deprecated)]
            socket: AsyncFd::new(socket)?,
            waiting: Mutex::default(),
            some_wait: Notify::new(),
        })
    }

    /// Sends a packet, or puts it where [`Connection::send_what_waits`] finds it. Packets arrive in the
    /// order in which they were given here.
    pub(super) fn send(&self, packet: Outgoing) -> Result<(), Errno> {
        let mut waiting = self.waiting();
        if waiting.is_empty() {
            match packet.send(self.socket.get_ref()) {
                Err(Errno::AGAIN) => {}
                sent => return sent,
            }
        }
        waiting.push_back(packet);
        self.some_wait.notify_one();
        Ok(())
    }

    /// Sends what had to wait, for as long as the connection lasts.
    pub(super) async fn send_what_waits(&self) -> Broken {
        loop {
            self.some_wait.notified().await;
            loop {
                let mut room = match self.socket.writable().await {
                    Ok(room) => room,
                    Err(error) => return error.into(),
                };
                let mut waiting = self.waiting();
                let Some(packet) = waiting.front() else { break };
                match packet.send(self.socket.get_ref()) {
                    Ok(()) => drop(waiting.pop_front()),
                    Err(Errno::AGAIN) => room.clear_ready(),
                    Err(error) => return error.into(),
                }
            }
        }
    }

    pub(super) async fn receive(&self, receiver: &mut Receiver) -> Result<Incoming, Broken> {
        loop {
            let mut ready = self.socket.readable().await?;
            match receiver.receive(self.socket.get_ref()) {
                Err(Broken::Io(Errno::AGAIN)) => ready.clear_ready(),
                received => return received,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Outgoing>> {
        // The queue is sound after every statement.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
