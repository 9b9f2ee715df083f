//! Who is calling: the inter-service JWT, verified.
//!
//! In: the `Authorization` header and the method called. Out: the caller's DID, proved, or one of
//! the 401 errors. Never: know what a function is, or run anything before the token is proved.
//!
//! The order of the checks, so that a bad token costs as little as can be and an honest mistake
//! gets the message that helps (<https://atproto.com/specs/xrpc#inter-service-authentication-jwt>):
//!
//! 1. the header is `Bearer` and a token of three parts of strict base64url;
//! 2. the token's header: `typ`, then `alg`, `crit`, `kid`;
//! 3. the claims' types, then `aud`, `exp`, `iat`, `nbf`, its life, `lxm`, `iss`;
//! 4. the signature's form. Up to here nothing was fetched;
//! 5. the issuer's key, and the signature; on failure once more with a refreshed document, if that
//!    names another key;
//! 6. for procedures: the token was not used before. Only proved tokens are remembered.

mod bearer;
mod claims;
mod error;
mod issuers;
mod replay;
mod signature;
mod table;
mod token;
mod verifier;

#[cfg(test)]
mod tests;

pub use error::{AuthError, Holder, IssuerFault, Malformed, SignatureFault, TokenPart, Trouble};
pub use issuers::{Freshness, Issuer, IssuerError, IssuerFuture, Issuers};
pub use replay::Ticket;
pub use token::ServiceToken;
pub use verifier::{CallerDid, Repeat, VerifiedCall, Verifier, VerifierConfig};
