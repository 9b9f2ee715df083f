//! Figures that every call tells, looked up once: to find one by its name and labels takes longer than to
//! count.
//!
//! In: nothing. Out: handles of the process's recorder, once it is installed. Never: a figure that is not
//! announced at the start, or a handle of another recorder (a test's own).

use std::sync::OnceLock;

use metrics::{Counter, Histogram, counter, histogram};

use super::stages::STAGE_SECONDS;
use super::{
    ARTIFACT_LOOKUPS, CALL_SECONDS, CALLS, LOOKUPS, MEMO_LOOKUPS, RUN_WAIT_SECONDS, Stage, told_found,
};
use crate::sandbox::Outcome;
use crate::workers::CacheState;

/// What calls look up that are known already.
const WARM_LOOKUPS: [&str; 3] = ["code", "document", "record"];

static HANDLES: OnceLock<Handles> = OnceLock::new();

/// What a call counts whose way is the usual one.
pub(super) struct Handles {
    pub(super) call_seconds: Histogram,
    pub(super) run_wait_seconds: Histogram,
    stages: [Histogram; Stage::ALL.len()],
    ok: Counter,
    warm: Counter,
    lookups: [Counter; WARM_LOOKUPS.len()],
    /// Not found, and found.
    memo_lookups: [Counter; 2],
}

/// Looks them up. To be called when the recorder is installed.
pub(super) fn look_up() {
    HANDLES.get_or_init(|| Handles {
        call_seconds: histogram!(CALL_SECONDS),
        run_wait_seconds: histogram!(RUN_WAIT_SECONDS),
        stages: Stage::ALL.map(|stage| histogram!(STAGE_SECONDS, "stage" => stage.as_str())),
        ok: counter!(CALLS, "decided" => Outcome::Ok.as_str()),
        warm: counter!(ARTIFACT_LOOKUPS, "from" => CacheState::Warm.as_str()),
        lookups: WARM_LOOKUPS.map(|what| counter!(LOOKUPS, "what" => what, "from" => "memory")),
        memo_lookups: [false, true].map(|found| counter!(MEMO_LOOKUPS, "found" => told_found(found))),
    });
}

/// The handles, where a recorder is installed.
pub(super) fn known() -> Option<&'static Handles> {
    HANDLES.get()
}

impl Handles {
    /// The counter of calls that were decided so.
    pub(super) fn call(&self, decided: &str) -> Option<&Counter> {
        (decided == Outcome::Ok.as_str()).then_some(&self.ok)
    }

    /// The counter of calls that found their code so.
    pub(super) fn artifact(&self, from: CacheState) -> Option<&Counter> {
        (from == CacheState::Warm).then_some(&self.warm)
    }

    /// The counter of lookups that found this in memory.
    pub(super) fn lookup(&self, what: &str) -> Option<&Counter> {
        let place = WARM_LOOKUPS.iter().position(|known| *known == what)?;
        self.lookups.get(place)
    }

    /// The counter of looks for the output of an earlier call.
    pub(super) fn memo_lookup(&self, found: bool) -> &Counter {
        &self.memo_lookups[usize::from(found)]
    }

    /// What calls spent in a stage.
    pub(super) fn stage(&self, stage: Stage) -> &Histogram {
        &self.stages[stage as usize]
    }
}
