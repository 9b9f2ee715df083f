//! The run of a call that may run: its code, its limits, and what it is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::audit;
use crate::door::RunDoor;
use crate::idempotency::Answer;
use crate::lexicon::FUNCTION_COLLECTION;
use crate::policy::{Caller, Policy, Reads};
use crate::registry::{Function, MAX_BLOB_BYTES};
use crate::sandbox::{Context, Door, Job, Limits, LogLine, Logs, MAX_MODULE_BYTES, NoDoor, Owner};
use crate::telemetry::Stage;
use crate::workers::Prepare;

use super::admission::Visitor;
use super::deadline::Deadline;
use super::request_id::RequestId;
use super::service::Service;
use super::{XrpcError, answer, recall};

/// Host calls that a run may make. A page of a listing is one call, so this is 100,000 records.
pub(crate) const MAX_HOST_CALLS: u32 = 1_000;
/// Bytes that host calls may bring into a run, all together.
pub(crate) const MAX_HOST_BYTES: u64 = 32 * 1024 * 1024;

// What the sandbox admits can be fetched, and nothing larger is fetched for it.
const _: () = assert!(MAX_BLOB_BYTES == MAX_MODULE_BYTES);

/// A call that may run.
pub(super) struct Run<'a> {
    pub(super) visitor: &'a Visitor,
    /// Whose turn it is where runs wait.
    pub(super) party: Arc<str>,
    pub(super) function: Arc<Function>,
    pub(super) input: Bytes,
    pub(super) deadline: Deadline,
    pub(super) id: &'a RequestId,
    /// Whether the caller named the call with an idempotency key.
    pub(super) is_named: bool,
}

/// Runs a call that may run.
pub(super) async fn execute(
    service: &Service,
    run: Run<'_>,
    record: &mut audit::CallRecord,
) -> Result<Answer, XrpcError> {
    let policy = &run.visitor.policy;
    let limits = limits(policy, &run.function);
    let memo_key = recall::key(service, &run, &limits);
    let Run { visitor, party, function, input, deadline, id, is_named: _ } = run;
    let caller = &visitor.caller;
    // Before the code is fetched or compiled: neither is owed to an input that will not run.
    record.stages.enter(Stage::Input);
    service.checks.input(&function, input.clone(), deadline).await?;
    record.stages.enter(Stage::Code);
    let metadata = &function.metadata;
    let owner: Arc<str> = function.author.as_str().into();
    let prepare = Prepare {
        cid: metadata.code.cid,
        mode: metadata.mode,
        author: Arc::clone(&owner),
        deadline: deadline.answer_by(),
    };
    // While the author's PDS is asked whether it gives the code out still.
    let reading = service.workers.read_ahead(&prepare);
    let late = XrpcError::repo_timeout;
    let at_hand = deadline.bound(service.registry.confirm_code(&function), late).await?;
    let code = || {
        let (registry, function) = (service.registry.clone(), Arc::clone(&function));
        async move {
            match at_hand {
                Some(bytes) => Ok(bytes),
                None => registry.code(&function).await,
            }
        }
    };
    record.stages.enter(Stage::Compile);
    let (artifact, cache) = reading.prepare(prepare, code).await?;
    record.cache = Some(cache);
    if let Some(answer) = recall::answer(service, memo_key.as_ref(), (&function, &artifact), &input, record) {
        return Ok(answer);
    }
    let job = Job {
        artifact,
        owner: Owner { name: owner, public: metadata.public },
        input,
        limits,
        context: Arc::new(context(caller, &function, id, service.clock.since_epoch())),
        door: door(service, policy, &function),
    };
    record.stages.enter(Stage::Queue);
    let mut completion = service.workers.run(job, &party, deadline.answer_by()).await?;
    record.stages.ran(completion.wall);
    record.stages.enter(Stage::Answer);
    record.usage = Some(completion.usage);
    tell_logs(&completion.logs, id);
    let mismatch = service.checks.output(&function, &mut completion, deadline).await?;
    let outcome = completion.outcome();
    recall::keep(service, memo_key, &completion, mismatch.as_deref());
    // What a function says to its author is not for its callers.
    let by_the_author = matches!(caller, Caller::Verified(did) if *did.did() == function.author);
    let with_logs = service.show_logs || by_the_author;
    let body = answer::body(&completion, &function.cid, cache.as_str(), with_logs, mismatch.as_deref());
    Ok(Answer { outcome, body })
}

/// Writes what the function said into the service's own log, with what would not print escaped.
fn tell_logs(logs: &Logs, id: &RequestId) {
    for LogLine { level, message } in &logs.lines {
        tracing::debug!(target: "at_functions::guest", request = id.as_str(), %level, ?message);
    }
}

/// The lower of the record's and the operator's limits.
pub(super) fn limits(policy: &Policy, function: &Function) -> Limits {
    let metadata = &function.metadata;
    let ceiling = policy.ceiling(&function.author, &function.rkey);
    Limits {
        memory_bytes: u64::from(metadata.max_memory_mb.min(ceiling.memory_mb)) * 1024 * 1024,
        duration: Duration::from_millis(metadata.max_duration_ms.into()).min(ceiling.duration),
        output_bytes: ceiling.output_bytes,
        host_calls: MAX_HOST_CALLS,
        host_bytes: MAX_HOST_BYTES,
    }
}

/// Where the function's host calls go, with what its record allows them to read.
fn door(service: &Service, policy: &Policy, function: &Function) -> Arc<dyn Door> {
    let metadata = &function.metadata;
    if !metadata.mode.has_host_calls() {
        return Arc::new(NoDoor);
    }
    let reads = reads(policy, function);
    let (registry, author) = (service.registry.clone(), function.author.clone());
    Arc::new(RunDoor::new(registry, reads, author, tokio::runtime::Handle::current()))
}

/// What the function may read here.
pub(super) fn reads(policy: &Policy, function: &Function) -> Reads {
    Reads::of(function.metadata.allowed_hosts.as_deref(), policy.undeclared_reads())
}

/// What the function may learn of the call.
fn context(caller: &Caller, function: &Function, id: &RequestId, started: Duration) -> Context {
    Context {
        caller: match caller {
            Caller::Verified(did) => Some(did.did().as_str().to_owned()),
            Caller::Anonymous => None,
        },
        function: format!(
            "at://{}/{FUNCTION_COLLECTION}/{}",
            function.author.as_str(),
            function.rkey.as_str()
        ),
        function_cid: function.cid.to_string(),
        request_id: id.as_str().to_owned(),
        started,
    }
}
