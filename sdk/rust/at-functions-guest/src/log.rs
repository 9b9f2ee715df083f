//! Lines for the function's author, who sees them in the answer, and in `at-functions run` and `dev`. There is room for 256
//! lines and 64 KiB in a run; what is more is cut.

use crate::raw;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For the one who looks for a fault.
    Debug,
    /// What happened.
    Info,
    /// What is odd, and went on.
    Warn,
    /// What failed.
    Error,
}

/// Adds a line.
///
/// ```
/// use at_functions::log::{Level, log};
/// use at_functions::testing::World;
///
/// let world = World::new();
/// world.run(|| log(Level::Warn, "the page is empty"));
/// assert_eq!(world.logged(), [(Level::Warn, "the page is empty".to_owned())]);
/// ```
pub fn log(level: Level, message: &str) {
    raw::log(level, message);
}

/// Adds a line of level [`Debug`](Level::Debug).
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// Adds a line of level [`Info`](Level::Info).
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// Adds a line of level [`Warn`](Level::Warn).
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// Adds a line of level [`Error`](Level::Error).
pub fn error(message: &str) {
    log(Level::Error, message);
}
