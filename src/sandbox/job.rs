//! What a run is given.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Artifact, Door};

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
    /// What the function may learn of the call.
    pub context: Arc<Context>,
    /// Where host calls go.
    pub door: Arc<dyn Door>,
}

/// What a run is, for guests that ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The caller's DID, if a signature proved it; none if the call is anonymous.
    pub caller: Option<String>,
    /// The function's at-uri, with its author's DID.
    pub function: String,
    /// The CID of the function's record.
    pub function_cid: String,
    /// What the call is named in answers and logs.
    pub request_id: String,
    /// When the run was asked for, since the Unix epoch. Clocks show this for as long as it lasts.
    pub started: Duration,
}

/// What one run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// All memories and tables together, from before the instance exists.
    pub memory_bytes: u64,
    /// Time from the guest's first step until its output is in our hands, host calls included; time
    /// in which the run is ready but not on a processor does not count.
    pub duration: Duration,
    /// Length of the output.
    pub output_bytes: usize,
    /// Host calls.
    pub host_calls: u32,
    /// Bytes that host calls bring in, all together.
    pub host_bytes: u64,
}

/// Whose function a run is, so that a sandbox with walls can keep owners apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// A name that differs between owners; means nothing else here.
    pub name: Arc<str>,
    /// Whether the function is public. What is private never shares a worker with another owner's.
    pub public: bool,
}

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
