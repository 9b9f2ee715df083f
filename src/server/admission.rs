//! Who is let in to what: the rules of the operator and of the author, asked in their order.
//!
//! In: who calls, and what, as far as that is known by then. Out: nothing, or the refusal; the rule that decided goes
//! on record. Never: a rule of its own (`policy` has them all).

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::audit::CallRecord;
use crate::identity::{Did, Hosting, PdsHost};
use crate::lexicon::RecordKey;
use crate::policy::{Access, Admission, Caller, Policy, Refusal, Refused, Rule};
use crate::registry::{Function, Registry};

use super::XrpcError;
use super::deadline::Deadline;
use super::service::Service;

/// Who calls, under the rules that stood when the call came.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) caller: Caller,
    /// The PDS that the caller's DID document names: their own claim.
    pub(super) pds: Option<Url>,
    pub(super) policy: Arc<Policy>,
}

/// Whether the operator lets the caller call at all. Asks the caller's PDS only where it counts: where the
/// operator serves the accounts of that PDS.
pub(super) async fn caller(
    visitor: &Visitor,
    hosting: &Hosting,
    deadline: Deadline,
    record: &mut CallRecord,
) -> Result<(), XrpcError> {
    let host = visitor.pds.as_ref().and_then(PdsHost::of);
    match visitor.policy.admit(&visitor.caller, host.as_ref()) {
        Ok(Admission::Given(rule)) => {
            note(record, rule);
            Ok(())
        }
        Ok(Admission::IfConfirmed(rule)) => {
            note(record, Some(rule));
            match is_at(hosting, visitor.caller.did(), visitor.pds.as_ref(), deadline).await {
                true => Ok(()),
                false => Err(Refusal::CallerUnconfirmed.into()),
            }
        }
        Err(refused) => Err(refuse(record, refused)),
    }
}

/// Whether the operator lets this function run. By its name and the author's DID document alone, so that nobody's
/// PDS is asked for what is blocked. The document is looked up, and the author's PDS asked whether the author is
/// there, only where it counts.
pub(super) async fn function(
    visitor: &Visitor,
    service: &Service,
    (author, rkey): (&Did, &RecordKey),
    deadline: Deadline,
    record: &mut CallRecord,
) -> Result<(), XrpcError> {
    let policy = &visitor.policy;
    let pds = match policy.asks_where_author_is(author, rkey) {
        true => deadline.bound(service.registry.pds_of(author), XrpcError::repo_timeout).await?,
        false => None,
    };
    match policy.admit_function(author, rkey, pds.as_ref().and_then(PdsHost::of).as_ref()) {
        Ok(Admission::Given(rule)) => {
            note(record, rule);
            Ok(())
        }
        Ok(Admission::IfConfirmed(rule)) => {
            note(record, Some(rule));
            match is_at(&service.hosting_of_authors, Some(author), pds.as_ref(), deadline).await {
                true => Ok(()),
                false => Err(Refusal::AuthorUnconfirmed.into()),
            }
        }
        Err(refused) => Err(refuse(record, refused)),
    }
}

/// Whether the PDS that an account's document names says that the account is there.
async fn is_at(hosting: &Hosting, account: Option<&Did>, pds: Option<&Url>, deadline: Deadline) -> bool {
    let (Some(account), Some(pds)) = (account, pds) else { return false };
    let asking = hosting.confirmed(account, pds);
    let confirmed = tokio::time::timeout_at(deadline.answer_by().into(), asking).await;
    confirmed.ok().flatten().is_some()
}

/// Whether the author lets the caller run the function. `now` counts from the Unix epoch.
pub(super) async fn access(
    visitor: &Visitor,
    registry: &Registry,
    function: &Function,
    deadline: Deadline,
    now: Duration,
    record: &mut CallRecord,
) -> Result<(), XrpcError> {
    let policy = &visitor.policy;
    let rule = match policy.may_run(&visitor.caller, function) {
        Ok(Access::Given(rule)) => rule,
        Ok(Access::IfGranted(subject)) => {
            let grant = deadline.bound(registry.grant(subject), XrpcError::repo_timeout).await?;
            Some(policy.granted(grant, now).map_err(|refused| refuse(record, refused))?)
        }
        Err(refused) => return Err(refuse(record, refused)),
    };
    note(record, rule);
    Ok(())
}

/// The last rule that let a call pass is the one that decided, until another does.
fn note(record: &mut CallRecord, rule: Option<Rule>) {
    if let Some(rule) = rule {
        record.rule = Some(rule.to_string());
    }
}

fn refuse(record: &mut CallRecord, refused: Refused) -> XrpcError {
    note(record, Some(refused.rule));
    refused.refusal.into()
}
