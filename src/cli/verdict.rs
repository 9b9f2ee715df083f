//! What an answer of `at.functions.run` means: only `ok: true` is success, whatever the status.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::advice;
use super::error::{CliError, Refusal, shown};
use super::guest;
use super::output::{self, Exit, Report, failure};
use super::usage::InForce;

/// The answer, of success, of a failed run, or of a refusal (`{error, message}`, with no `ok` when a
/// PDS wrote it). Lenient in all that only people read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    ok: Value,
    /// Kept as text, so that its numbers are printed as the function wrote them. `null` is an output.
    #[serde(default, deserialize_with = "present")]
    output: Option<Box<RawValue>>,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    outcome: Value,
    #[serde(default)]
    duration_ms: Value,
    #[serde(default)]
    function_cid: Value,
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    output_schema_mismatch: Value,
    #[serde(default)]
    logs: Value,
    #[serde(default)]
    logs_cut: Value,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// What to print, and how to end, after `host` answered. `limits` are those in force there, where they are known.
pub(super) fn report(host: &str, status: u16, body: Vec<u8>, limits: Option<&InForce>, json: bool) -> Report {
    let Some(answer) = parse(&body) else {
        return with_raw(json, body, not_json(host, status));
    };
    let verdict = if status == 200 && answer.ok == Value::Bool(true) {
        success(&answer, limits)
    } else if status == 200 && answer.outcome.is_string() {
        failed_run(&answer, limits)
    } else {
        refusal(host, status, &answer)
    };
    with_raw(json, body, verdict)
}

/// How a call ended and what it cost, for one who watches many.
pub(super) fn in_a_line(status: u16, body: &[u8]) -> String {
    let Some(answer) = parse(body) else { return format!("call: HTTP {status}") };
    let text = |value: &Value| shown(value.as_str().unwrap_or_default());
    match (answer.ok == Value::Bool(true), answer.outcome.is_string()) {
        (true, _) => format!("call: ok, {}", cost(&answer)),
        (false, true) => format!("call: {}, {}", text(&answer.outcome), cost(&answer)),
        (false, false) => format!("call: {}: {}", text(&answer.error), text(&answer.message)),
    }
}

/// An object only: serde would also fill the fields from an array, in their order.
fn parse(body: &[u8]) -> Option<Answer> {
    if body.trim_ascii_start().starts_with(b"{") { serde_json::from_slice(body).ok() } else { None }
}

/// With `--json`, stdout is the service's own bytes in every case; the exit code stays.
fn with_raw(json: bool, body: Vec<u8>, verdict: Report) -> Report {
    if json { Report { text: body, ..verdict } } else { verdict }
}

fn success(answer: &Answer, limits: Option<&InForce>) -> Report {
    let mut notes = with_log(answer, figures(answer, limits));
    if let Some(path) = answer.output_schema_mismatch.as_str() {
        let place = if path.is_empty() { "as a whole".to_owned() } else { format!("at {}", shown(path)) };
        notes.push_str(&format!("\nnote: the output does not fit the function's outputSchema, {place}"));
    }
    let text = answer.output.as_ref().map(|output| output::pretty(output.get())).unwrap_or_default();
    Report::done(text).with_notes(notes)
}

fn failed_run(answer: &Answer, limits: Option<&InForce>) -> Report {
    let outcome = answer.outcome.as_str().unwrap_or_default();
    let error = answer.error.as_str().unwrap_or("no reason given");
    let told = failure(&format!("{}: {}", shown(outcome), shown(error)), advice::for_outcome(outcome, error));
    Report {
        text: Vec::new(),
        notes: with_log(answer, format!("{told}\n{}", figures(answer, limits))),
        exit: Exit::Refused,
    }
}

/// Notes, and below them what the function logged, which a service tells its author.
fn with_log(answer: &Answer, notes: String) -> String {
    let log = guest::answered_log(&answer.logs, &answer.logs_cut);
    let all = std::iter::once(notes).filter(|notes| !notes.is_empty()).chain(log);
    all.collect::<Vec<_>>().join("\n")
}

fn refusal(host: &str, status: u16, answer: &Answer) -> Report {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let refusal =
        Refusal { host: host.to_owned(), status, name: text(&answer.error), message: text(&answer.message) };
    let advice = advice::for_refusal(status, &refusal.name, &refusal.message);
    Report { text: Vec::new(), notes: failure(&refusal.to_string(), advice), exit: refusal.exit() }
}

fn not_json(host: &str, status: u16) -> Report {
    let error = CliError::Unusable {
        host: host.to_owned(),
        why: format!("HTTP {status} with a body that is no XRPC answer"),
    };
    Report { text: Vec::new(), notes: failure(&error.to_string(), error.advice()), exit: error.exit() }
}

/// What the run used beside what it may use, if that is known and there was a run; else what it cost.
fn figures(answer: &Answer, limits: Option<&InForce>) -> String {
    let told = limits.filter(|_| answer.usage["cache"] != "memo").and_then(|limits| {
        limits.beside(answer.function_cid.as_str()?, answer.duration_ms.as_u64(), &answer.usage)
    });
    told.unwrap_or_else(|| cost(answer))
}

/// What the run cost, on one line; what the service leaves out is left out.
fn cost(answer: &Answer) -> String {
    let usage = |name: &str| answer.usage[name].as_u64();
    let mut parts: Vec<String> = Vec::new();
    // Figures of a run that there was not would be read as those of one that took nothing.
    let is_memo = answer.usage["cache"] == "memo";
    if is_memo {
        parts.push("answered as the same call before, without a run".into());
    } else {
        parts.extend(answer.duration_ms.as_u64().map(|ms| format!("{ms} ms")));
        parts.extend(usage("cpuMicros").map(|micros| format!("{micros} µs CPU")));
        parts.extend(usage("peakMemoryBytes").map(|bytes| format!("{} memory", output::size(bytes))));
    }
    parts.extend(usage("hostCalls").filter(|calls| *calls > 0).map(|calls| format!("{calls} host calls")));
    parts.extend(usage("inputBytes").map(|bytes| format!("{} in", output::size(bytes))));
    parts.extend(usage("outputBytes").map(|bytes| format!("{} out", output::size(bytes))));
    parts.extend(
        answer.usage["cache"].as_str().filter(|_| !is_memo).map(|cache| format!("code {}", shown(cache))),
    );
    parts.extend(answer.function_cid.as_str().map(|cid| format!("record {}", shown(cid))));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> (String, String, Exit) {
        let report = report("fn.test", status, body.as_bytes().to_vec(), None, false);
        (String::from_utf8(report.text).unwrap(), report.notes, report.exit)
    }

    #[test]
    fn an_output_is_printed_as_the_function_wrote_it() {
        let body = r#"{"ok":true,"output":{"n":1.50,"big":12345678901234567890123},"durationMs":3,"functionCid":"bafyrec",
            "usage":{"cpuMicros":120,"peakMemoryBytes":65536,"hostCalls":0,"inputBytes":2,"outputBytes":9,"cache":"warm"}}"#;
        let (text, notes, exit) = judged(200, body);
        assert_eq!(text, "{\n  \"n\": 1.50,\n  \"big\": 12345678901234567890123\n}");
        assert_eq!(
            notes,
            "3 ms, 120 µs CPU, 64.0 KiB memory, 2 bytes in, 9 bytes out, code warm, record bafyrec"
        );
        assert_eq!(exit, Exit::Done);
    }

    #[test]
    fn a_call_is_told_in_a_line() {
        let cases = [
            (200, r#"{"ok":true,"output":1,"durationMs":3}"#, "call: ok, 3 ms"),
            (200, r#"{"ok":false,"outcome":"trap","error":"x","durationMs":4}"#, "call: trap, 4 ms"),
            (400, r#"{"error":"InvalidInput","message":"a\u001b"}"#, r"call: InvalidInput: a\u{1b}"),
            (502, "Bad Gateway", "call: HTTP 502"),
        ];
        for (status, body, told) in cases {
            assert_eq!(in_a_line(status, body.as_bytes()), told);
        }
    }

    #[test]
    fn an_answer_without_a_run_is_not_told_as_one_that_took_nothing() {
        let body = r#"{"ok":true,"output":1,"durationMs":0,"functionCid":"bafyrec",
            "usage":{"cpuMicros":0,"peakMemoryBytes":0,"hostCalls":0,"inputBytes":2,"outputBytes":9,"cache":"memo"}}"#;
        let (_, notes, exit) = judged(200, body);
        assert_eq!(
            notes,
            "answered as the same call before, without a run, 2 bytes in, 9 bytes out, record bafyrec"
        );
        assert_eq!(exit, Exit::Done);
    }

    #[test]
    fn figures_stand_beside_limits_that_are_known() {
        let limits = r#"{"cid":"bafyrec","limits":{"maxMemoryMb":32,"maxDurationMs":100,"maxRequestBytes":9,
            "maxOutputBytes":9,"maxHostCalls":0}}"#;
        let limits = InForce::parse(limits.as_bytes()).unwrap();
        let told = |body: &str| report("fn.test", 200, body.as_bytes().to_vec(), Some(&limits), false).notes;
        let expected = "  time        3 ms     of 100 ms   3 %\n  input       9 bytes  of 9 bytes  100 %\n  record      bafyrec";
        let rest = r#""durationMs":3,"functionCid":"bafyrec","usage":{"inputBytes":9}"#;
        assert_eq!(told(&format!(r#"{{"ok":true,"output":1,{rest}}}"#)), expected);
        let failed = told(&format!(r#"{{"ok":false,"outcome":"trap","error":"x",{rest}}}"#));
        assert!(failed.starts_with("error: trap: x\n") && failed.ends_with(expected), "{failed}");
        // Nothing ran: nothing was used.
        let memo = r#"{"ok":true,"output":1,"functionCid":"bafyrec","usage":{"cache":"memo"}}"#;
        assert_eq!(told(memo), "answered as the same call before, without a run, record bafyrec");
        let other = r#"{"ok":true,"output":1,"durationMs":3,"functionCid":"bafyother"}"#;
        assert_eq!(told(other), "3 ms, record bafyother");
    }

    #[test]
    fn null_is_an_output() {
        assert_eq!(judged(200, r#"{"ok":true,"output":null}"#), ("null".into(), String::new(), Exit::Done));
    }

    #[test]
    fn an_output_beside_its_schema_is_told() {
        let (text, notes, exit) = judged(200, r#"{"ok":true,"output":1,"outputSchemaMismatch":"/a"}"#);
        assert_eq!((text.as_str(), exit), ("1", Exit::Done));
        assert!(notes.contains("does not fit the function's outputSchema, at /a"), "{notes}");
    }

    #[test]
    fn the_log_that_a_service_gives_an_author_is_told() {
        let log = r#""logs":[{"level":"info","message":"one\u001b"},{"level":"debug","message":"two"}]"#;
        let (text, notes, _) = judged(200, &format!(r#"{{"ok":true,"output":1,"durationMs":3,{log}}}"#));
        assert_eq!((text.as_str(), notes.as_str()), ("1", "3 ms\nlog info: one\\u{1b}\nlog debug: two"));
        let failed = format!(r#"{{"ok":false,"outcome":"guestError","error":"no",{log},"logsCut":true}}"#);
        let (_, notes, exit) = judged(200, &failed);
        assert!(notes.ends_with("log debug: two\nlog: there was more than there is room for"), "{notes}");
        assert_eq!(exit, Exit::Refused);
    }

    #[test]
    fn only_ok_true_is_success() {
        for (status, body) in [
            (200, r#"{"output":1}"#),
            (200, r#"{"ok":false,"output":1}"#),
            (200, r#"{"ok":"true","output":1}"#),
            (200, r#"{"ok":1,"output":1}"#),
            (200, r#"{"ok":null,"output":1}"#),
            (201, r#"{"ok":true,"output":1}"#),
            (400, r#"{"ok":true,"output":1}"#),
        ] {
            let (text, notes, exit) = judged(status, body);
            assert_eq!((text.as_str(), exit), ("", Exit::Refused), "{body}");
            assert!(notes.starts_with("error: "), "{notes}");
        }
    }

    #[test]
    fn a_failed_run_is_told_with_its_outcome_and_cost() {
        let (text, notes, exit) =
            judged(200, r#"{"ok":false,"outcome":"timeout","error":"over 100 ms","durationMs":101}"#);
        assert_eq!((text.as_str(), exit), ("", Exit::Refused));
        assert_eq!(
            notes,
            "error: timeout: over 100 ms\nTry a smaller input. If the function is yours: raise max-duration-ms in at-functions.toml (5000 at most), and deploy.\n101 ms"
        );
    }

    #[test]
    fn a_refusal_is_told_with_what_to_do() {
        let (_, notes, exit) = judged(400, r#"{"error":"InvalidInput","message":"/a: not a number"}"#);
        assert_eq!(exit, Exit::Refused);
        assert_eq!(
            notes,
            "error: InvalidInput (HTTP 400 from fn.test): /a: not a number\n\
             Look at the function's inputSchema with `at-functions describe`."
        );
        let (_, _, exit) =
            judged(503, r#"{"error":"NotEnoughResources","message":"compiling, retry in 2 s"}"#);
        assert_eq!(exit, Exit::Network);
    }

    #[test]
    fn a_body_that_is_no_answer_is_unusable() {
        for (status, body) in [
            (200, ""),
            (200, "<html>"),
            (502, "Bad Gateway"),
            (200, "[]"),
            (200, "[true, 1]"),
            (200, "1"),
            (200, "{\"ok\":true"),
        ] {
            let (text, notes, exit) = judged(status, body);
            assert_eq!((text.as_str(), exit), ("", Exit::Network), "{body}");
            assert!(notes.contains(&format!("HTTP {status}")), "{notes}");
        }
    }

    #[test]
    fn json_mode_keeps_the_bytes_and_the_exit_code() {
        for (status, body, exit) in [
            (200, r#"{"ok": true,  "output": 1.0}"#, Exit::Done),
            (400, r#"{"error": "InvalidInput"}"#, Exit::Refused),
            (502, "Bad Gateway", Exit::Network),
        ] {
            let report = report("fn.test", status, body.as_bytes().to_vec(), None, true);
            assert_eq!(report.text, body.as_bytes());
            assert_eq!(report.exit, exit);
        }
    }

    #[test]
    fn fields_of_odd_types_do_not_hide_an_output() {
        let body = r#"{"ok":true,"output":1,"durationMs":"3","usage":[],"functionCid":7,"error":{}}"#;
        assert_eq!(judged(200, body), ("1".into(), String::new(), Exit::Done));
    }

    #[test]
    fn deep_nesting_in_an_answer_is_survived() {
        let deep = format!(r#"{{"ok":true,"output":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let (text, _, exit) = judged(200, &deep);
        assert_eq!(exit, Exit::Done);
        assert!(text.len() < 300_000);
        let usage = format!(r#"{{"ok":true,"usage":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(judged(200, &usage).2, Exit::Network);
    }
}
