//! Whether a caller may run a function: what its record says, and its author's grant where one is needed.

use crate::policy::{Access, Caller};
use crate::registry::Function;

use super::XrpcError;
use super::deadline::Deadline;
use super::service::Service;

/// Refuses a caller who may not run the function.
pub(super) async fn check(
    service: &Service,
    caller: &Caller,
    function: &Function,
    deadline: Deadline,
) -> Result<(), XrpcError> {
    if let Access::IfGranted(subject) = service.policy.may_run(caller, function)? {
        let grant = deadline.bound(service.registry.grant(subject), XrpcError::repo_timeout).await?;
        service.policy.granted(grant, service.clock.since_epoch())?;
    }
    Ok(())
}
