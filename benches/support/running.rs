//! The service as an operator runs it: the program in a process of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use at_functions::config::Isolation;

/// A limit above what any machine does.
const UNREACHED: &str = "1000000/s burst 1000000 at-once 1000000";
/// The longest that a start may take.
const START: Duration = Duration::from_secs(60);

/// How a service is started.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) isolation: Isolation,
    /// MiB of outputs that are kept so that the same call need not run again.
    pub(crate) memo_mb: u32,
    /// Threads of the service; its default where there is none.
    pub(crate) service_threads: Option<usize>,
}

impl Options {
    pub(crate) fn new(isolation: Isolation) -> Options {
        Options { isolation, memo_mb: 0, service_threads: None }
    }
}

/// A running service; killed when it is dropped.
pub(crate) struct Running {
    process: Child,
    pub(crate) address: SocketAddr,
    /// The DID that it goes by.
    pub(crate) did: String,
    /// From its start until it was ready.
    pub(crate) ready_after: Duration,
}

impl Running {
    /// Starts it with its state in `data`, and waits until it is ready.
    pub(crate) async fn start(options: &Options, data: &Path, directory: &str) -> anyhow::Result<Running> {
        let (address, admin) = (free_address()?, free_address()?);
        let isolation = match options.isolation {
            Isolation::Thread => "thread",
            Isolation::Process => "process",
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_at-functions"));
        command
            .arg("serve")
            .args([format!("--hostname=localhost:{}", address.port()), format!("--listen={address}")])
            .args([format!("--admin-listen={admin}"), format!("--data-dir={}", data.display())])
            .args([format!("--plc-url={directory}"), format!("--isolation={isolation}")])
            .args(["--allow-private-network".to_owned(), format!("--memo-cache={}", options.memo_mb)])
            .args(options.service_threads.map(|threads| format!("--service-threads={threads}")))
            // Counted, and out of reach.
            .args(["caller", "host", "author", "function"].map(|of| format!("--{of}-limit={UNREACHED}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AT_FUNCTIONS_") {
                command.env_remove(name);
            }
        }
        let started = Instant::now();
        let mut running = Running {
            process: command.spawn()?,
            address,
            did: format!("did:web:localhost%3A{}", address.port()),
            ready_after: Duration::ZERO,
        };
        while !is_ready(admin) {
            anyhow::ensure!(running.process.try_wait()?.is_none(), "the service ended at its start");
            anyhow::ensure!(started.elapsed() < START, "the service was not ready in time");
            std::thread::sleep(Duration::from_millis(1));
        }
        running.ready_after = started.elapsed();
        Ok(running)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after `wait`.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A place at which nobody listens, for a program that cannot say where it does.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

fn is_ready(admin: SocketAddr) -> bool {
    use std::io::{Read as _, Write as _};
    let asked = || -> std::io::Result<bool> {
        let mut stream = std::net::TcpStream::connect(admin)?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    asked().unwrap_or(false)
}
