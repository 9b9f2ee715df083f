//! What the process's file descriptors are for: half of them for connections, a quarter for compiled functions,
//! and the rest for everything else.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections that there may be at once.
pub(super) fn for_connections() -> usize {
    (all() / 2).max(16)
}

/// Compiled functions that may be kept in memory.
pub(super) fn for_artifacts() -> usize {
    (all() / 4).max(16)
}

/// Systems give a process few at first, and more when it asks.
fn all() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors).unwrap_or(usize::MAX)
}
