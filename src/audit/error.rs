//! What can go wrong with the log.

use std::io;
use std::path::PathBuf;

/// Why the log cannot be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The last line of the log is not one.
    #[error(
        "the audit log's last line, in {}, is damaged: see what `at-functions audit verify` says, then move the \
         log's directory aside",
        .0.display()
    )]
    Damaged(PathBuf),
    /// The head store is not one of ours, or is damaged.
    #[error(
        "{} is damaged: restore it, or move it aside (what was cut from the audit log before is then not found)",
        .0.display()
    )]
    DamagedStore(PathBuf),
    /// Another process has the head store open.
    #[error("{} is open in another process; only one service can use a data directory", .0.display())]
    Locked(PathBuf),
    /// A file or directory could not be read or made.
    #[error("the audit log, {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The head store could not be read.
    #[error("{}: {source}", path.display())]
    Store {
        /// The store.
        path: PathBuf,
        /// Why.
        source: Box<redb::Error>,
    },
    /// No thread could be started.
    #[error("the audit log's threads could not be started: {0}")]
    Thread(io::Error),
}

impl OpenError {
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> OpenError {
        let path = path.into();
        move |source| OpenError::File { path, source }
    }
}

/// The log cannot be written, and the operator wants no calls without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the service cannot write its audit log, and answers no calls until it can")]
pub struct Unwritten {
    /// Whether the call had been let in when this came up.
    pub may_have_run: bool,
}
