//! Why an identity is not known.

use super::InvalidDocument;
use crate::egress::EgressError;

/// Why a DID or handle does not resolve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Too many resolutions are waiting: nothing is said about the identity.
    #[error("too many identities are being resolved; try again")]
    Busy,
    /// The DID's document does not name the handle that points to it.
    #[error("the handle and its DID do not point to each other")]
    HandleMismatch,
    /// What was served is not the DID's document.
    #[error(transparent)]
    Invalid(#[from] InvalidDocument),
    /// Whoever should know says that there is none: never registered, or gone for good.
    #[error("no such identity")]
    NotFound,
    /// Whoever should know gave an answer of this status, or of no sense with it: trouble on its side.
    #[error("the host of the identity answered with status {0}")]
    Status(u16),
    /// Whoever should know cannot be asked.
    #[error("the host of the identity: {0}")]
    Unreachable(EgressError),
}

impl IdentityError {
    /// Whether this is trouble of the network, or of ours, that says nothing about the identity.
    pub fn is_trouble(&self) -> bool {
        match self {
            IdentityError::Busy | IdentityError::Status(_) | IdentityError::Unreachable(_) => true,
            IdentityError::HandleMismatch | IdentityError::Invalid(_) | IdentityError::NotFound => false,
        }
    }
}

impl From<EgressError> for IdentityError {
    fn from(error: EgressError) -> IdentityError {
        match error {
            EgressError::Busy => IdentityError::Busy,
            other => IdentityError::Unreachable(other),
        }
    }
}
