//! Guests behind a second wall: `--isolation process`.
//!
//! In: what any [`Sandbox`] takes. Out: what any gives. Never: believe a worker more than it could
//! know, or give it more than a run needs.
//!
//! Guests are compiled and run in processes of our own program, each of which shuts itself in
//! (`seal`) before it sees the first byte of a guest: no network, no file system, no environment, no
//! other process, bounded memory. What is left to it is one socket. So a guest that broke out of the
//! WebAssembly engine would hold a worker, and with it the runs of one author that are in it; the
//! service's key, its network and everybody else's calls are in other processes.
//!
//! The way of a run through the files: `roster` says which worker may take it, and `pool` starts one
//! if need be (`program`, `connection`); `link` sends it there and holds what the run may reach;
//! `worker` is what the process does with it; what comes back is judged by `answer`. Underneath are
//! `message` (what is said), `socket` (whole packets) and `memfile` (what is too long for one).
//! `compiles` asks a `compiler` process, a fresh one for each module.
//!
//! `probe` is a process that tries to get out; `quarantine` remembers what was there when a worker
//! died.
//!
//! A worker's word is checked wherever it can be: each message must be one that an honest worker could
//! have sent now, and the first that is not ends the worker. What cannot be checked is the output
//! itself: whoever holds a worker can forge the answers of its runs. That is why a worker is one
//! author's.

mod answer;
mod canary;
mod compiler;
mod compiles;
mod connection;
mod frames;
mod judged;
mod link;
mod memfile;
mod message;
mod pool;
mod probe;
mod program;
mod quarantine;
mod roster;
mod seal;
mod socket;
mod worker;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use self::compiles::Compilers;
use self::link::Installed;
use self::pool::Pool;
use self::program::{Role, Starter};
use self::roster::Bounds;
use crate::lexicon::Mode;
use crate::sandbox::{
    Artifact, BoxFuture, CompileError, Compiled, Completion, InstallError, Job, Lease, Load, Lost, Sandbox,
    compiler_fingerprint, looks_whole,
};

pub use self::compiles::CompileLimits;
#[doc(hidden)]
pub use self::frames::Frames;
#[doc(hidden)]
pub use self::judged::{Word, judge_worker};
pub use self::probe::{Attempt, Probe};
pub use self::program::Program;

/// How long a worker without a run is not ended for another author's public function, which shares one
/// instead: to start a worker takes tens of milliseconds of a core.
const KEPT: Duration = Duration::from_secs(1);
/// How long a sealed process may try to get out.
const PROBE_TIME: Duration = Duration::from_secs(10);

/// How large a [`ProcessSandbox`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessSandboxConfig {
    /// Worker processes at most.
    pub max_workers: usize,
    /// Threads that run guests, in each worker.
    pub threads: usize,
    /// Runs in a worker at once. Each reserves 4 GiB of its address space.
    pub slots: usize,
    /// Runs after which a worker is replaced.
    pub runs_per_worker: u64,
    /// How long a worker waits for its author's next run.
    pub idle: Duration,
    /// What compilers may use; for tests.
    #[doc(hidden)]
    pub compile: CompileLimits,
}

impl Default for ProcessSandboxConfig {
    /// Sixteen workers a core, a thread for each core in each of them.
    fn default() -> ProcessSandboxConfig {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        ProcessSandboxConfig {
            max_workers: 16 * cores,
            threads: cores,
            slots: 32,
            runs_per_worker: 10_000,
            idle: Duration::from_secs(30),
            compile: CompileLimits::default(),
        }
    }
}

/// Why there is no second wall.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessStartError {
    /// A function that is known to work does not.
    #[error("the canary of {mode} does not run in a sealed worker: {reason}")]
    Canary {
        /// Its mode.
        mode: Mode,
        /// What it came to.
        reason: String,
    },
    /// The program or the thread that starts processes is not to be had.
    #[error("cannot start processes: {0}")]
    Program(String),
    /// A sealed process got out.
    #[error("the walls of worker processes do not hold on this machine; what got through: {0}")]
    Holes(String),
    /// No worker could be sealed.
    #[error("a worker process could not be started and sealed: {0}")]
    Worker(String),
}

/// A sandbox in sealed processes.
pub struct ProcessSandbox {
    pool: Arc<Pool>,
    compilers: Arc<Compilers>,
    fingerprint: u64,
    installed: AtomicU64,
}

impl ProcessSandbox {
    /// What a sealed process can still do on this machine.
    pub async fn probe(program: Program) -> Result<Probe, ProcessStartError> {
        let starter =
            Starter::start(program).map_err(|error| ProcessStartError::Program(error.to_string()))?;
        probe(&starter).await
    }

    /// Compiles and runs a function of each mode, to see that all of it works behind the walls.
    pub async fn try_every_mode(&self) -> Result<(), ProcessStartError> {
        canary::sing(self).await
    }

    /// The numbers of the worker processes that there are now.
    pub fn workers(&self) -> Vec<u32> {
        self.pool.processes()
    }

    /// The numbers of the processes that compile a module now.
    pub fn compilers(&self) -> Vec<u32> {
        self.compilers.processes()
    }

    /// Has a sealed process try to get out, then starts a first worker, and so learns whether this machine can seal one. To be called in a tokio
    /// runtime.
    pub async fn start(
        config: ProcessSandboxConfig,
        program: Program,
    ) -> Result<ProcessSandbox, ProcessStartError> {
        let failed = |error: &dyn std::fmt::Display| ProcessStartError::Program(error.to_string());
        let fingerprint = compiler_fingerprint().map_err(|error| failed(&error))?;
        let starter = Starter::start(program).map_err(|error| failed(&error))?;
        let bounds = Bounds {
            workers: config.max_workers.max(1),
            slots: config.slots.max(1),
            runs: config.runs_per_worker.max(1),
            idle: config.idle,
            kept: KEPT,
        };
        let probe = probe(&starter).await?;
        let holes = probe.holes();
        if !holes.is_empty() {
            return Err(ProcessStartError::Holes(holes.join(", ")));
        }
        let (pool, _) = Pool::start(starter.clone(), config.threads.max(1), bounds)
            .await
            .map_err(|error| ProcessStartError::Worker(error.to_string()))?;
        if !probe.landlock {
            tracing::warn!(
                "this kernel has no Landlock: only the filter of system calls keeps workers from files"
            );
        }
        if !probe.network_namespace {
            tracing::warn!(
                "workers have no network namespace of their own (the kernel or the container forbids it): only the \
                 filter of system calls keeps them from the network"
            );
        }
        Ok(ProcessSandbox {
            pool,
            compilers: Compilers::new(starter, config.compile),
            fingerprint,
            installed: AtomicU64::new(0),
        })
    }
}

impl ProcessSandbox {
    fn run_in_worker(
        &self,
        job: Job,
        lease: Lease,
        start_by: Option<Instant>,
    ) -> BoxFuture<'static, Result<Completion, Lost>> {
        let pool = Arc::clone(&self.pool);
        Box::pin(async move {
            let installed = job.artifact.compiled::<Installed>().ok_or(Lost::ForeignArtifact)?;
            pool.run(job, installed, lease, start_by).await
        })
    }
}

async fn probe(starter: &Starter) -> Result<Probe, ProcessStartError> {
    let failed = |error: &dyn std::fmt::Display| ProcessStartError::Worker(error.to_string());
    let mut started = connection::start(starter, Role::Probe, 0, 0).await.map_err(|error| failed(&error))?;
    let told = tokio::time::timeout(PROBE_TIME, started.connection.receive(&mut started.receiver)).await;
    let told = told.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    message::message(&told).map_err(|error| failed(&error))
}

impl Drop for ProcessSandbox {
    fn drop(&mut self) {
        self.pool.close();
    }
}

impl Sandbox for ProcessSandbox {
    fn compile(&self, mode: Mode, code: Bytes) -> BoxFuture<'static, Result<Compiled, CompileError>> {
        Box::pin(Arc::clone(&self.compilers).compile(mode, code))
    }

    fn install(&self, compiled: &Compiled) -> Result<Artifact, InstallError> {
        let file =
            memfile::holding(compiled.code()).map_err(|error| InstallError::Machine(error.to_string()))?;
        if !looks_whole(compiled) {
            return Err(InstallError::Foreign("it is not what the engine makes".into()));
        }
        let function = Sha256::digest(compiled.code()).into();
        let installed = Installed {
            function,
            number: self.installed.fetch_add(1, Ordering::Relaxed),
            mode: compiled.mode(),
            initial_bytes: compiled.initial_bytes(),
            file,
        };
        Ok(Artifact::new(Arc::new(installed), compiled.code().len()))
    }

    fn max_compiles(&self) -> usize {
        self.compilers.at_once()
    }

    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn run(&self, job: Job, lease: Lease) -> BoxFuture<'static, Result<Completion, Lost>> {
        self.run_in_worker(job, lease, None)
    }

    fn run_by(
        &self,
        job: Job,
        lease: Lease,
        start_by: Instant,
    ) -> BoxFuture<'static, Result<Completion, Lost>> {
        self.run_in_worker(job, lease, Some(start_by))
    }

    fn is_suspect(&self, artifact: &Artifact, author: &str) -> bool {
        let installed = artifact.compiled::<Installed>();
        installed.is_none_or(|installed| self.pool.is_suspect(&installed.function, author))
    }

    fn max_runs(&self) -> usize {
        self.pool.most_runs()
    }

    fn load(&self) -> Load {
        Load {
            instances: self.pool.in_flight(),
            slots: self.pool.most_runs(),
            ready: self.pool.waiting(),
            compiling: self.compilers.under_way(),
            workers: self.pool.workers(),
            shared_workers: self.pool.shared(),
            worker_deaths: self.pool.deaths(),
            ..Load::default()
        }
    }
}

/// Does what a worker or a compiler does, if that is what this process was started for, and returns
/// its exit code; `None` in any other process. To be called first of all, before there is a second
/// thread.
pub fn main_of_worker() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let argument = arguments.next()?;
    let role = Role::ALL.into_iter().find(|role| argument == role.argument())?;
    let socket = rustix::stdio::stdin();
    // Somebody typed it.
    if arguments.next().is_some() || !socket::is_one(socket) {
        return None;
    }
    let served = match role {
        Role::Compiler => compiler::serve(socket),
        Role::Probe => probe::serve(socket, &worker::limits(1)),
        Role::Worker => worker::serve(socket),
    };
    Some(if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
