//! The facts of a call: who called what, what was decided, what it cost.

use ipld_core::cid::Cid;

use crate::identity::Did;
use crate::sandbox::{Outcome, Usage};
use crate::telemetry::Stages;
use crate::workers::CacheState;

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
    /// Where the answer came from, where no guest ran for this call: `kept`, `shared` or `memo`.
    pub answer_from: Option<&'static str>,
    /// What the guest used.
    pub usage: Option<Usage>,
    /// Where the compiled code was.
    pub cache: Option<CacheState>,
    /// How long it took, stage by stage.
    pub stages: Stages,
}

impl CallRecord {
    /// That of a call whose caller goes away before anything is known.
    pub fn canceled() -> CallRecord {
        CallRecord { decided: Outcome::Canceled.as_str(), ..CallRecord::default() }
    }
}
