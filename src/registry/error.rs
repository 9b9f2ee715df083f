//! Why there is no function to run.

use std::time::Duration;

use crate::egress::EgressError;
use crate::identity::IdentityError;
use crate::lexicon::{InvalidMetadata, Problem, SchemaError};
use crate::repo::ProofError;

use super::list::InvalidListing;

/// Why an at-uri did not lead to proved code. Cloned to everybody who waited for the same read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The author's account is deactivated, suspended or taken down, as its PDS says.
    #[error("the author's account is not active ({0}); its functions do not run")]
    AuthorInactive(&'static str),
    /// The author's PDS does not have the code that the record names.
    #[error(
        "the author's PDS does not have the code blob {0} that the record names; deploy the function again"
    )]
    BlobMissing(String),
    /// The handle in the at-uri does not lead to a DID that claims it.
    #[error("the handle in the at-uri could not be resolved: {0}; an at-uri with the DID always works")]
    Handle(&'static str),
    /// The record is there and proved, but is not a function that can run.
    #[error("the record is not a function that can run: {0}")]
    InvalidFunction(InvalidMetadata),
    /// The at-uri is of another collection.
    #[error("not a function: the at-uri of a function is at://AUTHORITY/at.functions.metadata/RKEY")]
    NotAFunction,
    /// No such record, proved by the author's signature over its absence, or no such account.
    #[error("{0}")]
    NotFound(Missing),
    /// The machine could not compile the record's schemas now. Says nothing about the function.
    #[error("the function's schemas could not be compiled now; retry in 1 s")]
    NoThread,
    /// Too much is waiting for the same host already.
    #[error("too many reads wait for the author's PDS; retry in {} s", .0.as_secs_f64().ceil().max(1.0))]
    Overloaded(Duration),
    /// The store of revisions failed, without which a rollback could not be told.
    #[error("this service cannot read its own store; retry in 5 s")]
    Store,
    /// What the author's PDS sent does not prove itself.
    #[error("the author's PDS sent a record that does not prove itself: {0}")]
    Unproved(Unproved),
    /// The author's PDS, or what resolves the author, did not answer in time.
    #[error("the author's PDS, or the directory that names it, did not answer in time")]
    Timeout,
    /// The author's PDS, or what resolves the author, could not be reached or failed.
    #[error("{0}")]
    Unreachable(Trouble),
    /// A workflow, which this service does not run.
    #[error(
        "at.functions.workflow records are not run by this service; name an at.functions.metadata record"
    )]
    Workflow,
}

/// What there is not, seen from a function's at-uri.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missing {
    /// Nobody has the DID.
    #[error("the author's DID does not exist")]
    Did,
    /// The DID's document names no PDS.
    #[error("the author's DID names no PDS")]
    Pds,
    /// The repo has no such record, by its signature.
    #[error("there is no such function: the author's repo, by its signature, does not hold this record")]
    Record,
    /// The PDS does not give what it was asked for, and does not say why.
    #[error("the author's PDS does not have this record")]
    Refused,
    /// The PDS does not have the repo.
    #[error("the PDS that the author's DID names does not have the author's repo")]
    Repo,
}

/// What stands in the way of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The PDS is where this service does not connect to.
    #[error("the author's PDS is at an address that this service does not connect to")]
    Address,
    /// The host of the DID document failed.
    #[error("the host of the author's DID document failed")]
    Did,
    /// The PDS answered with an error of its own.
    #[error("the author's PDS failed")]
    Failed,
    /// This service failed while it read.
    #[error("reading the author's repo failed")]
    Internal,
    /// No connection to the PDS, or to what resolves the DID.
    #[error("the author's PDS, or the directory that names it, cannot be reached")]
    NoConnection,
    /// The PDS sent more than is taken.
    #[error("the author's PDS sent more than is allowed")]
    TooLarge,
}

/// What a PDS sent in place of a proof.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unproved {
    /// The blob's bytes are not those that the record names.
    #[error("the blob's bytes do not hash to the CID that names it")]
    BlobHash,
    /// The blob's length is not the one that the record states.
    #[error("the code's size is not the one that the record states")]
    CodeSize,
    /// The author's DID document has no usable `#atproto` key to check it by.
    #[error("the author's DID document has no usable #atproto signing key")]
    NoKey,
    /// The author's DID document does not hold what it must.
    #[error("the author's DID document is not usable")]
    Document,
    /// The page of a collection is not one.
    #[error("the listing is not usable: {0}")]
    Listing(#[from] InvalidListing),
    /// The repo proof is wrong.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The repo is an older one than what the author has signed since.
    #[error("its revision is older than one that was proved before")]
    Rollback,
}

impl RegistryError {
    /// From trouble with the schemas of a record.
    pub(super) fn of_schemas(error: InvalidMetadata) -> RegistryError {
        match error.problem {
            Problem::Schema(SchemaError::NoThread) => RegistryError::NoThread,
            _ => RegistryError::InvalidFunction(error),
        }
    }

    /// From trouble while resolving the author's DID.
    pub(super) fn of_author(error: IdentityError) -> RegistryError {
        match error {
            IdentityError::NotFound => RegistryError::NotFound(Missing::Did),
            IdentityError::Unreachable(error) => RegistryError::of_egress(error),
            IdentityError::Busy => RegistryError::Overloaded(Duration::from_secs(1)),
            IdentityError::Status(_) => RegistryError::Unreachable(Trouble::Did),
            _ => RegistryError::Unproved(Unproved::Document),
        }
    }

    /// From trouble while resolving the handle of an at-uri.
    pub(super) fn of_handle(error: IdentityError) -> RegistryError {
        match error {
            IdentityError::NotFound => RegistryError::Handle("it does not exist"),
            IdentityError::HandleMismatch => {
                RegistryError::Handle("the DID that it names does not name it in return")
            }
            other => RegistryError::of_author(other),
        }
    }

    /// From trouble on the way to the author's PDS.
    pub(super) fn of_egress(error: EgressError) -> RegistryError {
        match error {
            EgressError::Timeout => RegistryError::Timeout,
            EgressError::Busy => RegistryError::Overloaded(Duration::from_secs(1)),
            EgressError::RateLimited { retry_after } => RegistryError::Overloaded(retry_after),
            EgressError::TooLarge => RegistryError::Unreachable(Trouble::TooLarge),
            EgressError::Blocked(_) => RegistryError::Unreachable(Trouble::Address),
            _ => RegistryError::Unreachable(Trouble::NoConnection),
        }
    }

    /// Whether it tells of the function or its author, rather than of trouble on the way to them.
    pub(super) fn is_of_the_function(&self) -> bool {
        matches!(
            self,
            RegistryError::AuthorInactive(_) | RegistryError::InvalidFunction(_) | RegistryError::NotFound(_)
        )
    }

    /// Whether the author may have moved since the document that named this PDS was cached.
    pub(super) fn may_mean_moved(&self) -> bool {
        matches!(
            self,
            RegistryError::AuthorInactive(_)
                | RegistryError::BlobMissing(_)
                | RegistryError::NotFound(_)
                | RegistryError::Timeout
                | RegistryError::Unreachable(_)
                | RegistryError::Unproved(Unproved::NoKey | Unproved::Proof(_))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_a_thread_says_nothing_about_the_function() {
        let of = |error| {
            let problem = Problem::Schema(error);
            RegistryError::of_schemas(InvalidMetadata { field: "inputSchema", problem })
        };
        assert!(matches!(of(SchemaError::NoThread), RegistryError::NoThread));
        assert!(!RegistryError::NoThread.is_of_the_function());
        assert!(matches!(of(SchemaError::Compiler), RegistryError::InvalidFunction(_)));
    }
}
