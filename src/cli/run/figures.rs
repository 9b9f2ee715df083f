//! What a run came to: each figure beside its limit, the function's log, and what its author should
//! look at.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::door::Denials;
use crate::cli::error::shown;
use crate::cli::guest;
use crate::cli::output::{self, failure};
use crate::cli::usage::{plain, row, share};
use crate::lexicon::Mode;
use crate::sandbox::{Completion, Limits, Outcome, UsageTold};
use crate::server::{self, rounded_millis};

/// A run, to be told.
pub(super) struct Told<'a> {
    pub(super) mode: Mode,
    /// Whether the file's imports and exports said which mode it is.
    pub(super) is_guessed: bool,
    /// Whether a project's manifest says what flags do not.
    pub(super) of_project: bool,
    /// Whether the file has names of functions.
    pub(super) has_names: bool,
    pub(super) compile: Duration,
    pub(super) limits: Limits,
    pub(super) reading: Reading,
    pub(super) denied: Denials,
    pub(super) mismatch: Option<Mismatch>,
    pub(super) completion: &'a Completion,
}

/// What stands behind the reads that an online run was refused.
const ONLINE_HINT: &str = "--allow stands for the record's allowedHosts; --allow-private-network lets it read from this machine too";
/// The same in a project.
const PROJECT_HINT: &str = "Add the entry to allowed-hosts in at-functions.toml, or try it with --allow; --allow-private-network lets it read from this machine too";

/// That the output does not meet its schema.
pub(super) struct Mismatch {
    /// JSON Pointer of the place, as services tell it.
    pub(super) path: String,
    /// What is the matter, with the place.
    pub(super) why: String,
}

/// What host calls could read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Any public repo.
    Any,
    /// What so many entries allow.
    Allowed(usize),
    /// Nothing, without a network.
    Offline,
}

/// The answer of a service to this run, and what a service does not tell.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema_mismatch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    duration_ms: u64,
    usage: UsageTold,
    logs: Vec<server::Line<'a>>,
    logs_cut: bool,
    mode: &'static str,
    compile_ms: u64,
    limits: JsonLimits,
    denied: &'a [String],
    warnings: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonLimits {
    duration_ms: u64,
    memory_bytes: u64,
    host_calls: u32,
    host_bytes: u64,
    input_bytes: u64,
    output_bytes: u64,
}

impl Told<'_> {
    /// For people, beside the output.
    pub(super) fn notes(&self) -> String {
        let mut notes = Vec::new();
        if let Err(failed) = &self.completion.result {
            let what = format!("{}: {}", failed.outcome, shown(&failed.message));
            notes.push(failure(&what, self.advice(failed.outcome).as_deref()));
        }
        notes.push(self.table().trim_end().to_owned());
        notes.extend(self.denied.first.iter().map(|why| format!("denied: {}", shown(why))));
        let untold = self.denied.total - self.denied.first.len();
        if untold > 0 {
            notes.push(format!("denied: {untold} more, some of them the same"));
        }
        if self.denied.total > 0 && self.reading != Reading::Offline {
            notes.push(if self.of_project { PROJECT_HINT } else { ONLINE_HINT }.to_owned());
        }
        let logs = &self.completion.logs;
        let lines = logs.lines.iter().map(|line| (line.level.as_str(), line.message.as_str()));
        notes.extend(guest::log_lines(lines, logs.cut));
        notes.extend(self.warnings().into_iter().map(|warning| format!("warning: {warning}")));
        notes.join("\n")
    }

    /// For scripts, in place of the output.
    pub(super) fn json(&self) -> String {
        let Completion { result, wall, usage, logs } = self.completion;
        let json = Json {
            ok: result.is_ok(),
            // The sandbox hands out one JSON value.
            output: result.as_ref().ok().and_then(|output| serde_json::from_slice(output).ok()),
            output_schema_mismatch: self.mismatch.as_ref().map(|mismatch| mismatch.path.as_str()),
            error: result.as_ref().err().map(|failed| failed.message.as_str()),
            outcome: result.as_ref().err().map(|failed| failed.outcome.as_str()),
            duration_ms: rounded_millis(*wall),
            usage: (*usage).into(),
            logs: logs.lines.iter().map(server::Line::from).collect(),
            logs_cut: logs.cut,
            mode: self.mode.as_str(),
            compile_ms: rounded_millis(self.compile),
            limits: JsonLimits {
                duration_ms: self.limits.duration.as_millis() as u64,
                memory_bytes: self.limits.memory_bytes,
                host_calls: self.limits.host_calls,
                host_bytes: self.limits.host_bytes,
                input_bytes: super::MAX_PAYLOAD_BYTES as u64,
                output_bytes: self.limits.output_bytes as u64,
            },
            denied: &self.denied.first,
            warnings: self.warnings(),
        };
        output::pretty(&serde_json::to_string(&json).unwrap_or_default())
    }

    fn table(&self) -> String {
        let (usage, limits) = (&self.completion.usage, &self.limits);
        let by = if self.is_guessed { "guessed" } else { "" };
        let size = |name, used: u64, limit: u64| {
            row(name, output::size(used), output::size(limit), share(used, limit))
        };
        let micros = |time: Duration| time.as_micros() as u64;
        let wall = self.completion.wall;
        let mut rows = vec![
            plain("mode", self.mode.to_string(), by),
            plain("compile", millis(self.compile), "not counted"),
            row("time", millis(wall), millis(limits.duration), share(micros(wall), micros(limits.duration))),
            plain("cpu", millis(usage.cpu), ""),
            size("memory", usage.peak_memory_bytes, limits.memory_bytes),
            row(
                "host calls",
                usage.host_calls.to_string(),
                limits.host_calls.to_string(),
                share(usage.host_calls.into(), limits.host_calls.into()),
            ),
            size("input", usage.input_bytes, super::MAX_PAYLOAD_BYTES as u64),
            size("output", usage.output_bytes, limits.output_bytes as u64),
        ];
        if self.mode.has_host_calls() {
            rows.push(self.reads());
        }
        output::table(&rows)
    }

    fn reads(&self) -> [String; 4] {
        let (may, remark) = match self.reading {
            Reading::Offline => ("nothing".to_owned(), "--online"),
            Reading::Any => ("any public repo".to_owned(), ""),
            Reading::Allowed(0) => ("nothing".to_owned(), "--allow"),
            Reading::Allowed(1) => ("1 entry".to_owned(), ""),
            Reading::Allowed(entries) => (format!("{entries} entries"), ""),
        };
        plain("may read", may, remark)
    }

    fn warnings(&self) -> Vec<String> {
        let Ok(output) = &self.completion.result else { return Vec::new() };
        let misfit = |mismatch: &Mismatch| {
            let told = "callers are told so in `outputSchemaMismatch`; with --strict-output the run fails";
            format!("the output does not meet its schema: {}; {told}", shown(&mismatch.why))
        };
        let mut warnings: Vec<String> = self.mismatch.iter().map(misfit).collect();
        warnings.extend(guest::output_warnings(output));
        warnings
    }

    /// What to do about a failure.
    fn advice(&self, outcome: Outcome) -> Option<String> {
        let raise = |flag: &str, now: u64, most: u64, field: &str| match self.of_project {
            true => format!("Do less, or raise {flag} in at-functions.toml (now {now}, at most {most})."),
            false => format!(
                "Do less, or raise --{flag} (now {now}, at most {most}); `deploy` has the same flag for the record's {field}."
            ),
        };
        Some(match outcome {
            Outcome::GuestError => {
                "The function itself refused: look at its message and the input.".to_owned()
            }
            Outcome::HostCallLimit => format!(
                "A run may make {} host calls, which bring in {} together: ask for less.",
                self.limits.host_calls,
                output::size(self.limits.host_bytes)
            ),
            Outcome::MemoryExceeded => {
                raise("max-memory-mb", self.limits.memory_bytes >> 20, 256, "maxMemoryMb")
            }
            Outcome::OutputInvalid => {
                "An output is exactly one JSON value in UTF-8, within the function's memory; under a strict schema, one that meets it."
                    .to_owned()
            }
            Outcome::OutputTooLarge => {
                "Hand out less: only an operator can raise this, to 10 MiB at most.".to_owned()
            }
            Outcome::Timeout => {
                raise("max-duration-ms", self.limits.duration.as_millis() as u64, 5000, "maxDurationMs")
            }
            Outcome::Trap if self.has_names => "The function crashed, where the message names it.".to_owned(),
            Outcome::Trap => {
                "The function crashed. Build it with names (without `strip`), and the message says where."
                    .to_owned()
            }
            Outcome::Canceled | Outcome::Ok => return None,
        })
    }
}

fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 10.0 { format!("{millis:.2} ms") } else { format!("{millis:.0} ms") }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::sandbox::{Failure, LogLevel, LogLine, Logs, Usage};

    fn completion(result: Result<&'static str, (Outcome, &str)>) -> Completion {
        Completion {
            result: result
                .map(|output| Bytes::from_static(output.as_bytes()))
                .map_err(|(outcome, message)| Failure { outcome, message: message.to_owned() }),
            wall: Duration::from_micros(2340),
            usage: Usage {
                cpu: Duration::from_micros(2200),
                peak_memory_bytes: 1 << 20,
                host_calls: 3,
                input_bytes: 17,
                output_bytes: 53,
            },
            logs: Logs::default(),
        }
    }

    fn told(completion: &Completion) -> Told<'_> {
        Told {
            mode: Mode::HostV1,
            is_guessed: true,
            of_project: false,
            has_names: false,
            compile: Duration::from_millis(45),
            limits: Limits {
                memory_bytes: 32 << 20,
                duration: Duration::from_millis(100),
                output_bytes: 1 << 20,
                host_calls: 1000,
                host_bytes: 32 << 20,
            },
            reading: Reading::Offline,
            denied: Denials::default(),
            mismatch: None,
            completion,
        }
    }

    #[test]
    fn each_figure_stands_beside_its_limit() {
        let expected = "  mode        host-v1   guessed
  compile     45 ms     not counted
  time        2.34 ms   of 100 ms    3 %
  cpu         2.20 ms
  memory      1.0 MiB   of 32.0 MiB  4 %
  host calls  3         of 1000      1 %
  input       17 bytes  of 1.0 MiB   1 %
  output      53 bytes  of 1.0 MiB   1 %
  may read    nothing   --online";
        assert_eq!(told(&completion(Ok("{}"))).notes(), expected);
    }

    #[test]
    fn a_failure_is_told_with_the_limit_to_raise() {
        let cases = [
            (Outcome::Timeout, "raise --max-duration-ms (now 100, at most 5000)"),
            (Outcome::MemoryExceeded, "raise --max-memory-mb (now 32, at most 256)"),
            (Outcome::HostCallLimit, "1000 host calls, which bring in 32.0 MiB together"),
            (Outcome::Trap, "Build it with names"),
            (Outcome::OutputTooLarge, "only an operator can raise this"),
            (Outcome::OutputInvalid, "exactly one JSON value"),
            (Outcome::GuestError, "The function itself refused"),
        ];
        for (outcome, advice) in cases {
            let notes = told(&completion(Err((outcome, "why\x1b[2J")))).notes();
            assert!(notes.starts_with(&format!("error: {outcome}: why\\u{{1b}}[2J\n")), "{notes}");
            assert!(notes.lines().nth(1).unwrap().contains(advice), "{notes}");
        }
        let canceled = told(&completion(Err((Outcome::Canceled, "why")))).notes();
        assert!(canceled.starts_with("error: canceled: why\n  mode "), "{canceled}");
    }

    #[test]
    fn logs_refusals_and_warnings_are_told_without_driving_the_terminal() {
        let mut completion = completion(Ok(r#"{"a":[0.5,0.5,0.5,0.5,0.5,0.5]}"#));
        completion.logs = Logs {
            lines: vec![LogLine { level: LogLevel::Warn, message: "two\nlines\x07".into() }],
            cut: true,
        };
        let denied = Denials { first: vec!["cannot read \x1b".into()], total: 3 };
        let told = Told { denied, ..told(&completion) };
        let notes = told.notes();
        let tail: Vec<&str> = notes.lines().skip(9).collect();
        assert_eq!(
            tail,
            [
                r"denied: cannot read \u{1b}",
                "denied: 2 more, some of them the same",
                r"log warn: two\u{a}lines\u{7}",
                "log: there was more than there is room for",
                "warning: /a/0: 0.5 is a fraction; write a text or a scaled whole number",
                "warning: /a/1: 0.5 is a fraction; write a text or a scaled whole number",
                "warning: /a/2: 0.5 is a fraction; write a text or a scaled whole number",
                "warning: /a/3: 0.5 is a fraction; write a text or a scaled whole number",
                "warning: /a/4: 0.5 is a fraction; write a text or a scaled whole number",
                "warning: 1 more places like these",
                "warning: clients that check the data model refuse an answer with such an output",
            ]
        );
    }

    #[test]
    fn refusals_of_an_online_run_are_told_with_the_flags_that_decide() {
        let completion = completion(Ok("{}"));
        let denied = Denials { first: vec!["why".into()], total: 1 };
        let online = Told { denied, reading: Reading::Allowed(1), ..told(&completion) };
        assert!(
            online.notes().ends_with(&format!("  1 entry\ndenied: why\n{ONLINE_HINT}")),
            "{}",
            online.notes()
        );
        let silent = Told { reading: Reading::Allowed(1), ..told(&completion) };
        assert!(!silent.notes().contains(ONLINE_HINT));
    }

    #[test]
    fn json_keeps_the_output_as_it_was_written() {
        let completion = completion(Ok(r#"{"n":1.50}"#));
        let json = told(&completion).json();
        assert!(json.contains("\"n\": 1.50"), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["ok"], true);
        assert_eq!((&value["durationMs"], &value["limits"]["durationMs"]), (&2.into(), &100.into()));
        assert_eq!(value["warnings"].as_array().unwrap().len(), 2);
        assert_eq!(value.get("error"), None);
    }

    #[test]
    fn shares_are_rounded_up() {
        let cases = [(0, 100, "0 %"), (1, 1 << 30, "1 %"), (50, 100, "50 %"), (u64::MAX, u64::MAX, "100 %")];
        for (used, limit, text) in cases {
            assert_eq!(share(used, limit), text);
        }
        assert_eq!(share(1, 0), "100 %");
    }
}
