//! Inputs and outputs held against the schemas of a function's record.
//!
//! A check that is over within a millisecond is done on the spot. What is larger waits for one of few
//! places off the threads that serve: both the schema and the value may be made to take long. Those
//! places go round the functions' authors, so that one's checks hold up no other's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::egress::{Gate, GateLimits};
use crate::identity::Did;
use crate::lexicon::{CheckError, Schema};
use crate::registry::Function;
use crate::sandbox::{Completion, Failure, Outcome};

use super::XrpcError;
use super::deadline::Deadline;

/// Large checks at the same time. One takes up to a tenth of a second, and up to 64 MiB.
const LIMITS: GateLimits = GateLimits { places: 2, lane_places: 1, queue: 1024, lane_queue: 256 };

/// Where checks are done. Cheap to clone.
#[derive(Clone)]
pub(super) struct Checks {
    places: Arc<Gate<Did>>,
}

impl Checks {
    pub(super) fn new() -> Checks {
        Checks { places: Gate::new(LIMITS) }
    }

    /// Refuses an input that does not meet the function's `inputSchema`.
    pub(super) async fn input(
        &self,
        function: &Function,
        input: Bytes,
        deadline: Deadline,
    ) -> Result<(), XrpcError> {
        let Some(schema) = &function.schemas.input else { return Ok(()) };
        let Some(checked) = self.check(schema, &function.author, input, deadline).await else {
            return Err(XrpcError::overloaded(
                "too many large inputs are being checked; retry in 1 s",
                Duration::from_secs(1),
            ));
        };
        checked.map_err(|error| invalid_input(&error))
    }

    /// Holds what a run gave against the function's `outputSchema`. Where the record is strict, a
    /// mismatch is the run's failure; else its path is given, to be told beside the output. An output that
    /// could not be checked is not handed out as if it had been: the run has no answer then.
    pub(super) async fn output(
        &self,
        function: &Function,
        completion: &mut Completion,
        deadline: Deadline,
    ) -> Result<Option<String>, XrpcError> {
        let (Some(schema), Ok(output)) = (&function.schemas.output, &completion.result) else {
            return Ok(None);
        };
        let Some(checked) = self.check(schema, &function.author, output.clone(), deadline).await else {
            let error = XrpcError::overloaded(
                "the function ran, but its output could not be checked in time; retry in 1 s",
                Duration::from_secs(1),
            );
            return Err(XrpcError { may_have_run: true, ..error });
        };
        Ok(checked.err().and_then(|error| misfit(completion, function.metadata.strict_output, error)))
    }

    /// One check for a function of `author`; `None` where there was no place or no thread for it before the
    /// time for an answer ran out.
    async fn check(
        &self,
        schema: &Schema,
        author: &Did,
        json: Bytes,
        deadline: Deadline,
    ) -> Option<Result<(), CheckError>> {
        if let Some(checked) = schema.check_briefly(&json) {
            return Some(checked);
        }
        let waiting = self.places.enter(author.clone());
        let place = tokio::time::timeout_at(deadline.answer_by().into(), waiting).await.ok()?.ok()?;
        let schema = schema.clone();
        let checking = tokio::task::spawn_blocking(move || {
            let _place = place;
            schema.check(&json)
        });
        match checking.await.unwrap_or(Err(CheckError::TooCostly)) {
            Err(CheckError::NoThread) => None,
            checked => Some(checked),
        }
    }
}

fn invalid_input(error: &CheckError) -> XrpcError {
    XrpcError::new(StatusCode::BAD_REQUEST, INVALID_INPUT, invalid_input_message(error))
}

/// The error's name for an input that does not meet its schema.
pub(crate) const INVALID_INPUT: &str = "InvalidInput";

/// What is said of an input that does not meet its schema.
pub(crate) fn invalid_input_message(error: &CheckError) -> String {
    format!("the input does not meet the function's inputSchema: {error}; correct the input")
}

/// What comes of an output that does not meet its schema: under a strict record the run's failure, else
/// the path that is told beside it.
pub(crate) fn misfit(completion: &mut Completion, strict: bool, error: CheckError) -> Option<String> {
    if strict {
        let message = format!("the output does not meet the function's outputSchema: {error}");
        completion.result = Err(Failure { outcome: Outcome::OutputInvalid, message });
        return None;
    }
    Some(match error {
        CheckError::Mismatch(mismatch) => mismatch.path,
        _ => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Waker};

    use serde_json::json;

    use crate::lexicon::FunctionMetadata;
    use crate::repo::{blob_cid, json_to_ipld};
    use crate::sandbox::{Logs, Usage};

    use super::*;

    fn function(author: &str, output_schema: &serde_json::Value, strict: bool) -> Function {
        let record = json!({
            "$type": "at.functions.metadata", "name": "f", "version": "1.0.0", "mode": "pure-v1",
            "code": { "ref": { "$link": blob_cid(b"code").to_string() } },
            "outputSchema": output_schema, "strictOutput": strict,
        });
        let metadata = FunctionMetadata::from_record(&json_to_ipld(&record).unwrap()).unwrap();
        Function::unproved(Did::parse(author).unwrap(), metadata)
    }

    fn gave(output: &Bytes) -> Completion {
        let (usage, logs) = (Usage::default(), Logs::default());
        Completion { result: Ok(output.clone()), wall: Duration::from_millis(1), usage, logs }
    }

    #[tokio::test]
    async fn an_output_that_was_not_checked_in_time_is_neither_handed_out_nor_called_invalid() {
        let checks = Checks::new();
        let large = Bytes::from(json!(vec![1; 100_000]).to_string());
        for strict in [false, true] {
            let function = function("did:web:a.com", &json!({ "items": { "type": "integer" } }), strict);
            // With a place and time, it is as it should be.
            assert_eq!(checks.output(&function, &mut gave(&large), Deadline::start()).await, Ok(None));

            // The author's one place is taken until the time is over.
            let _taken = checks.places.enter(function.author.clone()).await.unwrap();
            let told = checks.output(&function, &mut gave(&large), Deadline::past()).await.unwrap_err();
            assert_eq!((told.status, told.name), (StatusCode::SERVICE_UNAVAILABLE, "NotEnoughResources"));
            assert_eq!(told.retry_after, Some(Duration::from_secs(1)));
            assert_eq!(
                told.message,
                "the function ran, but its output could not be checked in time; retry in 1 s"
            );
            // It ran: the caller's token stays used.
            assert!(!told.gives_token_back());
            // What is checked on the spot needs no place.
            let small = Bytes::from_static(b"[1]");
            assert_eq!(checks.output(&function, &mut gave(&small), Deadline::past()).await, Ok(None));
        }
    }

    #[tokio::test]
    async fn an_output_that_does_not_fit_is_told_beside_it_or_is_the_runs_failure() {
        let (checks, output) = (Checks::new(), Bytes::from_static(br#"[1,"x"]"#));
        let schema = json!({ "items": { "type": "integer" } });
        let mut described = gave(&output);
        let function_of = |strict| function("did:web:a.com", &schema, strict);
        let told = checks.output(&function_of(false), &mut described, Deadline::start()).await;
        assert_eq!((told, described.result), (Ok(Some("/1".to_owned())), Ok(output.clone())));

        let mut strict = gave(&output);
        let told = checks.output(&function_of(true), &mut strict, Deadline::start()).await;
        assert_eq!((told, strict.outcome()), (Ok(None), Outcome::OutputInvalid));
    }

    #[tokio::test]
    async fn one_authors_large_checks_leave_a_place_for_anothers() {
        let checks = Checks::new();
        let [a, b] = ["did:web:a.com", "did:web:b.com"].map(|did| Did::parse(did).unwrap());
        let schema = Schema::compile(&json!({ "items": { "type": "integer" } })).unwrap();
        let large = Bytes::from(json!(vec![1; 100_000]).to_string());
        assert!(schema.check_briefly(&large).is_none());

        // As many of the first author's as there may be, under way and waiting.
        let _under_way = checks.places.enter(a.clone()).await;
        let mut waiting: Vec<_> = (0..50).map(|_| Box::pin(checks.places.enter(a.clone()))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let checked = checks.check(&schema, &b, large, Deadline::start()).await;
        assert_eq!(checked, Some(Ok(())));
    }
}
