//! Errors as an XRPC client sees them.
//!
//! A PDS that proxies a call passes on only the status and the two strings `error` and `message`,
//! so all that a caller must learn stands in these two (the time to wait and the request id too).
//! Everybody else's error becomes one of these in this file: the mapping to statuses is one table.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::audit::Unwritten;
use crate::auth::AuthError;
use crate::idempotency::{NotGiven, RETRY_AFTER_SECONDS};
use crate::policy::Refusal;
use crate::policy::limits::{Exceeded, Quota};
use crate::registry::RegistryError;
use crate::sandbox::Lost;
use crate::workers::{NotRun, PrepareError};

use super::request_id::RequestId;

/// A refusal or failure before the guest ran: `{error, message}` with its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XrpcError {
    /// The HTTP status; never 500, which a PDS rewrites.
    pub status: StatusCode,
    /// The error's name, one of those in the lexicon.
    pub name: &'static str,
    /// What happened and what to do about it.
    pub message: String,
    /// When it is worth coming back.
    pub retry_after: Option<Duration>,
    /// Whether the guest may have begun before it came to this.
    pub may_have_run: bool,
    /// What is left of the limit that stood in the way, where one did.
    pub quota: Option<Quota>,
}

impl XrpcError {
    /// An error of this status, name and message.
    pub fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> XrpcError {
        XrpcError {
            status,
            name,
            message: message.into(),
            retry_after: None,
            may_have_run: false,
            quota: None,
        }
    }

    /// 400 `InvalidRequest`.
    pub fn invalid_request(message: impl Into<String>) -> XrpcError {
        XrpcError::new(StatusCode::BAD_REQUEST, "InvalidRequest", message)
    }

    /// 501 `MethodNotImplemented`.
    pub fn not_implemented(message: impl Into<String>) -> XrpcError {
        XrpcError::new(StatusCode::NOT_IMPLEMENTED, "MethodNotImplemented", message)
    }

    /// 503 `NotEnoughResources`, worth another try after `retry_after`.
    pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> XrpcError {
        let error = XrpcError::new(StatusCode::SERVICE_UNAVAILABLE, "NotEnoughResources", message);
        XrpcError { retry_after: Some(retry_after), ..error }
    }

    /// 504 `RepoTimeout`: the time for an answer ran out while a repo was read.
    pub(super) fn repo_timeout() -> XrpcError {
        XrpcError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "RepoTimeout",
            "the author's repo could not be read in time; try again",
        )
    }

    /// Whether the caller may send the same token again: nothing ran, and what stood in the way
    /// was load or size, not the call itself.
    pub fn gives_token_back(&self) -> bool {
        matches!(self.status.as_u16(), 413 | 429 | 503) && !self.may_have_run
    }

    /// The response, with the request's id in the message and beside it.
    pub(super) fn into_response_for(self, request: &RequestId) -> Response {
        let message = format!("{} (request {request})", self.message);
        let body = json!({
            "error": self.name, "message": message, "ok": false, "requestId": request.as_str(),
        });
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The status of a number that is one.
fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::BAD_GATEWAY)
}

impl From<AuthError> for XrpcError {
    fn from(error: AuthError) -> XrpcError {
        let retry_after = error.retry_after();
        XrpcError { retry_after, ..XrpcError::new(status(error.status()), error.name(), error.to_string()) }
    }
}

impl From<Unwritten> for XrpcError {
    fn from(error: Unwritten) -> XrpcError {
        let wait = Duration::from_secs(5);
        let told = XrpcError::overloaded(format!("{error}; retry in {} s", wait.as_secs()), wait);
        XrpcError { may_have_run: error.may_have_run, ..told }
    }
}

impl From<Refusal> for XrpcError {
    fn from(refusal: Refusal) -> XrpcError {
        XrpcError::new(StatusCode::FORBIDDEN, refusal.name(), refusal.to_string())
    }
}

impl From<Exceeded> for XrpcError {
    fn from(exceeded: Exceeded) -> XrpcError {
        XrpcError {
            retry_after: Some(exceeded.retry_after),
            quota: Some(exceeded.quota),
            ..XrpcError::new(StatusCode::TOO_MANY_REQUESTS, "RateLimitExceeded", exceeded.to_string())
        }
    }
}

impl From<NotGiven> for XrpcError {
    fn from(error: NotGiven) -> XrpcError {
        let message = error.to_string();
        let may_have_run = match error {
            NotGiven::Reused => {
                return XrpcError::new(StatusCode::BAD_REQUEST, "IdempotencyKeyReuse", message);
            }
            NotGiven::Closed => false,
            NotGiven::Lost | NotGiven::UnderWay | NotGiven::Unkept => true,
        };
        XrpcError { may_have_run, ..XrpcError::overloaded(message, Duration::from_secs(RETRY_AFTER_SECONDS)) }
    }
}

impl From<RegistryError> for XrpcError {
    fn from(error: RegistryError) -> XrpcError {
        let message = error.to_string();
        let (status, name) = match &error {
            RegistryError::AuthorInactive(_) => (403, "AuthorInactive"),
            RegistryError::BlobMissing(_) | RegistryError::InvalidFunction(_) => (400, "InvalidFunction"),
            RegistryError::Handle(_) | RegistryError::NotFound(_) => (400, "FunctionNotFound"),
            RegistryError::NotAFunction => (400, "InvalidRequest"),
            RegistryError::NoThread => return XrpcError::overloaded(message, Duration::from_secs(1)),
            RegistryError::Overloaded(after) => return XrpcError::overloaded(message, *after),
            RegistryError::Store => return XrpcError::overloaded(message, Duration::from_secs(5)),
            RegistryError::Timeout => (504, "RepoTimeout"),
            RegistryError::Unproved(_) => (502, "UnverifiedFunction"),
            RegistryError::Unreachable(_) => (502, "RepoUnreachable"),
            RegistryError::Workflow => (501, "MethodNotImplemented"),
        };
        XrpcError::new(self::status(status), name, message)
    }
}

impl From<PrepareError<RegistryError>> for XrpcError {
    fn from(error: PrepareError<RegistryError>) -> XrpcError {
        let message = error.to_string();
        match error {
            PrepareError::Busy { retry_after }
            | PrepareError::Compiling { retry_after }
            | PrepareError::Lost { retry_after } => XrpcError::overloaded(message, retry_after),
            PrepareError::Fetch(error) => RegistryError::clone(&error).into(),
            PrepareError::Fetching { .. } => {
                XrpcError::new(StatusCode::GATEWAY_TIMEOUT, "RepoTimeout", message)
            }
            PrepareError::Refused(refusal) => XrpcError::new(
                StatusCode::BAD_REQUEST,
                "InvalidFunction",
                format!("the service does not run this module: {refusal}"),
            ),
        }
    }
}

impl From<NotRun> for XrpcError {
    fn from(error: NotRun) -> XrpcError {
        match error {
            NotRun::Busy { retry_after } => XrpcError::overloaded(error.to_string(), retry_after),
            // A limit of memory above the whole budget is refused at the start of the service.
            NotRun::OverBudget => XrpcError::overloaded(error.to_string(), Duration::from_secs(60)),
            NotRun::Unfinished { retry_after } => {
                XrpcError { may_have_run: true, ..XrpcError::overloaded(error.to_string(), retry_after) }
            }
            NotRun::Lost(lost @ Lost::Quarantined) => {
                XrpcError::overloaded(lost.to_string(), Duration::from_secs(600))
            }
            NotRun::Lost(lost) => {
                tracing::error!(%lost, "a run has no outcome");
                XrpcError {
                    may_have_run: lost.may_have_run(),
                    ..XrpcError::overloaded("the run was lost; retry in 1 s", Duration::from_secs(1))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::auth::{Holder, IssuerFault, Malformed, SignatureFault, Trouble};

    use super::*;

    #[test]
    fn the_wait_in_the_message_is_the_one_in_the_header() {
        for (millis, seconds) in [(1, 1), (1000, 1), (1001, 2), (2700, 3)] {
            let error = XrpcError::from(RegistryError::Overloaded(Duration::from_millis(millis)));
            assert!(error.message.ends_with(&format!("retry in {seconds} s")), "{}", error.message);
            let response = error.into_response_for(&RequestId::random());
            assert_eq!(response.headers()[header::RETRY_AFTER], seconds.to_string());
        }
    }

    #[test]
    fn a_fault_of_the_token_is_401_and_trouble_of_ours_is_not() {
        let cases: [(AuthError, u16, &str, Option<u64>); 8] = [
            (AuthError::Missing, 401, "AuthMissing", None),
            (Malformed::Parts.into(), 401, "BadJwt", None),
            (IssuerFault::NotFound.into(), 401, "BadJwtIss", None),
            (SignatureFault::Mismatch.into(), 401, "BadJwtSignature", None),
            (AuthError::Replayed, 401, "JwtReplayed", None),
            (AuthError::IssuerUnreachable(Trouble::Network), 502, "IssuerUnreachable", Some(5)),
            (AuthError::ShareExceeded(Holder::Issuer), 429, "RateLimitExceeded", Some(60)),
            (AuthError::MemoryFull, 503, "NotEnoughResources", Some(60)),
        ];
        for (error, status, name, wait) in cases {
            let told = XrpcError::from(error);
            assert_eq!((told.status.as_u16(), told.name), (status, name));
            assert_eq!(told.retry_after, wait.map(Duration::from_secs), "{name}");
        }
    }

    #[test]
    fn a_token_is_good_again_only_if_the_guest_never_began() {
        let second = Duration::from_secs(1);
        let cases: [(XrpcError, u16, bool); 10] = [
            (NotRun::Busy { retry_after: second }.into(), 503, true),
            (NotRun::OverBudget.into(), 503, true),
            (NotRun::Lost(Lost::NoSlot).into(), 503, true),
            (NotRun::Lost(Lost::Internal("x".into())).into(), 503, false),
            (NotRun::Lost(Lost::Closed).into(), 503, false),
            (NotRun::Unfinished { retry_after: second }.into(), 503, false),
            (RegistryError::NoThread.into(), 503, true),
            (RegistryError::Overloaded(second).into(), 503, true),
            (RegistryError::Timeout.into(), 504, false),
            (XrpcError::invalid_request("x"), 400, false),
        ];
        for (error, status, given_back) in cases {
            assert_eq!((error.status.as_u16(), error.gives_token_back()), (status, given_back), "{error:?}");
        }
    }
}
