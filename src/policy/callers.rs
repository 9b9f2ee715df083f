//! The operator's lists of callers.

use super::accounts::AccountList;
use super::{Admission, Refusal, Refused, Rule};
use crate::identity::{Did, PdsHost};

const BLOCK: &str = "callers.block";
const ALLOW: &str = "callers.allow";

/// Whom the operator serves: nobody who is blocked, and if there is a list of those who are allowed, nobody else.
#[derive(Clone, Debug, Default)]
pub(super) struct Callers {
    pub(super) block: AccountList,
    pub(super) allow: Option<AccountList>,
}

impl Callers {
    /// Whether there is a list of those who may call.
    pub(super) fn are_listed(&self) -> bool {
        self.allow.is_some()
    }

    /// The claim of a caller to be at `pds` is enough to be blocked, and not to be allowed.
    pub(super) fn admit(&self, did: &Did, pds: Option<&PdsHost>) -> Result<Admission, Refused> {
        let refused = |rule| Refused { refusal: Refusal::CallerBlocked, rule };
        if let Some(index) = self.block.blocks(did, pds) {
            return Err(refused(Rule::entry(BLOCK, index)));
        }
        let Some(allow) = &self.allow else { return Ok(Admission::Given(None)) };
        allow.allows(ALLOW, did, pds).ok_or(refused(Rule::named(ALLOW)))
    }
}
