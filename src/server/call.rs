//! One call of `at.functions.run`, from its head to its answer.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{Request, header};

use crate::audit;
use crate::auth::{Repeat, Ticket};
use crate::idempotency::Answer;
use crate::identity::PdsHost;
use crate::policy::Caller;
use crate::policy::limits::Admitted;
use crate::registry::Function;
use crate::sandbox::Outcome;
use crate::telemetry::Stage;

use super::admission::{self, Visitor};
use super::deadline::Deadline;
use super::envelope::RunRequest;
use super::execute::{Run, execute};
use super::request_id::RequestId;
use super::service::Service;
use super::{XrpcError, answer, body, call_log, limited, repeats};

/// The method's name, which tokens are bound to.
pub(super) const RUN: &str = "at.functions.run";

/// Answers one call: the guest's outcome, or the refusal by whatever stood in its way.
pub(super) async fn run(service: &Arc<Service>, request: Request<Body>, id: &RequestId) -> Response {
    let deadline = Deadline::start();
    let mut account = Account::open(&service.audit, id, deadline);
    let record = &mut account.record;
    record.stages.enter(Stage::Auth);
    let mut quota = None;
    let (head, request_body) = request.into_parts();
    let authenticated = match service.audit.admits() {
        Ok(()) => authenticate(service, &head.headers, (RUN, Repeat::SingleUse), deadline).await,
        Err(unwritten) => Err(unwritten.into()),
    };
    record.stages.enter(Stage::Body);
    let result = match authenticated {
        Ok((visitor, ticket)) => {
            record.caller = visitor.caller.did().cloned();
            let result = match enter(service, &visitor, &head, deadline, record).await {
                Ok(admitted) => {
                    quota = admitted.quota;
                    attempt(service, &visitor, &head, request_body, deadline, id, record).await
                }
                Err(error) => {
                    body::drain(&head.headers, request_body, deadline).await;
                    Err(error)
                }
            };
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
    let result = account.settle(result).await;
    drop(account);
    let (mut response, quota) = match result {
        Ok((response, _)) => (response, quota),
        Err(error) => {
            let quota = error.quota.or(quota);
            (error.into_response_for(id), quota)
        }
    };
    limited::tell(&mut response, quota, service.clock.since_epoch());
    response
}

/// What is put on record of a call when it is over, also when its caller goes away before that.
struct Account<'a> {
    log: &'a audit::AuditLog,
    is_written: bool,
    record: audit::CallRecord,
    id: &'a RequestId,
    deadline: Deadline,
}

impl<'a> Account<'a> {
    fn open(log: &'a audit::AuditLog, id: &'a RequestId, deadline: Deadline) -> Account<'a> {
        Account { log, is_written: false, record: audit::CallRecord::canceled(), id, deadline }
    }

    /// Has the call's line written. Without it, this is the answer, unless the operator chose otherwise.
    async fn settle<T>(&mut self, result: Result<T, XrpcError>) -> Result<T, XrpcError> {
        // It is in the queue at the first step, also if nobody waits for the second.
        self.is_written = true;
        match self.log.write(&self.record, self.id.as_str(), self.deadline.elapsed()).await {
            Ok(()) => result,
            Err(unwritten) => {
                let error = XrpcError::from(unwritten);
                self.record.decided = error.name;
                Err(error)
            }
        }
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.record.stages.end();
        let took = self.deadline.elapsed();
        if !self.is_written {
            self.log.note(&self.record, self.id.as_str(), took);
        }
        call_log::tell(&self.record, self.id, took);
    }
}

/// Who calls the method. A token, where there is one, is verified whatever the rule for calls without.
pub(super) async fn authenticate(
    service: &Service,
    headers: &http::HeaderMap,
    (method, repeat): (&str, Repeat),
    deadline: Deadline,
) -> Result<(Visitor, Option<Ticket>), XrpcError> {
    let policy = service.policies.current();
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
    if authorization.is_none() && policy.admits_anonymous() {
        return Ok((Visitor { caller: Caller::Anonymous, pds: None, policy }, None));
    }
    let verifying = service.verifier.verify(authorization.map(|value| value.as_bytes()), method, repeat);
    let verified = deadline
        .bound(verifying, || {
            XrpcError::new(
                http::StatusCode::BAD_GATEWAY,
                "IssuerUnreachable",
                "the token's issuer could not be resolved in time; try again",
            )
        })
        .await?;
    let caller = Caller::Verified(verified.caller);
    Ok((Visitor { caller, pds: verified.pds, policy }, Some(verified.ticket)))
}

/// Whether the caller may call at all, and now.
pub(super) async fn enter(
    service: &Service,
    visitor: &Visitor,
    head: &http::request::Parts,
    deadline: Deadline,
    record: &mut audit::CallRecord,
) -> Result<Admitted, XrpcError> {
    admission::caller(visitor, &service.hosting, deadline, record).await?;
    let host = match (&visitor.caller, &visitor.pds) {
        (Caller::Verified(caller), Some(pds)) => service.hosting.known(caller.did(), pds).await,
        _ => None,
    };
    // Its ports are its owner's, who would have a limit for each.
    service.gates.admit(&visitor.caller, host.as_ref().map(PdsHost::name), head)
}

/// What follows once the caller is let in.
async fn attempt(
    service: &Arc<Service>,
    visitor: &Visitor,
    head: &http::request::Parts,
    mut request_body: Body,
    deadline: Deadline,
    id: &RequestId,
    record: &mut audit::CallRecord,
) -> Result<(Response, Outcome), XrpcError> {
    let max_bytes = service.max_payload_bytes;
    if let Err(error) = body::check_headers(&head.headers, max_bytes) {
        body::drain(&head.headers, request_body, deadline).await;
        return Err(error);
    }
    let bytes = match body::read(&mut request_body, max_bytes, deadline).await {
        Ok(bytes) => bytes,
        Err(error) => {
            body::drain(&head.headers, request_body, deadline).await;
            return Err(error);
        }
    };
    drop(request_body);
    let request = RunRequest::parse(&bytes)?;
    record.function = Some(request.function.to_string());
    let key = repeats::key(service, &visitor.caller, &head.headers, request.idempotency_key.as_deref())?;

    record.stages.enter(Stage::Record);
    let late = XrpcError::repo_timeout;
    let (author, rkey) = deadline.bound(service.registry.name(&request.function), late).await?;
    admission::function(visitor, service, (&author, &rkey), deadline, record).await?;
    let mut function = deadline.bound(service.registry.function_named(author, rkey), late).await?;
    if request.cid.is_some_and(|expected| expected != function.cid) {
        function = deadline.bound(service.registry.function_anew(&function), late).await?;
    }
    record.cid = Some(function.cid);
    record.stages.enter(Stage::Policy);
    let now = service.clock.since_epoch();
    admission::access(visitor, &service.registry, &function, deadline, now, record).await?;
    let _admitted = service.gates.admit_to(&visitor.policy, &function)?;
    if let Some(expected) = request.cid.filter(|expected| *expected != function.cid) {
        return Err(changed(&expected, &function));
    }

    let input = bytes.slice_ref(request.input.get().as_bytes());
    let party = service.gates.party(&visitor.caller, head);
    let run = Run { visitor, party, function, input, deadline, id, is_named: key.is_some() };
    match key {
        None => {
            let Answer { outcome, body } = execute(service, run, record).await?;
            Ok((answer::respond(body), outcome))
        }
        Some(key) => repeats::answer(service, &key, run, record).await,
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, PoisonError};
    use std::time::Duration;

    use bytes::Bytes;

    use crate::clock::Clock;
    use crate::config::{Anonymous, Config, Settings};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_call_whose_caller_goes_away_is_on_record() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::complete(Settings {
            hostname: Some("localhost:3000".into()),
            data_dir: Some(directory.path().into()),
            anonymous: Some(Anonymous::Public),
            ..Settings::default()
        })
        .unwrap();
        let service = Service::start(&config, Clock::system()).unwrap();
        let lines = Lines::default();
        let writer = lines.clone();
        let logs = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _logging = tracing::subscriber::set_default(logs);

        // Its body never comes to an end.
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, io::Error>>());
        let request = Request::post("/xrpc/at.functions.run").body(body).unwrap();
        let id = RequestId::random();
        let gone = tokio::time::timeout(Duration::from_millis(10), run(&service, request, &id)).await;
        assert!(gone.is_err());
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let of_this_call = text.lines().filter(|line| line.contains(id.as_str())).collect::<Vec<_>>();
        assert_eq!(of_this_call.len(), 1, "{text}");
        assert!(
            of_this_call[0].contains(" call: ") && of_this_call[0].contains("decided=\"canceled\""),
            "{text}"
        );
    }
}
