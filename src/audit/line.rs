//! How a call's line tells the facts of the call.

use std::time::Duration;

use serde::Serialize;

use crate::identity::Did;
use crate::sandbox::{Outcome, UsageTold};

use super::chain::moment;
use super::record::CallRecord;

/// The members of a call's line that are its own. `docs/operating.md` explains each.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: String,
    kind: &'static str,
    request: &'a str,
    decision: Decision,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_from: Option<&'static str>,
    duration_micros: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageTold>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Decision {
    /// It came to a run.
    Allowed,
    /// Something stood in its way, which `error` names.
    Refused,
    /// The caller was gone before it was over.
    Abandoned,
}

impl CallRecord {
    /// The body of the call's line. `ended` counts from the Unix epoch.
    pub(super) fn body(&self, request: &str, took: Duration, ended: Duration) -> String {
        let of_a_run = Outcome::ALL.iter().any(|outcome| outcome.as_str() == self.decided);
        let decision = match self.decided {
            canceled if canceled == Outcome::Canceled.as_str() && self.usage.is_none() => Decision::Abandoned,
            _ if of_a_run => Decision::Allowed,
            _ => Decision::Refused,
        };
        let line = Line {
            time: moment(ended),
            kind: "call",
            request,
            decision,
            outcome: of_a_run.then_some(self.decided),
            error: (!of_a_run).then_some(self.decided),
            rule: self.rule.as_deref(),
            caller: self.caller.as_ref().map(Did::as_str),
            function: self.function.as_deref(),
            cid: self.cid.map(|cid| cid.to_string()),
            answer_from: self.answer_from,
            duration_micros: took.as_micros() as u64,
            usage: self.usage.map(UsageTold::from),
        };
        // Strings and numbers: nothing that JSON cannot say.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_decision_is_told_by_the_outcome_or_the_error() {
        let ran = Some(crate::sandbox::Usage { host_calls: 3, ..Default::default() });
        let cases = [
            ("ok", ran, "allowed", "outcome"),
            ("trap", ran, "allowed", "outcome"),
            // An answer that was kept: the guest did not run for it.
            ("ok", None, "allowed", "outcome"),
            ("canceled", ran, "allowed", "outcome"),
            ("canceled", None, "abandoned", "outcome"),
            ("FunctionNotPublic", None, "refused", "error"),
        ];
        for (decided, usage, decision, member) in cases {
            let record = CallRecord { decided, usage, ..CallRecord::default() };
            let body = record.body("r", Duration::from_micros(7), Duration::from_micros(1_500_000));
            let told: Value = serde_json::from_str(&body).unwrap();
            let mut expected = json!({
                "time": "1970-01-01T00:00:01.5Z", "kind": "call", "request": "r", "decision": decision,
                "durationMicros": 7,
            });
            expected[member] = decided.into();
            if usage.is_some() {
                expected["usage"] = json!({
                    "cpuMicros": 0, "peakMemoryBytes": 0, "hostCalls": 3, "inputBytes": 0, "outputBytes": 0,
                });
            }
            assert_eq!(told, expected);
        }
    }
}
