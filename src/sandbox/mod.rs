//! What a worker does: runs one guest in a fresh instance, within its limits.
//!
//! In: an artifact, an input, limits, and a door for host calls. Out: an outcome and what it cost.
//! Never: know of HTTP, DIDs or repos, keep anything from one run to the next, or reach anything but
//! the door.
//!
//! [`Sandbox`] is the seam: callers hold one of these and do not know whether guests run on threads
//! of this process ([`ThreadSandbox`]) or behind a wall of their own.
//!
//! The way of a run through the files: `admission` judged the module before it was compiled
//! (`compile`) and `loaded` (`deserialize`) as an `artifact`; `executor` gives the run its turns on
//! threads of its own, which `ticker` cuts into slices, by its `bell`,
//! and `stopwatch` times; `program` speaks the ABI of its mode while `meter` counts its
//! memory; what it asks of its `host` goes through the `door`; `json` checks what came out.

use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;

use crate::lexicon::Mode;

mod admission;
mod alarm;
mod artifact;
mod bell;
mod compile;
mod component;
mod cstr;
mod deserialize;
mod door;
mod engine;
mod executor;
mod guest;
mod host;
mod job;
mod json;
mod linear;
mod loaded;
mod logs;
mod meter;
mod outcome;
pub(crate) mod payload;
mod pointer;
mod program;
mod stopwatch;
mod thread;
mod ticker;
#[cfg(test)]
mod ticks;
mod wasi;

pub use admission::{Admitted, Bound, ExportKind, MAX_MODULE_BYTES, RULES, Refusal, ValueType};
pub use artifact::Artifact;
pub use compile::Compiled;
pub use door::{Denied, Door, HostCall, HostReply, Listed, NoDoor};
pub use engine::StartError;
pub use job::{Context, Job, Lease, Limits, Owner};
pub use logs::{LogLevel, LogLine, Logs};
pub use outcome::{Completion, Failure, Outcome, Usage, UsageTold};
pub use thread::{ThreadSandbox, ThreadSandboxConfig};

pub(crate) use admission::describe;
pub(crate) use compile::{Compiler, MAX_COMPILED_BYTES, looks_whole, most_compiled_bytes};
pub(crate) use door::MAX_PAGE;
pub(crate) use executor::Source;
pub(crate) use thread::{Running, compiling_thread};

/// Judges a module by the rules of its mode, as [`Sandbox::compile`] does before it compiles. What
/// passes here is refused later only for what the compiler makes of it. Takes time in proportion to the
/// module's length.
pub fn judge(mode: Mode, code: &[u8]) -> Result<Admitted, Refusal> {
    admission::admit(mode, code)
}

/// What [`Sandbox::fingerprint`] is of every sandbox on this machine.
pub(crate) fn compiler_fingerprint() -> Result<u64, StartError> {
    Ok(compile::fingerprint(&engine::for_compiling()?))
}

/// Whether `output` is exactly one JSON value, with nothing around it.
pub(crate) fn is_one_value(output: &[u8]) -> bool {
    json::one_value(output).is_ok_and(|value| value.len() == output.len())
}

/// The mode that a file was most likely built for, by its imports and exports, whether or not it would
/// pass there; `None` if they speak for none.
pub fn likely_mode(code: &[u8]) -> Option<Mode> {
    admission::likely(code)
}

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A place in which guests are compiled and run.
pub trait Sandbox: Send + Sync + 'static {
    /// Judges a module by the rules of its mode, and compiles it if it passes. The caller has proved
    /// that the bytes are the ones it asked for.
    fn compile(&self, mode: Mode, code: Bytes) -> BoxFuture<'static, Result<Compiled, CompileError>>;

    /// Makes what was compiled ready to run, here or on an earlier day. Takes time in proportion to its
    /// length, so it is not for async threads.
    fn install(&self, compiled: &Compiled) -> Result<Artifact, InstallError>;

    /// How many modules may be compiled at once.
    fn max_compiles(&self) -> usize;

    /// A number that differs where what was compiled cannot be installed: another version or other
    /// settings of the engine, another processor.
    fn fingerprint(&self) -> u64;

    /// Runs a guest to its end. Dropping the future stops the guest within two ticks of 1 ms; `lease`
    /// is dropped when nothing of the guest is left, which may be a little later.
    fn run(&self, job: Job, lease: Lease) -> BoxFuture<'static, Result<Completion, Lost>>;

    /// The same, unless the sandbox has no place for the run by `start_by`: then it is
    /// [`Lost::NoWorker`], and has not begun.
    fn run_by(
        &self,
        job: Job,
        lease: Lease,
        start_by: Instant,
    ) -> BoxFuture<'static, Result<Completion, Lost>> {
        // Where there is a place at once or never.
        let _ = start_by;
        self.run(job, lease)
    }

    /// Whether runs of this function of `author` are under suspicion, or refused, because a sandbox of theirs
    /// crashed.
    fn is_suspect(&self, artifact: &Artifact, author: &str) -> bool {
        // Where a crash is the end of all.
        let _ = (artifact, author);
        false
    }

    /// How many runs may be under way at once; a caller that keeps to it never sees
    /// [`Lost::NoSlot`].
    fn max_runs(&self) -> usize;

    /// What is going on inside, for metrics.
    fn load(&self) -> Load;
}

/// What a sandbox is doing at a moment. Figures are read one after the other, so they may disagree
/// by a run or two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Instances that exist.
    pub instances: usize,
    /// Instances that may exist at once.
    pub slots: usize,
    /// Stacks of guests that are in the middle of a call; of one in a call within a call, two.
    pub stacks: usize,
    /// Runs that are ready and wait for their turn on a thread.
    pub ready: usize,
    /// Modules that wait to be compiled or are being compiled.
    pub compiling: usize,
    /// Bytes of ended guests' memories that are kept, zeroed, for the next ones.
    pub kept_bytes: usize,
    /// Worker processes.
    pub workers: usize,
    /// Those of them that have had runs of more than one author.
    pub shared_workers: usize,
    /// Worker processes that ended without being told to.
    pub worker_deaths: u64,
}

/// Why there is no artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// Too many modules wait to be compiled.
    #[error("too many modules are being compiled")]
    Busy,
    /// The compiler failed for a reason of its own; says nothing about the module.
    #[error("the compiler did not finish")]
    Lost,
    /// The module breaks a rule, and always will.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why compiled code cannot be run. Says nothing about the module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// It is not of this engine, or not what it is said to be. The text is for the log.
    #[error("the compiled code is not of this engine: {0}")]
    Foreign(String),
    /// The machine refused something. The text is for the log.
    #[error("the compiled code could not be loaded: {0}")]
    Machine(String),
}

/// Why a run has no outcome. Nothing here is the guest's fault, as far as can be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// The sandbox was closed before the run ended.
    #[error("the sandbox was closed")]
    Closed,
    /// The artifact was made by another sandbox.
    #[error("the artifact is of another sandbox")]
    ForeignArtifact,
    /// The machine refused something that the run needed, or the sandbox panicked. The text is for the
    /// log.
    #[error("the sandbox failed: {0}")]
    Internal(String),
    /// The worker process that had the run is gone, by its own fault or by that of another run in it.
    #[error("the worker process is gone")]
    Worker,
    /// The function ended its worker process again and again, each time alone in it.
    #[error("the function is refused for ten minutes: it has crashed its sandbox three times")]
    Quarantined,
    /// There was no worker process for the run in time.
    #[error("no worker was free in time")]
    NoWorker,
    /// More runs at once than [`Sandbox::max_runs`] allows.
    #[error("no slot is free")]
    NoSlot,
}

impl Lost {
    /// Whether the guest may have begun before it was lost.
    pub fn may_have_run(&self) -> bool {
        match self {
            Lost::Closed | Lost::Internal(_) | Lost::Worker => true,
            Lost::ForeignArtifact | Lost::NoSlot | Lost::NoWorker | Lost::Quarantined => false,
        }
    }
}
