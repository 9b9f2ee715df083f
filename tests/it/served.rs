//! The service as an operator starts it: our program in a process of its own, at a world's directories.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

use crate::patience;
use crate::world::World;

/// What the service calls itself; where it listens is another matter.
const HOSTNAME: &str = "localhost:3000";
const DID: &str = "did:web:localhost%3A3000";

/// A running `at-functions serve` that logs JSON; killed when dropped, and its data with it.
pub struct Served {
    process: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
    listen: String,
    admin: String,
    data: TempDir,
}

impl Served {
    /// Starts it, and a world around it. Anonymous callers may run public functions, in threads. `more`
    /// are further arguments.
    pub async fn start(more: &[&str]) -> (World, Served) {
        let mut served = None;
        let world = World::around(async |origin| {
            let started = Served::spawn(origin, more).await;
            let endpoint = format!("http://{}", started.listen);
            served = Some(started);
            (endpoint, DID.to_owned())
        });
        (world.await, served.unwrap())
    }

    async fn spawn(origin: &str, more: &[&str]) -> Served {
        let data = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_at-functions"));
        command
            .args(["serve", "--hostname", HOSTNAME, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"])
            .args(["--allow-private-network", "--anonymous=public", "--isolation=thread"])
            .args(["--guest-threads=2", "--memory-budget=512", "--log-format=json"])
            .arg(format!("--data-dir={}", data.path().join("data").display()))
            .args([format!("--plc-url={origin}"), format!("--handle-resolver={origin}")])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AT_FUNCTIONS_") {
                command.env_remove(name);
            }
        }
        let mut process = command.spawn().unwrap();
        let stderr = process.stderr.take().unwrap();
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let collected = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let line = line.unwrap();
                // Before it reads its settings it writes plain text.
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                collected.lock().unwrap().push(line);
            }
        });
        let mut served = Served {
            process,
            lines,
            reader: Some(reader),
            listen: String::new(),
            admin: String::new(),
            data,
        };
        let serving = |lines: &[Value]| lines.iter().find(|line| line["message"] == "serving").cloned();
        patience::soon(async || serving(&served.lines()).is_some() || served.has_ended()).await;
        let said = serving(&served.lines()).unwrap_or_else(|| panic!("{:?}", served.lines()));
        served.listen = said["listen"].as_str().unwrap().to_owned();
        served.admin = said["admin"].as_str().unwrap().to_owned();
        served
    }

    /// What it has logged so far, line by line.
    pub fn lines(&self) -> Vec<Value> {
        self.lines.lock().unwrap().clone()
    }

    /// Where it listens, as `ADDRESS:PORT`.
    pub fn listen(&self) -> &str {
        &self.listen
    }

    /// The directory of its key and state.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.data.path().join("data")
    }

    /// How many threads it has now.
    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap().count()
    }

    /// Where it answers its operator.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// Asks it to stop, as an operator does.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Asks it to stop, and gives all that it logged once it has.
    pub async fn stopped(mut self) -> Vec<Value> {
        self.terminate();
        let (reader, process) = (self.reader.take().unwrap(), &mut self.process);
        patience::soon(async || process.try_wait().unwrap().is_some()).await;
        // Its end of the pipe is closed.
        reader.join().unwrap();
        self.lines()
    }

    fn has_ended(&self) -> bool {
        self.reader.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after `wait`.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
