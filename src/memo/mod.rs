//! Outputs of functions that can only ever answer the same: a call that was made before need not run.
//!
//! In: a call that passed everything that stands before its run, and the output of a run that ended well. Out: that output,
//! for the very same call. Never: decide who may call, keep anything but an output that the guest gave in time and
//! within its limits, or give one caller's to another, unless the operator wants that of public functions: how fast an answer
//! comes tells that somebody had it before.
//!
//! Only functions of `pure-v1` are deterministic by construction: they import nothing, see no clock and no
//! randomness, and their NaNs are canonical. What is kept is found by the hash of all that could make a difference
//! (`key`), lives in this process's memory alone, weighs no more than the operator gave it, and is forgotten after
//! ten minutes: a worker that somebody took over can forge the runs that it holds, and nothing of it should last.

mod key;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;

use crate::clock::Clock;
use crate::lexicon::Mode;
use crate::policy::Caller;
use crate::registry::Function;
use crate::sandbox::Limits;

pub use key::Key;

/// Longer inputs are hardly sent twice, and hashing them would hold up a thread that serves.
const MAX_INPUT_BYTES: usize = 64 * 1024;
/// Longer outputs would each push out many.
const MAX_OUTPUT_BYTES: usize = 256 * 1024;
/// How long an output is given again. As long as a function stays under suspicion after its worker died, so that
/// none from before that comes back.
pub const KEPT_FOR: Duration = Duration::from_secs(600);
/// What an entry takes beside its output: the key, the cache's own nodes and counters.
const ENTRY_BYTES: usize = 256;

/// What the operator chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoConfig {
    /// Bytes that kept outputs may take; nothing is kept where it is 0.
    pub bytes: u64,
    /// Whether callers share what public functions answered.
    pub across_callers: bool,
    /// Differs where another engine, or the same with other settings, might answer otherwise.
    pub engine: u64,
}

/// Keeps outputs. Cheap to clone.
#[derive(Clone)]
pub struct Memo {
    kept: Option<Cache<Key, Arc<Entry>>>,
    across_callers: bool,
    engine: u64,
    clock: Clock,
}

/// What was kept, and when, counted from the Unix epoch.
struct Entry {
    kept: Arc<Kept>,
    since: Duration,
}

/// What a run answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// The output, as the guest wrote it.
    pub output: Bytes,
    /// Its length as the guest handed it out, as `usage` tells it.
    pub output_bytes: u64,
    /// Where it does not meet the schema that describes it.
    pub mismatch: Option<String>,
}

impl Memo {
    /// Keeps nothing yet.
    pub fn new(config: MemoConfig, clock: Clock) -> Memo {
        let kept = (config.bytes > 0).then(|| {
            Cache::builder()
                .max_capacity(config.bytes)
                .weigher(|_, entry: &Arc<Entry>| u32::try_from(entry.kept.weight()).unwrap_or(u32::MAX))
                .build()
        });
        Memo { kept, across_callers: config.across_callers, engine: config.engine, clock }
    }

    /// The key of a call; none if its output is not to be kept or looked for.
    ///
    /// Callers without a token are nobody in particular, so that what one of them had another would get: they have
    /// a key only where callers share.
    pub fn key(&self, caller: &Caller, function: &Function, limits: &Limits, input: &[u8]) -> Option<Key> {
        let metadata = &function.metadata;
        if self.kept.is_none() || metadata.mode != Mode::PureV1 || input.len() > MAX_INPUT_BYTES {
            return None;
        }
        let owner = match caller.did() {
            _ if self.across_callers && metadata.public => None,
            Some(did) => Some(did),
            None => return None,
        };
        Some(Key::of(owner, function, limits, self.engine, input))
    }

    /// What the call of this key answered.
    pub fn find(&self, key: &Key) -> Option<Arc<Kept>> {
        let entry = self.kept.as_ref()?.get(key)?;
        let age = self.clock.since_epoch().checked_sub(entry.since)?;
        (age < KEPT_FOR).then(|| Arc::clone(&entry.kept))
    }

    /// Keeps what the call of this key answered, unless it is too long.
    pub fn keep(&self, key: Key, kept: Kept) {
        if let Some(cache) = self.kept.as_ref().filter(|_| kept.output.len() <= MAX_OUTPUT_BYTES) {
            // Of its own, lest a short output keep the whole message alive that it came in.
            let output = Bytes::copy_from_slice(&kept.output);
            let kept = Arc::new(Kept { output, ..kept });
            cache.insert(key, Arc::new(Entry { kept, since: self.clock.since_epoch() }));
        }
    }

    /// What is kept at this moment.
    pub fn stats(&self) -> Stats {
        let Some(cache) = &self.kept else { return Stats::default() };
        cache.run_pending_tasks();
        Stats { outputs: cache.entry_count(), bytes: cache.weighted_size() }
    }
}

impl Kept {
    fn weight(&self) -> usize {
        self.output.len() + self.mismatch.as_ref().map_or(0, String::len) + ENTRY_BYTES
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Outputs.
    pub outputs: u64,
    /// What they weigh.
    pub bytes: u64,
}

#[cfg(test)]
mod tests;
