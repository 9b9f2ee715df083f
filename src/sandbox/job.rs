//! What a run is given.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Artifact;

/// One run that is to be made.
#[derive(Clone)]
pub struct Job {
    /// The compiled function.
    pub artifact: Artifact,
    /// Whose function it is.
    pub owner: Owner,
    /// The input: one JSON value in UTF-8.
    pub input: Bytes,
    /// What the run may use.
    pub limits: Limits,
    /// Where host calls go.
    pub door: Arc<dyn Door>,
}

/// What one run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All memories and tables together, from before the instance exists.
    pub memory_bytes: u64,
    /// Time from the guest's first step until its output is in our hands, host calls included; time
    /// in which the run is ready but not on a processor does not count.
    pub duration: Duration,
    /// Length of the output.
    pub output_bytes: usize,
}

/// Whose function a run is, so that a sandbox with walls can keep owners apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// A name that differs between owners; means nothing else here.
    pub name: Arc<str>,
    /// Whether the function is public. What is private never shares a worker with another owner's.
    pub public: bool,
}

/// Where a guest's host calls go: the capability object that the service holds for one run.
///
/// Guests of `pure-v1` have no host calls, so there is nothing to ask for yet.
pub trait Door: Send + Sync + 'static {}

/// The door of a run that has no host calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDoor;

impl Door for NoDoor {}

/// Something that is to be given back when a run has left nothing behind: its place among the runs,
/// its share of memory. A run outlives the future that waits for it by a tick or two, so these cannot
/// hang on that future.
#[derive(Default)]
pub struct Lease(Option<Box<dyn Any + Send>>);

impl Lease {
    /// A lease that holds nothing.
    pub fn none() -> Lease {
        Lease(None)
    }

    /// A lease that drops `held` when the run is gone.
    pub fn holding(held: impl Any + Send) -> Lease {
        Lease(Some(Box::new(held)))
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.0.is_some()).finish()
    }
}
