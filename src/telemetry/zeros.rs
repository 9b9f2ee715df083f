//! Every series at zero from the start, so that a rate of it is right from its first event on, and an
//! alert on it knows that it is there.
//!
//! Labels come from closed sets, so that all their values can be told beforehand.

use metrics::{counter, gauge, histogram};

use super::stages::STAGE_SECONDS;
use super::{
    ARTIFACT_LOOKUPS, BUILD_INFO, CALL_SECONDS, CALLS, COMPILE_SECONDS, COMPILES_ENDED, DESCRIBES,
    HOST_CALLS, LOOKUPS, MEMO_LOOKUPS, NAMED_CALLS, READS, READY, RUN_WAIT_SECONDS, Stage, TRACED_CALLS,
    TRACED_ENDS, UPSTREAM_REQUESTS, UPSTREAM_SECONDS, announce_policy_reloads, begin_overload_at_zero,
    record_audit, record_kept_answers, record_memo, record_revisions, record_tokens, record_workers,
    told_found,
};
use crate::audit;
use crate::egress::{Ended, Way};
use crate::idempotency::{self, Source};
use crate::lexicon::ERRORS;
use crate::memo;
use crate::sandbox::Outcome;
use crate::workers::{CacheState, CompileEnd, Stats};

/// What guests ask their host for, and what comes of it (`door`).
const HOST_CALL_KINDS: [&str; 3] = ["listCollection", "readBlob", "readRecord"];
const HOST_CALL_ENDS: [&str; 3] = ["given", "refused", "abandoned"];
/// What is read for guests, and where it comes from (`registry`).
const READ_KINDS: [&str; 3] = ["blob", "page", "record"];
const READ_SOURCES: [&str; 3] = ["memory", "network", "shared"];
/// What calls look up, and where it comes from (`registry`, `identity`).
const LOOKUP_KINDS: [&str; 5] = ["code", "document", "grant", "handle", "record"];
const LOOKUP_SOURCES: [&str; 2] = ["memory", "network"];

/// Makes all series.
pub(super) fn register() {
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
    gauge!(READY).set(0);
    for decided in Outcome::ALL.map(Outcome::as_str).into_iter().chain(ERRORS) {
        counter!(CALLS, "decided" => decided).increment(0);
    }
    for decided in ["ok", Outcome::Canceled.as_str()].into_iter().chain(ERRORS) {
        counter!(DESCRIBES, "decided" => decided).increment(0);
    }
    let _ = histogram!(CALL_SECONDS);
    for stage in Stage::ALL {
        let _ = histogram!(STAGE_SECONDS, "stage" => stage.as_str());
    }
    for from in CacheState::ALL {
        counter!(ARTIFACT_LOOKUPS, "from" => from.as_str()).increment(0);
    }
    for ended in CompileEnd::ALL {
        counter!(COMPILES_ENDED, "ended" => ended.as_str()).increment(0);
    }
    let _ = histogram!(COMPILE_SECONDS);
    for way in Way::ALL {
        for ended in Ended::ALL {
            counter!(UPSTREAM_REQUESTS, "way" => way.as_str(), "ended" => ended.as_str()).increment(0);
        }
        let _ = histogram!(UPSTREAM_SECONDS, "way" => way.as_str());
    }
    pairs(HOST_CALLS, ["call", "answered"], &HOST_CALL_KINDS, &HOST_CALL_ENDS);
    pairs(READS, ["what", "from"], &READ_KINDS, &READ_SOURCES);
    pairs(LOOKUPS, ["what", "from"], &LOOKUP_KINDS, &LOOKUP_SOURCES);
    for from in [Source::Run, Source::Shared, Source::Kept].map(Source::as_str).into_iter().chain(["refused"])
    {
        counter!(NAMED_CALLS, "from" => from).increment(0);
    }
    for ended in TRACED_ENDS {
        counter!(TRACED_CALLS, "ended" => ended).increment(0);
    }
    let _ = histogram!(RUN_WAIT_SECONDS);
    begin_overload_at_zero();
    announce_policy_reloads();
    record_audit(&audit::Stats::default());
    record_kept_answers(&idempotency::Stats::default());
    record_revisions(false);
    for found in [false, true] {
        counter!(MEMO_LOOKUPS, "found" => told_found(found)).increment(0);
    }
    record_memo(&memo::Stats::default());
    record_workers(&Stats::default());
    record_tokens(0);
}

/// A counter for each two values of two labels.
fn pairs(name: &'static str, labels: [&'static str; 2], first: &[&'static str], second: &[&'static str]) {
    for one in first {
        for other in second {
            counter!(name, labels[0] => *one, labels[1] => *other).increment(0);
        }
    }
}
