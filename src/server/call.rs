//! One call of `at.functions.run`, from its head to its answer.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{Request, header};

use crate::audit;
use crate::auth::{Repeat, Ticket};
use crate::policy::Caller;
use crate::registry::Function;
use crate::sandbox::{Job, Limits, NoDoor, Owner};
use crate::telemetry;
use crate::workers::Prepare;

use super::deadline::Deadline;
use super::envelope::RunRequest;
use super::request_id::RequestId;
use super::service::Service;
use super::{XrpcError, answer, body};

/// The method's name, which tokens are bound to.
pub(super) const RUN: &str = "at.functions.run";

/// Answers one call: the guest's outcome, or the refusal by whatever stood in its way.
pub(super) async fn run(service: &Service, request: Request<Body>, id: &RequestId) -> Response {
    let deadline = Deadline::start();
    let mut record = audit::CallRecord::default();
    let (head, request_body) = request.into_parts();
    let result = match authenticate(service, &head.headers, deadline).await {
        Ok((caller, ticket)) => {
            record.caller = match &caller {
                Caller::Verified(did) => Some(did.did().clone()),
                Caller::Anonymous => None,
            };
            let result = attempt(service, &caller, &head, request_body, deadline, &mut record).await;
            if let (Some(ticket), Err(error)) = (ticket, &result)
                && error.gives_token_back()
            {
                ticket.give_back();
            }
            result
        }
        Err(error) => {
            body::drain(&head.headers, request_body, deadline).await;
            Err(error)
        }
    };
    record.decided = match &result {
        Ok((_, outcome)) => outcome.as_str(),
        Err(error) => error.name,
    };
    audit::write(&record, id.as_str(), deadline.elapsed());
    telemetry::count_call(record.decided, deadline.elapsed());
    match result {
        Ok((response, _)) => response,
        Err(error) => error.into_response_for(id),
    }
}

/// Who calls. A token, where there is one, is verified whatever the rule for calls without.
async fn authenticate(
    service: &Service,
    headers: &http::HeaderMap,
    deadline: Deadline,
) -> Result<(Caller, Option<Ticket>), XrpcError> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let authorization = all.next();
    if all.next().is_some() {
        // Whoever stands in front may have looked at another one.
        return Err(XrpcError::new(
            http::StatusCode::UNAUTHORIZED,
            "BadJwt",
            "not a valid service JWT: send one Authorization header",
        ));
    }
    if authorization.is_none() && service.policy.admits_anonymous() {
        return Ok((Caller::Anonymous, None));
    }
    let verifying =
        service.verifier.verify(authorization.map(|value| value.as_bytes()), RUN, Repeat::SingleUse);
    let verified = deadline
        .bound(verifying, || {
            XrpcError::new(
                http::StatusCode::BAD_GATEWAY,
                "IssuerUnreachable",
                "the token's issuer could not be resolved in time; try again",
            )
        })
        .await?;
    Ok((Caller::Verified(verified.caller), Some(verified.ticket)))
}

/// What follows once the caller is known.
async fn attempt(
    service: &Service,
    caller: &Caller,
    head: &http::request::Parts,
    request_body: Body,
    deadline: Deadline,
    record: &mut audit::CallRecord,
) -> Result<(Response, crate::sandbox::Outcome), XrpcError> {
    let max_bytes = service.max_payload_bytes;
    if let Err(error) = body::check_headers(&head.headers, max_bytes) {
        body::drain(&head.headers, request_body, deadline).await;
        return Err(error);
    }
    let bytes = body::read(request_body, max_bytes, deadline).await?;
    let request = RunRequest::parse(&bytes)?;
    record.function = Some(request.function.to_string());

    let late = || {
        XrpcError::new(
            http::StatusCode::GATEWAY_TIMEOUT,
            "RepoTimeout",
            "the author's repo could not be read in time; try again",
        )
    };
    let mut function = deadline.bound(service.registry.function(&request.function), late).await?;
    if request.cid.is_some_and(|expected| expected != function.cid) {
        function = deadline.bound(service.registry.function_anew(&function), late).await?;
    }
    record.cid = Some(function.cid);
    service.policy.may_run(caller, &function)?;
    if let Some(expected) = request.cid.filter(|expected| *expected != function.cid) {
        return Err(changed(&expected, &function));
    }

    // The blob is confirmed with its author's PDS once an hour, also when its artifact is at hand.
    let code = deadline.bound(service.registry.code(&function), late).await?;
    let metadata = &function.metadata;
    let owner: Arc<str> = function.author.as_str().into();
    let prepare = Prepare {
        cid: metadata.code.cid,
        mode: metadata.mode,
        author: Arc::clone(&owner),
        deadline: deadline.answer_by(),
    };
    let (artifact, cache) = service.workers.prepare(prepare, || std::future::ready(Ok(code))).await?;
    let job = Job {
        artifact,
        owner: Owner { name: owner, public: metadata.public },
        input: bytes.slice_ref(request.input.get().as_bytes()),
        limits: limits(service, &function),
        door: Arc::new(NoDoor),
    };
    let completion = service.workers.run(job, deadline.answer_by()).await?;
    let outcome = completion.outcome();
    record.cpu = Some(completion.usage.cpu);
    Ok((answer::respond(&completion, &function.cid, cache), outcome))
}

/// The lower of the record's and the operator's limits.
fn limits(service: &Service, function: &Function) -> Limits {
    let metadata = &function.metadata;
    Limits {
        memory_bytes: u64::from(metadata.max_memory_mb.min(service.max_memory_mb)) * 1024 * 1024,
        duration: std::time::Duration::from_millis(metadata.max_duration_ms.into()).min(service.max_duration),
        output_bytes: service.max_payload_bytes,
    }
}

fn changed(expected: &ipld_core::cid::Cid, function: &Function) -> XrpcError {
    XrpcError::new(
        http::StatusCode::BAD_REQUEST,
        "FunctionChanged",
        format!(
            "the call is pinned to {expected}, but the author's record is now {}; review the new version, \
             then pin that",
            function.cid
        ),
    )
}
