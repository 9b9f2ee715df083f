//! How a run ended and what it cost.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Logs;
use super::payload::result as result_payload;

/// How a run ended. The one source of the answer's `outcome`, the metric's label, the audit field and
/// the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The caller went away, or the service is stopping.
    Canceled,
    /// The guest itself answered with an error.
    GuestError,
    /// The guest made more host calls than a run may.
    HostCallLimit,
    /// The guest trapped after it was refused more memory than its record allows.
    MemoryExceeded,
    /// The guest succeeded.
    Ok,
    /// What the guest handed out is no output: a pointer to nowhere, or not one JSON value.
    OutputInvalid,
    /// The output is longer than an answer may be.
    OutputTooLarge,
    /// The guest ran longer than its record allows.
    Timeout,
    /// The guest trapped: `unreachable`, out of bounds, stack exhausted and the like.
    Trap,
}

impl Outcome {
    /// Every outcome, in the order of the lexicon.
    pub const ALL: [Outcome; 9] = [
        Outcome::Ok,
        Outcome::GuestError,
        Outcome::Trap,
        Outcome::Timeout,
        Outcome::MemoryExceeded,
        Outcome::OutputInvalid,
        Outcome::OutputTooLarge,
        Outcome::HostCallLimit,
        Outcome::Canceled,
    ];

    /// The outcome as it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Canceled => "canceled",
            Outcome::GuestError => "guestError",
            Outcome::HostCallLimit => "hostCallLimit",
            Outcome::MemoryExceeded => "memoryExceeded",
            Outcome::Ok => "ok",
            Outcome::OutputInvalid => "outputInvalid",
            Outcome::OutputTooLarge => "outputTooLarge",
            Outcome::Timeout => "timeout",
            Outcome::Trap => "trap",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A run that ended, well or badly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The guest's output, exactly one JSON value without whitespace around it, byte for byte as the
    /// guest wrote it; or how it failed.
    #[serde(with = "result_payload")]
    pub result: Result<Bytes, Failure>,
    /// Time from the guest's first step to its output in our hands, without the time in which it was
    /// ready but not on a processor. This is what `maxDurationMs` bounds.
    pub wall: Duration,
    /// What the run cost.
    pub usage: Usage,
    /// What the guest wrote for its author, however it ended.
    pub logs: Logs,
}

impl Completion {
    /// How the run ended.
    pub fn outcome(&self) -> Outcome {
        match &self.result {
            Ok(_) => Outcome::Ok,
            Err(failure) => failure.outcome,
        }
    }
}

/// How a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of failure; never [`Outcome::Ok`].
    pub outcome: Outcome,
    /// What happened and what to do about it, for the caller's and the author's eyes. May hold names
    /// of the guest's functions, never anything of the host's.
    pub message: String,
}

impl Failure {
    pub(super) fn new(outcome: Outcome, message: impl Into<String>) -> Failure {
        Failure { outcome, message: message.into() }
    }
}

/// What a run cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time, by the clock of the threads that ran the guest.
    pub cpu: Duration,
    /// The most that all memories and tables had together.
    pub peak_memory_bytes: u64,
    /// Host calls made.
    pub host_calls: u32,
    /// Length of the input.
    pub input_bytes: u64,
    /// Length of the output that the guest handed out, before whitespace around it was cut; zero if
    /// it handed out none.
    pub output_bytes: u64,
}

/// The same as it is told: in answers, by the command `run`, and in the audit log. Integers only: clients
/// of the data model refuse floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageTold {
    cpu_micros: u64,
    peak_memory_bytes: u64,
    host_calls: u32,
    input_bytes: u64,
    output_bytes: u64,
}

impl From<Usage> for UsageTold {
    fn from(used: Usage) -> UsageTold {
        UsageTold {
            cpu_micros: used.cpu.as_micros() as u64,
            peak_memory_bytes: used.peak_memory_bytes,
            host_calls: used.host_calls,
            input_bytes: used.input_bytes,
            output_bytes: used.output_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_spelled_as_in_the_lexicon() {
        let spelled = Outcome::ALL.map(Outcome::as_str);
        assert_eq!(
            spelled,
            [
                "ok",
                "guestError",
                "trap",
                "timeout",
                "memoryExceeded",
                "outputInvalid",
                "outputTooLarge",
                "hostCallLimit",
                "canceled"
            ]
        );
    }
}
