//! `at.functions.describe`: what a function's record says, and what it means here and for this caller.
//!
//! A description goes the way of a call as far as policy: it is authenticated before anything is fetched,
//! bounded by the same deadline, and reads the same caches. It fetches no code and compiles nothing.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode, header, request};
use serde::Serialize;
use serde_json::Value;

use crate::audit::CallRecord;
use crate::auth::Repeat;
use crate::lexicon::{AtUri, FUNCTION_COLLECTION, FunctionMetadata};
use crate::policy::limits::Limit;
use crate::policy::{MAX_SCOPES, Policy, Reads, judged};
use crate::registry::Function;

use super::deadline::Deadline;
use super::request_id::RequestId;
use super::service::Service;
use super::{XrpcError, admission, body, call, call_log, execute, limited};

/// The method's name, which tokens are bound to.
pub(super) const DESCRIBE: &str = "at.functions.describe";

/// Answers one request.
pub(super) async fn describe(service: &Service, request: Request<Body>, id: &RequestId) -> Response {
    let deadline = Deadline::start();
    let mut account = Account { record: CallRecord::canceled(), id, deadline };
    let (head, request_body) = request.into_parts();
    let result = attempt(service, &head, deadline, &mut account.record).await;
    body::drain(&head.headers, request_body, deadline).await;
    account.record.decided = match &result {
        Ok(_) => "ok",
        Err(error) => error.name,
    };
    drop(account);
    result.unwrap_or_else(|error| {
        let quota = error.quota;
        let mut response = error.into_response_for(id);
        limited::tell(&mut response, quota, service.clock.since_epoch());
        response
    })
}

/// What is told of a request when it is over, also when its caller goes away before that.
struct Account<'a> {
    record: CallRecord,
    id: &'a RequestId,
    deadline: Deadline,
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        call_log::tell_describe(&self.record, self.id, self.deadline.elapsed());
    }
}

async fn attempt(
    service: &Service,
    head: &request::Parts,
    deadline: Deadline,
    record: &mut CallRecord,
) -> Result<Response, XrpcError> {
    let asked = (DESCRIBE, Repeat::Repeatable);
    let (visitor, _) = call::authenticate(service, &head.headers, asked, deadline).await?;
    record.caller = visitor.caller.did().cloned();
    // It costs its caller what a call does.
    let _admitted = call::enter(service, &visitor, head, deadline, record).await?;
    let uri = parameter(head.uri.query().unwrap_or_default())?;
    record.function = Some(uri.to_string());
    let late = XrpcError::repo_timeout;
    let (author, rkey) = deadline.bound(service.registry.name(&uri), late).await?;
    admission::function(&visitor, service, (&author, &rkey), deadline, record).await?;
    let function = deadline.bound(service.registry.function_named(author, rkey), late).await?;
    record.cid = Some(function.cid);
    let now = service.clock.since_epoch();
    let access = admission::access(&visitor, &service.registry, &function, deadline, now, record).await;
    Ok(respond(service, &visitor.policy, &function, access.err().as_ref()))
}

/// The parameter `function`, given once. Others are not for this method.
fn parameter(query: &str) -> Result<AtUri, XrpcError> {
    let mut given = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "function");
    let (Some((_, text)), None) = (given.next(), given.next()) else {
        return Err(XrpcError::invalid_request(
            "function: send this parameter once, the at-uri of the function's record",
        ));
    };
    AtUri::parse(&text).map_err(|error| XrpcError::invalid_request(format!("function: {error}")))
}

/// The answer (the lexicon's output).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    uri: String,
    cid: String,
    rev: String,
    name: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<&'a str>,
    mode: &'static str,
    public: bool,
    code: Code,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_schema: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<&'a Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict_output: bool,
    limits: LimitsTold,
    reads: ReadsTold<'a>,
    may_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<RefusalTold<'a>>,
}

#[derive(Serialize)]
struct Code {
    cid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LimitsTold {
    max_memory_mb: u64,
    max_duration_ms: u64,
    max_request_bytes: usize,
    max_output_bytes: usize,
    max_host_calls: u32,
    max_host_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_calls: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author_calls: Option<String>,
}

#[derive(Serialize)]
struct ReadsTold<'a> {
    rule: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<Entry<'a>>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    entry: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Serialize)]
struct RefusalTold<'a> {
    error: &'static str,
    message: &'a str,
}

fn respond(service: &Service, policy: &Policy, function: &Function, refusal: Option<&XrpcError>) -> Response {
    let metadata = &function.metadata;
    let description = Description {
        uri: format!("at://{}/{FUNCTION_COLLECTION}/{}", function.author, function.rkey.as_str()),
        cid: function.cid.to_string(),
        rev: function.rev.to_string(),
        name: &metadata.name,
        version: &metadata.version,
        description: metadata.description.as_deref(),
        updated_at: metadata.updated_at.as_deref(),
        mode: metadata.mode.as_str(),
        public: metadata.public,
        code: Code { cid: metadata.code.cid.to_string(), size: metadata.code.size },
        input_schema: metadata.input_schema.as_ref(),
        output_schema: metadata.output_schema.as_ref(),
        strict_output: metadata.strict_output,
        limits: limits(policy, function, service.max_payload_bytes),
        reads: reads(metadata, &execute::reads(policy, function)),
        may_run: refusal.is_none(),
        refusal: refusal.map(|error| RefusalTold { error: error.name, message: &error.message }),
    };
    // Nothing in it fails to become JSON.
    let body = serde_json::to_vec(&description).unwrap_or_default();
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn limits(policy: &Policy, function: &Function, max_request_bytes: usize) -> LimitsTold {
    let asks = function.metadata.mode.has_host_calls();
    let limits = execute::limits(policy, function);
    let rates = policy.call_rates(&function.author, &function.rkey);
    let told = |limit: Limit| (limit != Limit::NONE).then(|| limit.to_string());
    LimitsTold {
        max_memory_mb: limits.memory_bytes / (1024 * 1024),
        max_duration_ms: limits.duration.as_millis() as u64,
        max_request_bytes,
        max_output_bytes: limits.output_bytes,
        max_host_calls: if asks { limits.host_calls } else { 0 },
        max_host_bytes: if asks { limits.host_bytes } else { 0 },
        function_calls: told(rates.function),
        author_calls: told(rates.author),
    }
}

fn reads<'a>(metadata: &'a FunctionMetadata, reads: &Reads) -> ReadsTold<'a> {
    let none = ReadsTold { rule: "none", entries: None };
    match (metadata.mode.has_host_calls(), reads, &metadata.allowed_hosts) {
        (false, ..) | (true, Reads::Only(_), None) => none,
        (true, Reads::Any, _) => ReadsTold { rule: "any", entries: None },
        (true, Reads::Only(_), Some(entries)) => {
            let considered = judged(entries).take(MAX_SCOPES);
            let told = considered
                .map(|(entry, scope)| Entry { entry, problem: scope.err().map(|why| why.to_string()) });
            ReadsTold { rule: "declared", entries: Some(told.collect()) }
        }
    }
}
