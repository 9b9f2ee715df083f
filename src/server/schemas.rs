//! Inputs and outputs held against the schemas of a function's record.
//!
//! A check that is over within a millisecond is done on the spot. What is larger waits for one of few
//! places off the threads that serve: both the schema and the value may be made to take long.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Semaphore;

use crate::lexicon::{CheckError, Schema};
use crate::registry::Function;
use crate::sandbox::{Completion, Failure, Outcome};

use super::XrpcError;
use super::deadline::Deadline;

/// Large checks at the same time. One takes up to a tenth of a second, and up to 64 MiB.
const AT_ONCE: usize = 2;

/// Where checks are done. Cheap to clone.
#[derive(Clone)]
pub(super) struct Checks {
    places: Arc<Semaphore>,
}

impl Checks {
    pub(super) fn new() -> Checks {
        Checks { places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Refuses an input that does not meet the function's `inputSchema`.
    pub(super) async fn input(
        &self,
        function: &Function,
        input: Bytes,
        deadline: Deadline,
    ) -> Result<(), XrpcError> {
        let Some(schema) = &function.schemas.input else { return Ok(()) };
        match self.check(schema, input, deadline).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(invalid_input(&error)),
            None => Err(XrpcError::overloaded(
                "too many large inputs are being checked; retry in 1 s",
                Duration::from_secs(1),
            )),
        }
    }

    /// Holds what a run gave against the function's `outputSchema`. Where the record is strict, a
    /// mismatch is the run's failure; else its path is given, to be told beside the output.
    pub(super) async fn output(
        &self,
        function: &Function,
        completion: &mut Completion,
        deadline: Deadline,
    ) -> Option<String> {
        let (Some(schema), Ok(output)) = (&function.schemas.output, &completion.result) else { return None };
        // The run is over and cannot be repeated: what could not be checked in time is told as what
        // cannot be checked at all.
        let checked = self.check(schema, output.clone(), deadline).await;
        let error = checked.unwrap_or(Err(CheckError::TooCostly)).err()?;
        if function.metadata.strict_output {
            let message = format!("the output does not meet the function's outputSchema: {error}");
            completion.result = Err(Failure { outcome: Outcome::OutputInvalid, message });
            return None;
        }
        Some(match error {
            CheckError::Mismatch(mismatch) => mismatch.path,
            _ => String::new(),
        })
    }

    /// One check; `None` where the time for an answer ran out before there was a place for it.
    async fn check(
        &self,
        schema: &Schema,
        json: Bytes,
        deadline: Deadline,
    ) -> Option<Result<(), CheckError>> {
        if let Some(checked) = schema.check_briefly(&json) {
            return Some(checked);
        }
        let waiting = Arc::clone(&self.places).acquire_owned();
        let place = tokio::time::timeout_at(deadline.answer_by().into(), waiting).await.ok()?.ok()?;
        let schema = schema.clone();
        let checking = tokio::task::spawn_blocking(move || {
            let _place = place;
            schema.check(&json)
        });
        Some(checking.await.unwrap_or(Err(CheckError::TooCostly)))
    }
}

fn invalid_input(error: &CheckError) -> XrpcError {
    let message = format!("the input does not meet the function's inputSchema: {error}; correct the input");
    XrpcError::new(StatusCode::BAD_REQUEST, "InvalidInput", message)
}
