//! Calls that their callers name, so that sending one again does not run it again.

use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::audit::CallRecord;
use crate::idempotency::{Answer, Call, Given, IdempotencyKey, InvalidKey, MAX_KEY_CHARS, Source};
use crate::lexicon::FUNCTION_COLLECTION;
use crate::policy::Caller;
use crate::sandbox::{BoxFuture, Outcome};
use crate::telemetry;

use super::execute::{Run, execute};
use super::service::Service;
use super::{XrpcError, answer};

/// The header that direct callers may name a call in; a PDS does not pass it on.
pub(super) const KEY: &str = "idempotency-key";
/// The header that tells direct callers that the function did not run for this call.
pub(super) const REPLAYED: &str = "idempotency-replayed";

/// The name that the caller gave the call, in its body, in a header, or in both alike.
pub(super) fn key(
    service: &Service,
    caller: &Caller,
    headers: &HeaderMap,
    in_body: Option<&str>,
) -> Result<Option<IdempotencyKey>, XrpcError> {
    let in_headers = headers.get_all(KEY).iter().map(|value| ("Idempotency-Key", value.as_bytes(), true));
    let in_body = in_body.map(|text| ("idempotencyKey", text.as_bytes(), false));
    let mut named: Option<IdempotencyKey> = None;
    for (place, bytes, is_header) in in_headers.chain(in_body) {
        let parse = if is_header { IdempotencyKey::parse_header } else { IdempotencyKey::parse };
        let key = parse(bytes).map_err(|InvalidKey| {
            XrpcError::invalid_request(format!(
                "{place}: expected 1 to {MAX_KEY_CHARS} visible ASCII characters without \" and \\"
            ))
        })?;
        if named.as_ref().is_some_and(|first| *first != key) {
            return Err(XrpcError::invalid_request(
                "the request has two different idempotency keys; send one",
            ));
        }
        named = Some(key);
    }
    match (&named, caller) {
        (Some(_), Caller::Anonymous) => Err(XrpcError::invalid_request(
            "idempotency keys are for callers with a token: without one, nobody can be told from anybody else",
        )),
        (Some(_), _) if service.idempotency.is_none() => Err(XrpcError::invalid_request(
            "idempotencyKey is not offered by this service; leave it out and rely on retries being safe only \
             where the function is",
        )),
        _ => Ok(named),
    }
}

/// The answer to a call of this name: that of its first run, or of a run that this one begins or joins.
pub(super) async fn answer(
    service: &Arc<Service>,
    key: &IdempotencyKey,
    run: Run<'_>,
    record: &mut CallRecord,
) -> Result<(Response, Outcome), XrpcError> {
    let (Some(idempotency), Caller::Verified(caller)) = (&service.idempotency, &run.visitor.caller) else {
        return Err(XrpcError::invalid_request("idempotencyKey is not offered for this call"));
    };
    let function = &run.function;
    let uri = format!("at://{}/{FUNCTION_COLLECTION}/{}", function.author.as_str(), function.rkey.as_str());
    let call = Call::new(caller.did(), &function.cid, key, &uri, &run.input);
    let ran = Ran::default();
    let answer_by = run.deadline.answer_by();
    let begin = owned(service, run, record.clone(), ran.clone());
    let given = idempotency.answer(&call, answer_by, begin).await;
    // What the run put on record, where it was this call's.
    if let Some(of_the_run) = ran.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
        *record = of_the_run;
    }
    telemetry::count_named_call(match &given {
        Ok(given) => given.from.as_str(),
        Err(_) => "refused",
    });
    let Given { answer, from } = given?;
    let mut response = answer::respond(answer.body);
    if from != Source::Run {
        record.answer_from = Some(from.as_str());
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static(REPLAYED), HeaderValue::from_static("true"));
    }
    Ok((response, answer.outcome))
}

/// The record of a run, once it is over.
#[derive(Clone, Default)]
struct Ran(Arc<Mutex<Option<CallRecord>>>);

/// The run, with all that it needs: it may outlive the call that began it.
fn owned(
    service: &Arc<Service>,
    run: Run<'_>,
    mut record: CallRecord,
    ran: Ran,
) -> impl FnOnce() -> BoxFuture<'static, Result<Answer, XrpcError>> + Send + 'static {
    let Run { visitor, party, function, input, deadline, id, is_named } = run;
    let (service, visitor, id) = (Arc::clone(service), visitor.clone(), id.clone());
    move || {
        Box::pin(async move {
            let run = Run { visitor: &visitor, party, function, input, deadline, id: &id, is_named };
            let result = execute(&service, run, &mut record).await;
            *ran.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(record);
            result
        })
    }
}
