//! Whether what a worker says of a run can be true.

use std::time::{Duration, Instant};

use crate::sandbox::{Completion, Failure, HostCall, Limits, Logs, MAX_PAGE, Outcome, Usage, is_one_value};

/// The longest message of a failure, beside what a guest may say itself.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// What a run was sent with, and what it has had since.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) limits: Limits,
    input_bytes: u64,
    sent: Instant,
    calls: u32,
    bytes: u64,
}

/// What no honest worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lie {
    #[error("its message is too long")]
    LongMessage,
    #[error("it made more host calls than a run may")]
    ManyCalls,
    #[error("its output is not one JSON value")]
    NotOneValue,
    #[error("it failed well")]
    OkFailure,
    #[error("its output is longer than was allowed")]
    TooLong,
    #[error("it made two host calls at once")]
    TwoCalls,
}

impl Asked {
    pub(super) fn new(limits: Limits, input_bytes: usize) -> Asked {
        Asked { limits, input_bytes: input_bytes as u64, sent: Instant::now(), calls: 0, bytes: 0 }
    }

    /// Counts a host call. An honest worker stops a run that has made too many, or was brought too
    /// much, by itself.
    pub(super) fn calls(&mut self, wanted: HostCall) -> Result<HostCall, Lie> {
        self.calls += 1;
        if self.calls > self.limits.host_calls || self.bytes > self.limits.host_bytes {
            return Err(Lie::ManyCalls);
        }
        Ok(match wanted {
            HostCall::ListCollection { repo, collection, cursor, limit } => {
                HostCall::ListCollection { repo, collection, cursor, limit: limit.clamp(1, MAX_PAGE) }
            }
            wanted => wanted,
        })
    }

    #[cfg(test)]
    pub(super) fn has_made_no_call(&self) -> bool {
        self.calls == 0
    }

    /// Counts what a host call brought.
    pub(super) fn receives(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// Takes from a completion what can be true: figures are cut to what is possible, and what is wrong
/// in itself is a lie.
pub(super) fn checked(said: Completion, asked: &Asked) -> Result<Completion, Lie> {
    let Asked { limits, input_bytes, sent, calls, .. } = asked;
    let passed = sent.elapsed();
    let output_bytes = match &said.result {
        Ok(output) if output.len() > limits.output_bytes => return Err(Lie::TooLong),
        Ok(output) if !is_one_value(output) => return Err(Lie::NotOneValue),
        Ok(_) => said.usage.output_bytes.min(limits.output_bytes as u64),
        // What an instance can point at.
        Err(failure) => {
            check_failure(failure, limits)?;
            said.usage.output_bytes.min(u64::from(u32::MAX))
        }
    };
    let usage = Usage {
        cpu: said.usage.cpu.min(passed),
        peak_memory_bytes: said.usage.peak_memory_bytes.min(limits.memory_bytes),
        host_calls: *calls,
        input_bytes: *input_bytes,
        output_bytes,
    };
    let wall = said.wall.min(passed.max(Duration::from_micros(1)));
    Ok(Completion { result: said.result, wall, usage, logs: cut(said.logs) })
}

fn check_failure(failure: &Failure, limits: &Limits) -> Result<(), Lie> {
    if failure.outcome == Outcome::Ok {
        return Err(Lie::OkFailure);
    }
    if failure.message.len() > limits.output_bytes.saturating_add(MAX_MESSAGE_BYTES) {
        return Err(Lie::LongMessage);
    }
    Ok(())
}

/// The lines that a run may have.
fn cut(said: Logs) -> Logs {
    let mut logs = Logs::default();
    for line in &said.lines {
        if logs.cut {
            break;
        }
        logs.add(line.level, &line.message);
    }
    logs.cut |= said.cut;
    logs
}

/// A worker's own words, fit for the log.
pub(super) fn shown(reason: &str) -> String {
    const LONGEST: usize = 300;
    reason.chars().take(LONGEST).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sandbox::{LogLevel, LogLine};

    const LIMITS: Limits = Limits {
        memory_bytes: 1 << 20,
        duration: Duration::from_millis(100),
        output_bytes: 10,
        host_calls: 2,
        host_bytes: 100,
    };

    fn asked() -> Asked {
        Asked::new(LIMITS, 7)
    }

    fn said(result: Result<&'static str, Failure>) -> Completion {
        Completion {
            result: result.map(|output| Bytes::from_static(output.as_bytes())),
            wall: Duration::ZERO,
            usage: Usage::default(),
            logs: Logs::default(),
        }
    }

    fn failure(outcome: Outcome, length: usize) -> Failure {
        Failure { outcome, message: "x".repeat(length) }
    }

    #[test]
    fn an_output_must_be_exactly_one_value_within_its_cap() {
        let cases = [
            ("{\"a\":[1]}", None),
            ("1", None),
            ("", Some(Lie::NotOneValue)),
            (" 1", Some(Lie::NotOneValue)),
            ("1 2", Some(Lie::NotOneValue)),
            ("{\"a\":", Some(Lie::NotOneValue)),
            ("12345678901", Some(Lie::TooLong)),
        ];
        for (output, lie) in cases {
            assert_eq!(checked(said(Ok(output)), &asked()).err(), lie, "{output}");
        }
    }

    #[test]
    fn a_failure_must_be_one_and_not_too_long() {
        let most = 10 + MAX_MESSAGE_BYTES;
        let cases = [
            (failure(Outcome::Trap, most), None),
            (failure(Outcome::Trap, most + 1), Some(Lie::LongMessage)),
            (failure(Outcome::Ok, 1), Some(Lie::OkFailure)),
        ];
        for (failure, lie) in cases {
            assert_eq!(checked(said(Err(failure)), &asked()).err(), lie);
        }
    }

    #[test]
    fn figures_are_cut_to_what_is_possible() {
        let mut asked = asked();
        let wanted = HostCall::ReadRecord { at_uri: String::new() };
        assert_eq!(asked.calls(wanted.clone()), Ok(wanted));
        let usage = Usage {
            cpu: Duration::MAX,
            peak_memory_bytes: u64::MAX,
            host_calls: 77,
            input_bytes: 99,
            output_bytes: u64::MAX,
        };
        let told = checked(Completion { wall: Duration::MAX, usage, ..said(Ok("123")) }, &asked).unwrap();
        assert!(told.wall < Duration::from_secs(10) && told.usage.cpu < Duration::from_secs(10));
        let usage = Usage { cpu: Duration::ZERO, ..told.usage };
        let most = Usage {
            cpu: Duration::ZERO,
            peak_memory_bytes: 1 << 20,
            host_calls: 1,
            input_bytes: 7,
            output_bytes: 10,
        };
        assert_eq!(usage, most);
    }

    #[test]
    fn logs_are_cut_to_what_a_run_may_write() {
        let line = LogLine { level: LogLevel::Info, message: "x".repeat(5_000) };
        let logs = Logs { lines: vec![line; 300], cut: false };
        let told = checked(Completion { logs, ..said(Ok("1")) }, &asked()).unwrap().logs;
        assert_eq!((told.lines.len(), told.lines[0].message.len(), told.cut), (1, 4_096, true));
    }

    #[test]
    fn host_calls_are_counted_and_their_pages_bounded() {
        let list = |limit| HostCall::ListCollection {
            repo: String::new(),
            collection: String::new(),
            cursor: None,
            limit,
        };
        let mut counted = asked();
        assert_eq!(counted.calls(list(0)), Ok(list(1)));
        assert_eq!(counted.calls(list(1_000)), Ok(list(100)));
        assert_eq!(counted.calls(list(1)), Err(Lie::ManyCalls));
        let mut brought = asked();
        brought.receives(101);
        assert_eq!(brought.calls(list(1)), Err(Lie::ManyCalls));
    }
}
