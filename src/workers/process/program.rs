//! Starting processes of our own program, and ending them.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

/// How often processes that were killed are looked after, until the kernel has done away with them.
const REAP_INTERVAL: Duration = Duration::from_millis(20);

/// What a process is for; the argument that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Compiler,
    Probe,
    Worker,
}

impl Role {
    pub(super) const ALL: [Role; 3] = [Role::Compiler, Role::Probe, Role::Worker];

    pub(super) fn argument(self) -> &'static str {
        match self {
            Role::Compiler => "compile",
            Role::Probe => "probe",
            Role::Worker => "worker",
        }
    }
}

/// The program that processes are started from.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    /// Keeps what `path` names.
    _file: Option<File>,
}

impl Program {
    /// The program of this process, as it was when it started: an upgrade that puts another file in
    /// its place does not mix two versions.
    pub fn this() -> io::Result<Program> {
        let file = File::open("/proc/self/exe")?;
        Ok(Program { path: format!("/proc/self/fd/{}", file.as_raw_fd()).into(), _file: Some(file) })
    }

    /// Another file of the same build; for tests, whose own program has no workers in it.
    pub fn at(path: impl AsRef<Path>) -> Program {
        Program { path: path.as_ref().to_owned(), _file: None }
    }

    fn start(&self, role: Role, socket: OwnedFd) -> io::Result<Child> {
        Command::new(&self.path)
            .arg0("at-functions")
            .arg(role.argument())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(socket))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Keystrokes meant for the service are not for them.
            .process_group(0)
            .spawn()
    }
}

/// Starts processes, on a thread that lasts: when the thread that started a process ends, the kernel
/// ends the process, which is what becomes of all of them when this is dropped or the service dies.
#[derive(Clone)]
pub(super) struct Starter {
    orders: mpsc::Sender<Order>,
}

enum Order {
    Start { role: Role, socket: OwnedFd, answer: oneshot::Sender<io::Result<Child>> },
    Reap(Child),
}

impl Starter {
    pub(super) fn start(program: Program) -> io::Result<Starter> {
        let (orders, queue) = mpsc::channel();
        thread::Builder::new().name("processes".into()).spawn(move || carry_out(&program, &queue))?;
        Ok(Starter { orders })
    }

    /// Starts a process whose standard input is `socket`.
    pub(super) async fn process(&self, role: Role, socket: OwnedFd) -> io::Result<Process> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts processes is gone");
        self.orders.send(Order::Start { role, socket, answer }).map_err(|_| gone())?;
        let child = answered.await.map_err(|_| gone())??;
        Ok(Process { child: Some(child), orders: Some(self.orders.clone()) })
    }
}

fn carry_out(program: &Program, orders: &mpsc::Receiver<Order>) {
    let mut ended: Vec<Child> = Vec::new();
    loop {
        let order = match ended.is_empty() {
            true => orders.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            false => orders.recv_timeout(REAP_INTERVAL),
        };
        match order {
            Ok(Order::Start { role, socket, answer }) => {
                if let Err(Ok(child)) = answer.send(program.start(role, socket)) {
                    ended.push(killed(child));
                }
            }
            Ok(Order::Reap(child)) => ended.push(killed(child)),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
        ended.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

fn killed(mut child: Child) -> Child {
    // It fails only where there is no such process any more.
    let _ = child.kill();
    child
}

/// A process, for as long as this lives.
pub(super) struct Process {
    child: Option<Child>,
    orders: Option<mpsc::Sender<Order>>,
}

/// How a process ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It ran out of processor time.
    CpuLimit,
    /// Anything else.
    Other,
}

impl Process {
    /// No process at all, for tests that play its part.
    #[cfg(test)]
    pub(super) fn none() -> Process {
        Process { child: None, orders: None }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// How it ended, once its socket is closed; waits for the kernel to say so, which on a machine with much
    /// else to do takes a moment.
    pub(super) async fn end(mut self) -> End {
        for _ in 0..1_000 {
            match self.child.as_mut().map(Child::try_wait) {
                Some(Ok(Some(status))) => {
                    self.child = None;
                    return match status.signal() {
                        Some(libc::SIGXCPU) => End::CpuLimit,
                        _ => End::Other,
                    };
                }
                Some(Ok(None)) => tokio::time::sleep(Duration::from_millis(5)).await,
                _ => break,
            }
        }
        End::Other
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let (Some(child), Some(orders)) = (self.child.take(), &self.orders) {
            // Without the thread the kernel has ended it already.
            let _ = orders.send(Order::Reap(child));
        }
    }
}
