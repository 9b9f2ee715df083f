//! What a guest is told of a read that failed: what happened and what may help, with the names that
//! the guest knows already, and nothing of the host.

use crate::identity::{Did, Handle};
use crate::registry::{Missing, RegistryError, Trouble};
use crate::sandbox::Denied;

/// Why something in the repo of `did` could not be read.
pub(super) fn denied(did: &Did, error: &RegistryError) -> Denied {
    Denied(match error {
        RegistryError::AuthorInactive(state) => {
            format!("the account {did} is not active ({state}); nothing of it can be read")
        }
        RegistryError::BlobMissing(cid) => format!("the PDS of {did} does not have the blob {cid}"),
        RegistryError::NotFound(missing) => not_found(did, *missing),
        RegistryError::Overloaded(after) => format!(
            "too much is asked of the PDS of {did}, or by this author's functions; try again in {} s",
            after.as_secs_f64().ceil().max(1.0)
        ),
        RegistryError::Unproved(why) => {
            format!("what the PDS of {did} sent was refused: {why}")
        }
        RegistryError::Timeout => format!("the PDS of {did} did not answer in time; try again"),
        RegistryError::Unreachable(trouble) => unreachable(did, *trouble),
        _ => "this service cannot read it now; try again later".to_owned(),
    })
}

fn not_found(did: &Did, missing: Missing) -> String {
    match missing {
        Missing::Did => format!("{did} does not exist"),
        Missing::Pds => format!("the DID document of {did} names no PDS"),
        Missing::Record => format!("there is no such record: the repo of {did} proves it by its signature"),
        Missing::Refused => {
            format!("the PDS of {did} refuses this read: no such repo or record, or not its cursor")
        }
        Missing::Repo => format!("the PDS that {did} names does not have its repo"),
    }
}

fn unreachable(did: &Did, trouble: Trouble) -> String {
    match trouble {
        Trouble::Address => {
            format!("the PDS of {did} is at an address that this service does not connect to")
        }
        Trouble::Did => format!("the document of {did} cannot be had now; try again later"),
        Trouble::Failed => format!("the PDS of {did} failed; try again later"),
        Trouble::Internal => "this service failed to do this read; try again".to_owned(),
        Trouble::NoConnection => {
            format!("the PDS of {did}, or the directory that names it, cannot be reached; try again later")
        }
        Trouble::TooLarge => {
            format!("the PDS of {did} sent more than is taken; where it lists, ask for a smaller `limit`")
        }
    }
}

/// Why a handle does not name a repo.
pub(super) fn unresolved(handle: &Handle, error: &RegistryError) -> Denied {
    let why = match error {
        RegistryError::Handle(why) => why,
        RegistryError::NotFound(_) => "the DID that it names does not exist",
        _ => "it cannot be looked up now",
    };
    Denied(format!("the handle {handle} could not be resolved: {why}; the repo's DID always works"))
}
