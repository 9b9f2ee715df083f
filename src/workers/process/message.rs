//! What the service and its processes say to each other.
//!
//! Postcard in packets. Both ends are one build, since processes are started from the very file that the
//! service runs (`program`); the service believes nothing else that it is told.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::socket::{Incoming, Outgoing};
use crate::lexicon::Mode;
use crate::sandbox::{Completion, Context, Denied, HostCall, HostReply, Limits};

/// The longest body that goes to a process: an input, or all that host calls may bring in.
pub(super) const MAX_TO_PROCESS: u64 = 64 * 1024 * 1024;
/// The longest body that comes from one: an output at the highest cap there is, a message, logs.
pub(super) const MAX_FROM_PROCESS: u64 = 12 * 1024 * 1024;

/// What a worker finds in its socket when it starts. A compiler finds its limits there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Begin {
    /// Threads that run guests.
    pub(super) threads: usize,
    /// Runs at once.
    pub(super) slots: usize,
}

/// What a process says first, when it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Began {
    /// It stands behind these walls.
    Ready(Walls),
    /// It cannot; for the operator.
    Failed(String),
}

/// What holds a process, beside the filter of system calls and the limits, which always do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walls {
    /// No path can be opened (Landlock).
    pub(super) landlock: bool,
    /// It has a network of its own, with nothing in it.
    pub(super) network_namespace: bool,
    /// It is nobody outside of a namespace of its own.
    pub(super) user_namespace: bool,
}

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// Stop a run, if it is still going on. It will be answered all the same.
    Cancel { run: u64 },
    /// Load the native code in the file beside this, and know it by this number.
    Load { module: u64, mode: Mode, initial_bytes: u64 },
    /// The answer to a host call.
    Reply { run: u64, call: u32, reply: Result<HostReply, Denied> },
    /// Run a guest.
    Run { run: u64, module: u64, limits: Limits, context: Context, input: Payload },
    /// Say that you are alive.
    Speak,
    /// Forget a module. Runs of it go on.
    Unload { module: u64 },
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FromWorker {
    /// It reads what it is told.
    Alive,
    /// A run ended. Nothing of it is left.
    Ended { run: u64, ending: Result<Completion, String> },
    /// A guest asks for something.
    HostCall { run: u64, call: u32, wanted: HostCall, time_left: Duration },
}

/// What a compiler is told, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToCompiler {
    pub(super) mode: Mode,
    pub(super) code: Payload,
}

/// What a compiler says, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FromCompiler {
    /// The native code is in the file beside this.
    Compiled,
    /// It failed for a reason of its own.
    Lost,
    /// The code would be too long.
    TooLarge { bytes: usize },
    /// The compiler refuses the module.
    Refused { reason: String },
    /// It does not fit what its host offers.
    Unlinkable { reason: String },
}

/// Bytes in one piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Payload(#[serde(with = "crate::sandbox::payload")] pub(super) bytes::Bytes);

/// Puts a message, and perhaps a file, in a packet.
pub(super) fn packet(message: &impl Serialize, file: Option<OwnedFd>) -> Result<Outgoing, Errno> {
    // Nothing that is sent has a map or a length that is not known, which is all that can fail.
    let body = postcard::to_stdvec(message).map_err(|_| Errno::INVAL)?;
    Outgoing::new(body, file)
}

/// A packet that says nothing that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message is not one that is known")]
pub(super) struct Unknown;

/// Reads the message of a packet, all of it.
pub(super) fn message<M: DeserializeOwned>(incoming: &Incoming) -> Result<M, Unknown> {
    match postcard::take_from_bytes(&incoming.body) {
        Ok((message, [])) => Ok(message),
        _ => Err(Unknown),
    }
}
