//! The pool that sandboxes run in: admission, compilation, and the queue of runs.
//!
//! In: code by CID and jobs. Out: artifacts and outcomes. Never: interpret what a guest answered.
//!
//! [`Workers`] stands in front of a [`Sandbox`] and sees to it that nothing is done twice at once and
//! that everything has a bound: modules that are fetched and compiled (`prepare`), artifacts that are
//! kept in memory and on disk (`store`, through `disk`), refusals that are remembered, runs that are under way or wait (`run`), and the memory that all of
//! them may have together. Runs that wait take turns between callers (`lines`), everything else waits in the order of its
//! arrival; what cannot be done in time is told so at once or by its deadline, never dropped silently.

use std::sync::Arc;
use std::time::Duration;

use crate::sandbox::{Artifact, Load, Sandbox};

mod cache_state;
mod compile_end;
mod disk;
mod flights;
mod lines;
mod prepare;
#[cfg(target_os = "linux")]
pub mod process;
mod runs;
mod store;
mod turns;

pub use cache_state::CacheState;
pub use compile_end::CompileEnd;
pub use prepare::{Prepare, PrepareError, ReadAhead};
pub use runs::NotRun;
pub use store::{Flaw, Name, Store, StoreConfig, StoreError, StoreStats};

use disk::Disk;
use prepare::Preparations;
use runs::Runs;

/// When a caller who was told that there is no room may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How much may go on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkersConfig {
    /// Memory of all guests together. Each run reserves its whole limit of it before it starts.
    pub memory_budget_bytes: u64,
    /// Runs under way at once; the sandbox's own bound wins if it is lower.
    pub max_runs: usize,
    /// Runs that may wait for a place or for memory. One caller may have as many waiting as places are left.
    pub max_waiting_runs: usize,
    /// Modules being compiled at once, of different authors; the sandbox's own bound wins if it is lower.
    pub max_compiles: usize,
    /// Modules being fetched, waiting to be compiled, or being compiled. Each may hold a module's
    /// bytes, up to [`crate::sandbox::MAX_MODULE_BYTES`].
    pub max_preparing: usize,
    /// As many of these as one author may have.
    pub max_preparing_per_author: usize,
    /// Memory for artifacts that are kept.
    pub artifact_cache_bytes: u64,
    /// How many these are at most. Each keeps a file descriptor and some mappings, of which there are only so
    /// many, however small it is.
    pub max_artifacts: usize,
    /// How long a module's refusal is remembered.
    pub refusal_ttl: Duration,
}

impl Default for WorkersConfig {
    fn default() -> WorkersConfig {
        WorkersConfig {
            memory_budget_bytes: 2 << 30,
            max_runs: 240,
            max_waiting_runs: 2_000,
            max_compiles: 4,
            max_preparing: 64,
            max_preparing_per_author: 4,
            artifact_cache_bytes: 256 << 20,
            max_artifacts: 4_096,
            refusal_ttl: Duration::from_secs(600),
        }
    }
}

/// Compiles and runs functions in a sandbox, within bounds. Cheap to clone.
#[derive(Clone)]
pub struct Workers {
    preparations: Arc<Preparations>,
    runs: Arc<Runs>,
    sandbox: Arc<dyn Sandbox>,
}

impl Workers {
    /// Puts a queue in front of a sandbox. What is compiled is kept in `store` too, where there is one.
    pub fn start(config: WorkersConfig, sandbox: Arc<dyn Sandbox>, store: Option<Store>) -> Workers {
        let disk = store.map(|store| Disk::new(store, Arc::clone(&sandbox)));
        Workers {
            preparations: Arc::new(Preparations::new(&config, Arc::clone(&sandbox), disk)),
            runs: Arc::new(Runs::new(&config, Arc::clone(&sandbox))),
            sandbox,
        }
    }

    /// Whether runs of this function of `author` are under suspicion, or refused for what earlier ones did.
    pub fn is_suspect(&self, artifact: &Artifact, author: &str) -> bool {
        self.sandbox.is_suspect(artifact, author)
    }

    /// What is going on, for metrics. Figures are read one after the other, so they may disagree by a
    /// little.
    pub fn stats(&self) -> Stats {
        Stats {
            runs: self.runs.under_way(),
            max_runs: self.runs.max_places(),
            waiting_runs: self.runs.waiting(),
            memory_reserved_bytes: self.runs.memory_reserved_bytes(),
            memory_budget_bytes: self.runs.memory_budget_bytes(),
            preparing: self.preparations.under_way(),
            compiles_begun: self.preparations.compiles_begun(),
            artifacts: self.preparations.artifacts(),
            artifact_bytes: self.preparations.artifact_bytes(),
            store: self.preparations.store_stats(),
            sandbox: self.sandbox.load(),
        }
    }
}

/// What [`Workers`] are doing at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Runs under way.
    pub runs: usize,
    /// Runs that may be under way at once.
    pub max_runs: usize,
    /// Runs that wait for a place or for memory.
    pub waiting_runs: usize,
    /// Memory that the runs under way have reserved.
    pub memory_reserved_bytes: u64,
    /// Memory that there is to reserve.
    pub memory_budget_bytes: u64,
    /// Modules being fetched or compiled, or waiting to be.
    pub preparing: usize,
    /// Modules handed to the compiler since the start.
    pub compiles_begun: u64,
    /// Artifacts that are kept.
    pub artifacts: u64,
    /// What they weigh.
    pub artifact_bytes: u64,
    /// What went to the disk and came from it. All zeros where there is no store.
    pub store: StoreStats,
    /// What goes on in the sandbox.
    pub sandbox: Load,
}

#[cfg(test)]
mod tests;
