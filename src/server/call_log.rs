//! What operators see of each request: one line at info, the times of its stages at debug, and figures.
//!
//! In: what is known of a request that is over. Out: log lines with the targets `call` and `describe`, and
//! metrics. Never: an input, an output or a token.

use std::time::Duration;

use crate::audit::CallRecord;
use crate::identity::Did;
use crate::telemetry::{self, Stage, Stages};
use crate::workers::CacheState;

use super::request_id::RequestId;

/// Tells of one call.
pub(super) fn tell(call: &CallRecord, id: &RequestId, took: Duration) {
    telemetry::count_call(call.decided, took);
    if let Some(cache) = call.cache {
        telemetry::count_artifact_lookup(cache);
    }
    call.stages.record();
    #[cfg(feature = "otlp")]
    telemetry::otlp::tell(call, id.as_str(), id.parent(), took);
    tracing::info!(
        target: "call",
        parent: None,
        request = id.as_str(),
        trace_id = id.trace(),
        decided = call.decided,
        caller = call.caller.as_ref().map(Did::as_str),
        function = call.function.as_deref(),
        cid = call.cid.map(|cid| cid.to_string()),
        rule = call.rule.as_deref(),
        cache = call.cache.map(CacheState::as_str),
        answer_from = call.answer_from,
        cpu_ms = call.usage.map(|usage| millis(usage.cpu)),
        ms = millis(took),
    );
    tell_stages(&call.stages, id);
}

/// Tells of one description.
pub(super) fn tell_describe(call: &CallRecord, id: &RequestId, took: Duration) {
    telemetry::count_describe(call.decided);
    tracing::info!(
        target: "describe",
        parent: None,
        request = id.as_str(),
        trace_id = id.trace(),
        decided = call.decided,
        caller = call.caller.as_ref().map(Did::as_str),
        function = call.function.as_deref(),
        cid = call.cid.map(|cid| cid.to_string()),
        ms = millis(took),
    );
}

fn tell_stages(stages: &Stages, id: &RequestId) {
    let ms = |stage| stages.took(stage).map(millis);
    tracing::debug!(
        target: "call",
        parent: None,
        request = id.as_str(),
        trace_id = id.trace(),
        auth_ms = ms(Stage::Auth),
        body_ms = ms(Stage::Body),
        record_ms = ms(Stage::Record),
        policy_ms = ms(Stage::Policy),
        input_ms = ms(Stage::Input),
        code_ms = ms(Stage::Code),
        compile_ms = ms(Stage::Compile),
        queue_ms = ms(Stage::Queue),
        run_ms = ms(Stage::Run),
        answer_ms = ms(Stage::Answer),
        "stages"
    );
}

/// Milliseconds to the microsecond.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
