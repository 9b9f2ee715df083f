//! The facts of a call: who called what, what was decided, what it cost. And the line of them in the service's own log.

use std::time::Duration;

use ipld_core::cid::Cid;

use crate::identity::Did;
use crate::sandbox::Usage;

/// What is known of a call when it is over; what was never reached is absent.
#[derive(Clone, Debug, Default)]
pub struct CallRecord {
    /// The caller, once proved.
    pub caller: Option<Did>,
    /// The at-uri that was called, as it was written.
    pub function: Option<String>,
    /// The CID of the record that was proved.
    pub cid: Option<Cid>,
    /// The rule that decided whether the call was allowed, where one did.
    pub rule: Option<String>,
    /// The guest's outcome, or the name of the error that the caller got.
    pub decided: &'static str,
    /// What the guest used.
    pub usage: Option<Usage>,
}

/// Writes the line of the service's own log.
pub fn write(call: &CallRecord, request: &str, took: Duration) {
    tracing::info!(
        target: "audit",
        request,
        decided = call.decided,
        caller = call.caller.as_ref().map(Did::as_str),
        function = call.function.as_deref(),
        cid = call.cid.map(|cid| cid.to_string()),
        cpu_us = call.usage.map(|usage| usage.cpu.as_micros() as u64),
        took_us = took.as_micros() as u64,
    );
}
