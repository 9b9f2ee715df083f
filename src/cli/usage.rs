//! What a call used beside what it may use, as a service tells both: `invoke`.
//!
//! In: `usage` of an answer of `at.functions.run`, `limits` of one of `at.functions.describe`. Out: a table like that of
//! `run`. Never: limits of another version of the record than the one that ran, or figures that nobody told.

use serde::Deserialize;
use serde_json::Value;

use super::error::shown;
use super::output;

/// Of the longest name of a figure.
const WIDTH: usize = "  host calls".len();

/// The limits in force for a function at a service.
#[derive(Deserialize)]
pub(super) struct InForce {
    /// The record that they are of.
    cid: String,
    limits: Limits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    max_memory_mb: u64,
    max_duration_ms: u64,
    max_request_bytes: u64,
    max_output_bytes: u64,
    max_host_calls: u64,
}

impl InForce {
    /// From what a service describes.
    pub(super) fn parse(body: &[u8]) -> Option<InForce> {
        serde_json::from_slice(body).ok()
    }

    /// The figures of a run of the record `ran`, each beside its limit; `None` where the limits are not of that record.
    pub(super) fn beside(&self, ran: &str, millis: Option<u64>, usage: &Value) -> Option<String> {
        if ran != self.cid {
            return None;
        }
        let limits = &self.limits;
        let used = |name: &str| usage[name].as_u64();
        let size = |name: &str, used: Option<u64>, limit: u64| {
            used.map(|used| row(name, output::size(used), output::size(limit), share(used, limit)))
        };
        let time = |millis: u64| {
            let limit = limits.max_duration_ms;
            row("time", format!("{millis} ms"), format!("{limit} ms"), share(millis, limit))
        };
        let calls = |calls: u64| match limits.max_host_calls {
            // A function of a mode without host calls has nothing to compare.
            0 => plain("host calls", calls.to_string(), ""),
            limit => row("host calls", calls.to_string(), limit.to_string(), share(calls, limit)),
        };
        let micros = |micros: u64| plain("cpu", format!("{:.2} ms", micros as f64 / 1000.0), "");
        let rows = [
            millis.map(time),
            used("cpuMicros").map(micros),
            size("memory", used("peakMemoryBytes"), limits.max_memory_mb << 20),
            used("hostCalls").map(calls),
            size("input", used("inputBytes"), limits.max_request_bytes),
            size("output", used("outputBytes"), limits.max_output_bytes),
            usage["cache"].as_str().map(|cache| plain("code", shown(cache), "")),
        ];
        let mut rows: Vec<[String; 4]> = rows.into_iter().flatten().collect();
        for [name, ..] in &mut rows {
            *name = format!("{name:WIDTH$}");
        }
        // Below the table: it is longer than any figure.
        Some(format!("{}{:WIDTH$}  {}", output::table(&rows), "  record", shown(ran)))
    }
}

/// A figure beside its limit.
pub(super) fn row(name: &str, used: String, limit: String, share: String) -> [String; 4] {
    [format!("  {name}"), used, format!("of {limit}"), share]
}

/// A figure without one.
pub(super) fn plain(name: &str, figure: String, remark: &str) -> [String; 4] {
    [format!("  {name}"), figure, remark.to_owned(), String::new()]
}

/// Whole percent, rounded up, so that only nothing is 0 %.
pub(super) fn share(used: u64, limit: u64) -> String {
    let percent = (u128::from(used) * 100).div_ceil(u128::from(limit.max(1)));
    format!("{percent} %")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn in_force(host_calls: u64) -> InForce {
        let limits = json!({
            "maxMemoryMb": 32, "maxDurationMs": 100, "maxRequestBytes": 1 << 20, "maxOutputBytes": 1 << 20,
            "maxHostCalls": host_calls, "maxHostBytes": 1,
        });
        InForce::parse(json!({"cid": "bafyrec", "limits": limits, "mayRun": true}).to_string().as_bytes())
            .unwrap()
    }

    #[test]
    fn each_figure_stands_beside_its_limit() {
        let usage = json!({"cpuMicros": 1234, "peakMemoryBytes": 65536, "hostCalls": 3, "inputBytes": 2, "outputBytes": 0, "cache": "warm"});
        let told = in_force(1000).beside("bafyrec", Some(3), &usage).unwrap();
        let expected = [
            "  time        3 ms      of 100 ms    3 %",
            "  cpu         1.23 ms",
            "  memory      64.0 KiB  of 32.0 MiB  1 %",
            "  host calls  3         of 1000      1 %",
            "  input       2 bytes   of 1.0 MiB   1 %",
            "  output      0 bytes   of 1.0 MiB   0 %",
            "  code        warm",
            "  record      bafyrec",
        ];
        assert_eq!(told.lines().collect::<Vec<_>>(), expected);
        let told = in_force(0).beside("bafyrec", None, &usage).unwrap();
        assert!(told.contains("  host calls  3\n") && !told.contains("time"), "{told}");
    }

    #[test]
    fn limits_of_another_version_are_not_shown() {
        assert_eq!(in_force(0).beside("bafyother", Some(3), &json!({})), None);
        assert_eq!(in_force(0).beside("bafyrec", None, &json!([])).unwrap(), "  record      bafyrec");
        for body in ["", "[]", "{}", r#"{"cid":"x","limits":{}}"#, r#"{"error":"FunctionNotFound"}"#] {
            assert!(InForce::parse(body.as_bytes()).is_none(), "{body}");
        }
    }
}
