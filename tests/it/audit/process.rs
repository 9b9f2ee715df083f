//! The service as a process of its own, so that it can be killed and run out of disk.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;

use crate::patience::soon;
use crate::ports::closed_port;
use crate::world::World;

const BINARY: &str = env!("CARGO_BIN_EXE_at-functions");

/// A running `at-functions serve`, ended with its value.
pub struct Process {
    child: Child,
    arguments: Vec<String>,
    directory: PathBuf,
    admin_port: u16,
    client: reqwest::Client,
}

/// A world around a service in a process of its own, with these arguments beside the usual ones.
pub async fn start(more: &[&str]) -> (World, Process) {
    let mut process = None;
    let world = World::around(async |origin| {
        let (port, admin_port) = (closed_port(), closed_port());
        let directory = tempfile::tempdir().unwrap().keep();
        let mut arguments = vec![
            "serve".into(),
            format!("--hostname=localhost:{port}"),
            format!("--listen=127.0.0.1:{port}"),
            format!("--admin-listen=127.0.0.1:{admin_port}"),
            format!("--data-dir={}", directory.join("data").display()),
            format!("--plc-url={origin}"),
            format!("--handle-resolver={origin}"),
            "--allow-private-network".into(),
            "--isolation=thread".into(),
            "--anonymous=public".into(),
            "--address-limit=none".into(),
            "--author-limit=none".into(),
            "--function-limit=none".into(),
            "--guest-threads=2".into(),
            "--memory-budget=256".into(),
            "--log=warn".into(),
        ];
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        #[allow(clippy::disallowed_methods)] // The test's own client, to the service under test.
        let client = reqwest::Client::new();
        let child = spawn(&arguments, &directory);
        let started = Process { child, arguments, directory, admin_port, client };
        started.is_up().await;
        process = Some(started);
        (format!("http://localhost:{port}"), format!("did:web:localhost%3A{port}"))
    })
    .await;
    (world, process.unwrap())
}

fn spawn(arguments: &[String], directory: &Path) -> Child {
    let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
    let mut command = Command::new(BINARY);
    // Settings of whoever runs the tests are not those of the service under test.
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AT_FUNCTIONS_"))
    {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

impl Process {
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What it said on stderr, in all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    async fn is_up(&self) {
        soon(async || matches!(self.admin("readyz").await, Some((200, _)))).await;
    }

    /// The answer at the admin address: its status and its text.
    pub async fn admin(&self, path: &str) -> Option<(u16, String)> {
        let url = format!("http://127.0.0.1:{}/{path}", self.admin_port);
        let response = self.client.get(url).send().await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.admin("metrics").await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until it has ended; its exit code, if it was not killed.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub async fn start_again(&mut self) {
        self.child = spawn(&self.arguments, &self.directory);
        self.is_up().await;
    }

    /// How large files may get from here on: beyond that, the disk is full.
    #[cfg(target_os = "linux")]
    pub fn limit_files(&self, bytes: Option<u64>) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        // It has its highest limit from us.
        let maximum = getrlimit(Resource::Fsize).maximum;
        let current = bytes.or(maximum);
        prlimit(pid, Resource::Fsize, Rlimit { current, maximum }).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of the log in a data directory, the torn one at its end left out.
pub fn lines(data_dir: &Path) -> Vec<Value> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(data_dir.join("audit")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of calls.
pub fn calls(data_dir: &Path) -> Vec<Value> {
    lines(data_dir).into_iter().filter(|line| line["kind"] == "call").collect()
}

/// What `audit verify --json` says of the log in a data directory, and its exit code.
pub fn verify(data_dir: &Path, more: &[&str]) -> (i32, Value) {
    let output = Command::new(BINARY)
        .args(["audit", "verify", "--json", "--data-dir"])
        .arg(data_dir)
        .args(more)
        .output()
        .unwrap();
    let told = serde_json::from_slice(&output.stdout);
    let told = told.unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&output.stderr).into_owned()));
    (output.status.code().unwrap(), told)
}
