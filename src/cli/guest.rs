//! What a function hands out beside its output, told to its author: its log, and where its output
//! leaves the data model. By `run`, `invoke` and `dev`.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::shown;
use super::output::{self, printable};
use super::verdict;
use crate::lexicon::data_model::misfits;
use crate::sandbox::Logs;

/// The lines of a log, `(level, message)` each, as a terminal may show them. No more of them than a
/// service that keeps to its own bounds sends.
pub(super) fn log_lines<'a>(lines: impl IntoIterator<Item = (&'a str, &'a str)>, cut: bool) -> Vec<String> {
    let mut told: Vec<String> = lines
        .into_iter()
        .take(Logs::MAX_LINES)
        .map(|(level, message)| {
            let end = message.floor_char_boundary(Logs::MAX_LINE_BYTES);
            format!("log {}: {}", shown(level), printable(&message[..end]))
        })
        .collect();
    if cut {
        told.push("log: there was more than there is room for".to_owned());
    }
    told
}

/// The same of an answer's `logs` and `logsCut`; what is in another shape is left out.
pub(super) fn answered_log(logs: &Value, cut: &Value) -> Vec<String> {
    let line =
        |line: &'_ Value| Some((line["level"].as_str()?.to_owned(), line["message"].as_str()?.to_owned()));
    let lines: Vec<(String, String)> =
        logs.as_array().into_iter().flatten().take(Logs::MAX_LINES).filter_map(line).collect();
    log_lines(lines.iter().map(|(level, message)| (level.as_str(), message.as_str())), *cut == true)
}

/// Where an output is not what clients that check the data model take, for its author.
pub(super) fn output_warnings(output: &[u8]) -> Vec<String> {
    let found = misfits(output);
    let mut warnings: Vec<String> = found.first.iter().map(|misfit| shown(&misfit.to_string())).collect();
    match found.total - found.first.len() {
        0 => {}
        more => warnings.push(format!("{more} more places like these")),
    }
    if found.total > 0 {
        warnings.push("clients that check the data model refuse an answer with such an output".to_owned());
    }
    warnings
}

/// Writes to stderr what the author should see of each answer that goes out, and lets it go out as it
/// is.
pub(super) async fn tell(request: Request, next: Next) -> Response {
    let is_call = request.uri().path() == "/xrpc/at.functions.run";
    let (head, body) = next.run(request).await.into_parts();
    if !is_call && head.status != StatusCode::OK {
        return Response::from_parts(head, body);
    }
    // Answers are built in memory and bounded there, so this neither waits nor fails.
    let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
    if is_call {
        output::note(&verdict::in_a_line(head.status.as_u16(), &bytes));
    }
    for line in worth_telling(&bytes) {
        output::note(&line);
    }
    Response::from_parts(head, Body::from(bytes))
}

/// What `dev` tells of an answer: nothing, as long as all is well and the function is silent.
fn worth_telling(body: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer<'a> {
        #[serde(borrow)]
        output: Option<&'a RawValue>,
        outcome: Option<String>,
        error: Option<String>,
        #[serde(default)]
        logs: Value,
        #[serde(default)]
        logs_cut: Value,
    }
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else { return Vec::new() };
    let mut told = answered_log(&answer.logs, &answer.logs_cut);
    if let (Some(outcome), Some(error)) = (answer.outcome, answer.error) {
        told.push(format!("failed: {}: {}", shown(&outcome), shown(&error)));
    }
    let output = answer.output.map(|output| output_warnings(output.get().as_bytes())).unwrap_or_default();
    told.extend(output.into_iter().map(|warning| format!("warning: {warning}")));
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_of_which_there_is_nothing_to_tell_is_told_in_silence() {
        for body in [r#"{"ok":true,"output":{"a":1}}"#, "{}", "", "not json", "[]", r#"{"logs":7}"#] {
            assert_eq!(worth_telling(body.as_bytes()), Vec::<String>::new(), "{body}");
        }
    }

    #[test]
    fn logs_failures_and_warnings_are_told() {
        let failed = json!({
            "ok": false, "outcome": "trap", "error": "unreachable\n at f", "logsCut": true,
            "logs": [{"level": "info", "message": "one\x1b"}, {"level": 7}, {"level": "warn", "message": "two"}],
        });
        assert_eq!(
            worth_telling(failed.to_string().as_bytes()),
            [
                r"log info: one\u{1b}",
                "log warn: two",
                "log: there was more than there is room for",
                r"failed: trap: unreachable\u{a} at f"
            ]
        );
        assert_eq!(
            worth_telling(br#"{"ok":true,"output":[1]}"#),
            [
                "warning: the output is an array, not an object; put it into one",
                "warning: clients that check the data model refuse an answer with such an output"
            ]
        );
    }

    #[test]
    fn a_log_beyond_the_bounds_of_a_service_is_not_shown_to_its_end() {
        let long = "é".repeat(Logs::MAX_LINE_BYTES);
        let told = log_lines(std::iter::repeat_n(("info", long.as_str()), 1000), false);
        assert_eq!(told.len(), Logs::MAX_LINES);
        assert_eq!(told[0].len(), "log info: ".len() + Logs::MAX_LINE_BYTES);
    }
}
