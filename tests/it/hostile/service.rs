//! The service under test: our program in a process of its own, as an operator starts it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use at_functions::config::Isolation;
use tempfile::TempDir;

/// How long a service may take to come up, or to be gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the service beside a shell that ends it when its own standard input is closed: also when the
/// process of the tests is gone without having said so.
const GUARD: &str =
    r#"log=$1; shift; "$@" >>"$log" 2>&1 & echo $!; read -r _; kill -KILL $! 2>/dev/null; wait"#;

/// A running `at-functions serve`, which ends with this.
pub(crate) struct ServiceProcess {
    guard: Guard,
    arguments: Vec<String>,
    port: u16,
    admin_port: u16,
    directory: TempDir,
}

struct Guard {
    shell: Child,
    alive_while_open: Option<ChildStdin>,
    service: u32,
}

/// Memory of a process that is its own: neither the program's file nor anybody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OwnBytes(pub(crate) u64);

impl ServiceProcess {
    /// Starts it with directories at `origin`, and waits until it answers.
    pub(crate) async fn start(origin: &str, isolation: Isolation, more: &[&str]) -> ServiceProcess {
        // Between looking for a free port and taking it, somebody else may take it.
        let mut said = String::new();
        for _ in 0..5 {
            let service = ServiceProcess::spawn(origin, isolation, more);
            match service.is_up().await {
                Ok(()) => return service,
                Err(log) => said = log,
            }
        }
        panic!("the service does not start: {said}");
    }

    fn spawn(origin: &str, isolation: Isolation, more: &[&str]) -> ServiceProcess {
        let directory = tempfile::tempdir().unwrap();
        let (port, admin_port) = (free_port(), free_port());
        let isolation = match isolation {
            Isolation::Thread => "thread",
            Isolation::Process => "process",
        };
        let mut arguments = vec![
            "serve".into(),
            format!("--hostname=localhost:{port}"),
            format!("--listen=127.0.0.1:{port}"),
            format!("--admin-listen=127.0.0.1:{admin_port}"),
            format!("--data-dir={}", directory.path().join("data").display()),
            format!("--plc-url={origin}"),
            format!("--handle-resolver={origin}"),
            format!("--isolation={isolation}"),
            "--anonymous=public".into(),
            // All attacks come from one address: they are for what stands behind the limits.
            "--address-limit=none".into(),
            "--author-limit=none".into(),
            "--function-limit=none".into(),
            // Few threads and little memory, so that there is something to fight for.
            "--guest-threads=2".into(),
            "--memory-budget=512".into(),
        ];
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let guard = Guard::start(&arguments, &directory.path().join("log"));
        ServiceProcess { guard, arguments, port, admin_port, directory }
    }

    /// Waits until it answers; what it said, if it ended instead.
    async fn is_up(&self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            if self.get("/xrpc/_health", self.port).is_some() {
                return Ok(());
            }
            if self.is_gone() {
                return Err(self.log());
            }
            assert!(began.elapsed() < PATIENCE, "the service does not come up: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Kills it, does something to its files, and starts it again on them.
    pub(crate) async fn restart(&mut self, meanwhile: impl FnOnce(&Path)) {
        self.guard.kill();
        self.is_gone_soon().await;
        meanwhile(&self.data_dir());
        self.guard = Guard::start(&self.arguments, &self.directory.path().join("log"));
        self.is_up().await.unwrap();
    }

    /// Another one with the same arguments but for its ports.
    pub(crate) fn second_on_the_same_data(&self) -> ServiceProcess {
        let directory = tempfile::tempdir().unwrap();
        let (port, admin_port) = (free_port(), free_port());
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|argument| {
                argument
                    .replace(&self.port.to_string(), &port.to_string())
                    .replace(&self.admin_port.to_string(), &admin_port.to_string())
            })
            .collect();
        let guard = Guard::start(&arguments, &directory.path().join("log"));
        ServiceProcess { guard, arguments, port, admin_port, directory }
    }

    /// Asks it to stop, as an operator does.
    pub(crate) fn terminate(&self) {
        signal("-TERM", self.guard.service);
    }

    pub(crate) fn is_gone(&self) -> bool {
        state(self.guard.service).is_none_or(|state| state == 'Z')
    }

    pub(crate) async fn is_gone_soon(&self) {
        let began = Instant::now();
        while !self.is_gone() {
            assert!(began.elapsed() < PATIENCE, "the service does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// One figure of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics", self.admin_port).expect("the operator's address answers");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in {text}")).parse::<f64>().unwrap() as u64
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// All that it has written to stdout and stderr.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.path().join("log")).unwrap_or_default()).into_owned()
    }

    /// The service's own memory.
    pub(crate) fn memory(&self) -> OwnBytes {
        own_bytes(self.guard.service).expect("the service is alive")
    }

    /// The processes that it has started, those of this role (`worker`, `compile`) only.
    pub(crate) fn children(&self, role: &str) -> Vec<u32> {
        let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let name = entry.unwrap().file_name();
            name.to_str()?.parse::<u32>().ok()
        });
        let is_ours = |&process: &u32| {
            let arguments = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            parent(process) == Some(self.guard.service)
                && arguments.split(|byte| *byte == 0).nth(1) == Some(role.as_bytes())
        };
        processes.filter(is_ours).collect()
    }

    /// The largest worker's own memory, where there are workers.
    pub(crate) fn largest_worker(&self) -> OwnBytes {
        self.children("worker").into_iter().filter_map(own_bytes).max().unwrap_or(OwnBytes(0))
    }

    fn get(&self, path: &str, port: u16) -> Option<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }
}

impl Guard {
    fn start(arguments: &[String], log: &Path) -> Guard {
        let mut command = Command::new("sh");
        // Settings of whoever runs the tests are not those of the service under test.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AT_FUNCTIONS_"))
        {
            command.env_remove(name);
        }
        command.args(["-c", GUARD, "guard"]).arg(log).arg(env!("CARGO_BIN_EXE_at-functions")).args(arguments);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let alive_while_open = shell.stdin.take();
        Guard { shell, alive_while_open, service: line.trim().parse().unwrap() }
    }

    fn kill(&mut self) {
        self.alive_while_open = None;
        let _ = self.shell.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to a process of the test's own; it may be gone already.
pub(crate) fn signal(signal: &str, process: u32) {
    let _ = Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status();
}

/// A port that is free now, and not one of those that the system gives to whoever connects: a service
/// that starts again must find it free still.
fn free_port() -> u16 {
    loop {
        let port = 20_000 + (getrandom::u32().unwrap() % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What follows the name in `/proc/PROCESS/stat`: the state, the parent, and more.
fn stat(process: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.to_owned())
}

fn state(process: u32) -> Option<char> {
    stat(process)?.chars().next()
}

fn parent(process: u32) -> Option<u32> {
    stat(process)?.split(' ').nth(1)?.parse().ok()
}

fn own_bytes(process: u32) -> Option<OwnBytes> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some(OwnBytes((kib("RssAnon")? + kib("RssShmem")?) * 1024))
}
