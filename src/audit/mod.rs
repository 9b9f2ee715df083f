//! Who called what, what was decided, what it cost: a line a call, in a log that shows what was done to it.
//!
//! In: the facts of a finished call. Out: a line in a file of the data directory, chained to the one before it
//! by its hash and signed at checkpoints, which is there before the caller has an answer; and, for `verify`,
//! whether a log is whole.
//! Never: an input, an output or a token; nor an answer without its line, unless the operator chose that.
//!
//! The facts (`record`), put in words (`line`), wait for whoever writes next (`log`), mostly the call itself; the writer (`writer`)
//! gives each line its place in the chain (`chain`) and has a thread for signatures and trouble; another brings what was written to the disk (`sync`) and then commits the head of the chain
//! (`head`), so that a log that ends before a committed head was cut. `AuditLog` (`log`) is what calls hold.

mod chain;
mod error;
mod files;
mod head;
mod line;
mod log;
mod record;
mod state;
mod sync;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub use chain::{Head, InvalidHead};
pub use error::{OpenError, Unwritten};
pub use files::{LogFiles, in_order};
pub use head::{Committed, committed};
pub use log::{AuditLog, AuditLogConfig};
pub use record::CallRecord;
pub use state::Stats;
pub use verify::{Expected, Findings, Flaw, Issue, verify};
