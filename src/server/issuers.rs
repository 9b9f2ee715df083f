//! The verifier's view of identities: a caller's DID document, reduced to key and PDS.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::auth::{Freshness, Issuer, IssuerError, Issuers};
use crate::identity::{Did, IdentityError, Resolver};

/// Issuers, resolved as all DIDs are.
pub(super) struct ResolvedIssuers(pub(super) Arc<Resolver>);

impl Issuers for ResolvedIssuers {
    fn issuer<'a>(
        &'a self,
        did: &'a Did,
        freshness: Freshness,
    ) -> Pin<Box<dyn Future<Output = Result<Issuer, IssuerError>> + Send + 'a>> {
        Box::pin(async move {
            let document = match freshness {
                Freshness::Cached => self.0.document(did).await,
                Freshness::Refreshed => self.0.refresh(did).await,
            };
            match document {
                Ok(document) => Ok(Issuer { key: document.signing_key.clone(), pds: document.pds.clone() }),
                Err(IdentityError::NotFound) => Err(IssuerError::NotFound),
                Err(IdentityError::Status(_) | IdentityError::Unreachable(_)) => {
                    Err(IssuerError::Unreachable)
                }
                Err(IdentityError::Busy) => Err(IssuerError::Busy),
                Err(error) => Err(IssuerError::Invalid(error.to_string())),
            }
        })
    }
}
