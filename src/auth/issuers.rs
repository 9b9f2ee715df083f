//! The door through which a verifier learns an issuer's key.

use std::future::Future;
use std::pin::Pin;

use url::Url;

use crate::identity::{Did, PublicKey};

/// Where a verifier gets the keys of issuers from: in the service, the DID resolver.
pub trait Issuers: Send + Sync + 'static {
    /// What the DID document of `did` says.
    ///
    /// [`Freshness::Refreshed`] is asked for whenever a signature fails, so strangers decide how
    /// often: the implementation answers it from its cache when the DID was refreshed just before.
    fn issuer<'a>(&'a self, did: &'a Did, freshness: Freshness) -> IssuerFuture<'a>;
}

/// The answer of [`Issuers::issuer`], on its way.
pub type IssuerFuture<'a> = Pin<Box<dyn Future<Output = Result<Issuer, IssuerError>> + Send + 'a>>;

/// How old a document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// As the cache has it.
    Cached,
    /// Fetched anew, unless that was done a moment ago.
    Refreshed,
}

/// What counts of an issuer's DID document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The key of its `#atproto` verification method, where it has a usable one.
    pub key: Option<PublicKey>,
    /// Its personal data server: the document's own claim.
    pub pds: Option<Url>,
}

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// Too many others wait for documents.
    #[error("too many documents are being fetched")]
    Busy,
    /// What came back is not a DID document of this DID; the text says what is wrong.
    #[error("the document is invalid: {0}")]
    Invalid(String),
    /// There is no such DID, or it is deactivated.
    #[error("there is no such DID")]
    NotFound,
    /// The network failed.
    #[error("the document could not be fetched")]
    Unreachable,
}
