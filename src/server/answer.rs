//! The 200 answer: the outcome of a run, with the guest's output verbatim.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use ipld_core::cid::Cid;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::sandbox::{Completion, Outcome, UsageTold};

use super::figures::{Line, rounded_millis};

/// What a finished run is answered with (the lexicon's output).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
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
    function_cid: &'a str,
    usage: Usage,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<Line<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    logs_cut: bool,
}

#[derive(Serialize)]
struct Usage {
    #[serde(flatten)]
    used: UsageTold,
    cache: &'static str,
}

/// The body for a run that reached the guest, whatever came of it. `with_logs` is for the eyes of the
/// function's author; `mismatch` is where the output does not meet the schema that describes it.
pub(super) fn body(
    completion: &Completion,
    function: &Cid,
    cache: &'static str,
    with_logs: bool,
    mismatch: Option<&str>,
) -> Bytes {
    let mut result = completion.result.as_ref().map_err(|failure| (failure.outcome, &*failure.message));
    // The sandbox hands out one JSON value; should it not be, the answer must still be JSON.
    let output = match result {
        Ok(bytes) => match raw(bytes) {
            Some(output) => Some(output),
            None => {
                result = Err((Outcome::OutputInvalid, "the output is not JSON"));
                None
            }
        },
        Err(_) => None,
    };
    let answer = Answer {
        ok: output.is_some(),
        output,
        output_schema_mismatch: output.and(mismatch),
        error: result.err().map(|(_, message)| message),
        outcome: result.err().map(|(outcome, _)| outcome.as_str()),
        duration_ms: rounded_millis(completion.wall),
        function_cid: &function.to_string(),
        usage: Usage { used: completion.usage.into(), cache },
        logs: match with_logs {
            true => completion.logs.lines.iter().map(Line::from).collect(),
            false => Vec::new(),
        },
        logs_cut: with_logs && completion.logs.cut,
    };
    serde_json::to_vec(&answer).unwrap_or_default().into()
}

/// The response with this body.
pub(super) fn respond(body: Bytes) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn raw(output: &Bytes) -> Option<&RawValue> {
    serde_json::from_slice(output).ok()
}
