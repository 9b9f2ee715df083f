//! Calls that are answered as the same one was before, without a run: the way into the memo and out of it.
//!
//! Whatever may refuse a call has been asked before: its caller, the operator's rules, the limits, the record as it is now, its
//! author's PDS about the code, the schema of its input, and the code's own standing with the sandbox.

use std::time::Duration;

use bytes::Bytes;

use crate::audit::CallRecord;
use crate::idempotency::Answer;
use crate::memo::{Kept, Key};
use crate::registry::Function;
use crate::sandbox::{Artifact, Completion, Limits, Logs, Outcome, Usage};
use crate::telemetry;

use super::answer;
use super::execute::Run;
use super::service::Service;

/// Where `usage` and the audit log say that an answer came from when nothing ran.
const MEMO: &str = "memo";

/// The key under which the call may be answered without a run. A call that its caller named has none: it is kept
/// elsewhere, with what its own run cost.
pub(super) fn key(service: &Service, run: &Run<'_>, limits: &Limits) -> Option<Key> {
    if run.is_named {
        return None;
    }
    service.memo.key(&run.visitor.caller, &run.function, limits, &run.input)
}

/// The answer that this call had before, if it is kept and the function may run at all.
pub(super) fn answer(
    service: &Service,
    key: Option<&Key>,
    (function, artifact): (&Function, &Artifact),
    input: &Bytes,
    record: &mut CallRecord,
) -> Option<Answer> {
    let key = key?;
    let kept = service.memo.find(key);
    // What crashed its sandbox, or might have, is not to be had by other ways either.
    let kept = kept.filter(|_| !service.workers.is_suspect(artifact, function.author.as_str()));
    telemetry::count_memo_lookup(kept.is_some());
    let kept = kept?;
    record.answer_from = Some(MEMO);
    let completion = Completion {
        result: Ok(kept.output.clone()),
        wall: Duration::ZERO,
        usage: Usage { input_bytes: input.len() as u64, output_bytes: kept.output_bytes, ..Usage::default() },
        logs: Logs::default(),
    };
    let body = answer::body(&completion, &function.cid, MEMO, false, kept.mismatch.as_deref());
    Some(Answer { outcome: Outcome::Ok, body })
}

/// Keeps what a run answered, if it ended well.
pub(super) fn keep(service: &Service, key: Option<Key>, completion: &Completion, mismatch: Option<&str>) {
    // A guest without imports says nothing; should it have, that would be missing the next time.
    let is_silent = completion.logs.lines.is_empty() && !completion.logs.cut;
    if let (Some(key), Ok(output), true) = (key, &completion.result, is_silent) {
        let output_bytes = completion.usage.output_bytes;
        let kept = Kept { output: output.clone(), output_bytes, mismatch: mismatch.map(str::to_owned) };
        service.memo.keep(key, kept);
    }
}
