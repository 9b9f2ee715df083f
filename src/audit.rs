//! One line a call: who called what, what was decided, what it cost.
//!
//! In: the facts of a finished call. Out: a log line with the target `audit`, for the operator.
//! Never: an input or an output, or a token.

use std::time::Duration;

use ipld_core::cid::Cid;

use crate::identity::Did;

/// What is known of a call when it is over; what was never reached is absent.
#[derive(Clone, Debug, Default)]
pub struct CallRecord {
    /// The caller, once proved.
    pub caller: Option<Did>,
    /// The at-uri that was called, as it was written.
    pub function: Option<String>,
    /// The CID of the record that was proved.
    pub cid: Option<Cid>,
    /// The guest's outcome, or the name of the error that the caller got.
    pub decided: &'static str,
    /// What the guest used.
    pub cpu: Option<Duration>,
}

/// Writes the line.
pub fn write(call: &CallRecord, request: &str, took: Duration) {
    tracing::info!(
        target: "audit",
        request,
        decided = call.decided,
        caller = call.caller.as_ref().map(Did::as_str),
        function = call.function.as_deref(),
        cid = call.cid.map(|cid| cid.to_string()),
        cpu_us = call.cpu.map(|cpu| cpu.as_micros() as u64),
        took_us = took.as_micros() as u64,
    );
}
