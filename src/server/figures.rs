//! What a run said, in the shapes of an answer. The command `run` tells it in the same.

use std::time::Duration;

use serde::Serialize;

use crate::sandbox::LogLine;

/// A line of a run's log.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    level: &'static str,
    message: &'a str,
}

impl<'a> From<&'a LogLine> for Line<'a> {
    fn from(line: &'a LogLine) -> Line<'a> {
        Line { level: line.level.as_str(), message: &line.message }
    }
}

/// Whole milliseconds, halves up.
pub(crate) fn rounded_millis(time: Duration) -> u64 {
    (time.as_micros() as u64 + 500) / 1000
}
