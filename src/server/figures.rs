//! What a run used and said, in the shapes of an answer. The command `run` tells it in the same.

use std::time::Duration;

use serde::Serialize;

use crate::sandbox::{self, LogLine};

/// What a run used. Integers only: clients of the data model refuse floats.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    cpu_micros: u64,
    peak_memory_bytes: u64,
    host_calls: u32,
    input_bytes: u64,
    output_bytes: u64,
}

impl From<&sandbox::Usage> for Usage {
    fn from(used: &sandbox::Usage) -> Usage {
        Usage {
            cpu_micros: used.cpu.as_micros() as u64,
            peak_memory_bytes: used.peak_memory_bytes,
            host_calls: used.host_calls,
            input_bytes: used.input_bytes,
            output_bytes: used.output_bytes,
        }
    }
}

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
