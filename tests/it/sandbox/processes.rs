//! A sandbox of processes under test, and what can be done to its workers.

use std::process::Command;
use std::time::Instant;

use at_functions::sandbox::{Compiled, Lost};

use super::*;

pub const SPINNER: &str = "(loop $forever (br $forever)) unreachable";

/// Answers with its input.
pub const ECHO: &str = "(i64.or (i64.shl (i64.extend_i32_u (local.get $pointer)) (i64.const 32)) (i64.extend_i32_u (local.get $length)))";

/// Limits of a run that is there until something is done to it.
pub const LONG: Limits = Limits { duration: Duration::from_secs(60), ..WIDE };

/// What `body` does, in a module that differs for each `salt`.
pub fn salted(salt: usize, body: &str) -> String {
    module_with(
        &format!("(memory (export \"memory\") 3) (data (i32.const 8) \"{salt}\")"),
        "i32.const 1024",
        body,
    )
}

pub struct Processes {
    pub sandbox: Arc<ProcessSandbox>,
    pub runtime: Runtime,
}

impl Processes {
    pub fn start(config: ProcessSandboxConfig) -> Processes {
        Processes::of(config, program())
    }

    pub fn of(config: ProcessSandboxConfig, program: Program) -> Processes {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sandbox = runtime.block_on(ProcessSandbox::start(config, program)).unwrap();
        Processes { sandbox: Arc::new(sandbox), runtime }
    }

    pub fn wat(&self, text: &str) -> Artifact {
        self.wat_as(Mode::PureV1, text)
    }

    pub fn wat_as(&self, mode: Mode, text: &str) -> Artifact {
        self.sandbox.install(&self.compile(mode, text)).unwrap()
    }

    pub fn compile(&self, mode: Mode, text: &str) -> Compiled {
        let code = Bytes::from(wat::parse_str(text).unwrap());
        compiled_in_the_end(|| self.runtime.block_on(self.sandbox.compile(mode, code.clone()))).unwrap()
    }

    pub fn spawn(&self, job: Job) -> tokio::task::JoinHandle<Result<Completion, Lost>> {
        self.runtime.spawn(self.sandbox.run(job, Lease::none()))
    }

    pub fn run(&self, job: Job) -> Result<Completion, Lost> {
        self.runtime.block_on(self.sandbox.run(job, Lease::none()))
    }

    /// A run that there must be a worker for by then.
    pub fn run_by(&self, job: Job, start_by: Instant) -> Result<Completion, Lost> {
        self.runtime.block_on(self.sandbox.run_by(job, Lease::none(), start_by))
    }

    pub fn end<T>(&self, task: tokio::task::JoinHandle<T>) -> T {
        self.runtime.block_on(task).unwrap()
    }

    /// Kills all workers, and waits until that is known.
    pub fn kill_all(&self) {
        let killed = self.sandbox.workers();
        killed.iter().copied().for_each(kill);
        self.until(|| !self.sandbox.workers().iter().any(|worker| killed.contains(worker)));
    }

    /// Waits until this many runs are in workers.
    pub fn runs_are(&self, runs: usize) {
        self.until(|| self.sandbox.load().instances == runs);
    }

    pub fn until(&self, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", self.sandbox.load());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

pub fn small() -> ProcessSandboxConfig {
    ProcessSandboxConfig { threads: 1, slots: 8, max_workers: 4, compile: unhurried(), ..Default::default() }
}

/// A job of this author's, whose function is public or private.
pub fn of(author: &str, public: bool, job: Job) -> Job {
    Job { owner: Owner { name: format!("did:web:{author}.example").into(), public }, ..job }
}

pub fn signal(process: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

pub fn kill(process: u32) {
    // It may be gone by itself.
    let _ = Command::new("kill").args(["-KILL", &process.to_string()]).output().unwrap();
}
