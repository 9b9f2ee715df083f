//! Why a call is not authenticated.

use std::sync::Arc;
use std::time::Duration;

use crate::identity::InvalidDid;

/// A token that was not accepted: a fault of its own (401), or trouble of ours (429, 502, 503).
///
/// The text is for the caller. It says what to do and shows nothing of the token but its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// It is for somebody else.
    #[error("the token's `aud` must be {service} or {service}#{service_id}")]
    Audience {
        /// Our DID.
        service: Arc<str>,
        /// The fragment that names our service in our DID document.
        service_id: Arc<str>,
    },
    /// Its `exp` has passed.
    #[error("the token has expired: get a new one (and check the clock that made it)")]
    Expired,
    /// Its issuer is nobody whose key could be known.
    #[error("{0}")]
    Issuer(#[from] IssuerFault),
    /// Whether the issuer's key is good could not be found out now.
    #[error("{0}; retry in {wait} s", wait = RETRY_AFTER_TROUBLE.as_secs())]
    IssuerUnreachable(Trouble),
    /// It is for another method, or for none.
    #[error("the token's `lxm` must be {expected}")]
    LexiconMethod {
        /// The method called.
        expected: Box<str>,
    },
    /// It is no service JWT, or not one that we take.
    #[error("not a valid service JWT: {0}")]
    Malformed(#[from] Malformed),
    /// The memory of used tokens is full, through nobody's single fault.
    #[error("too many tokens are in use; retry in {} s", RETRY_AFTER_FULL.as_secs())]
    MemoryFull,
    /// There is no `Authorization` header.
    #[error(
        "authentication required: call through your PDS (`atproto-proxy`), or send `Authorization: Bearer` \
         and a token of com.atproto.server.getServiceAuth"
    )]
    Missing,
    /// It was used before.
    #[error("the token was used before: each call of a procedure needs a token of its own")]
    Replayed,
    /// Too many live tokens of this issuer, or of its host, were used.
    #[error(
        "too many unexpired tokens of this {0} were used; use tokens of shorter life, and retry in {wait} s",
        wait = RETRY_AFTER_FULL.as_secs()
    )]
    ShareExceeded(Holder),
    /// Its signature is not the issuer's.
    #[error("{0}")]
    Signature(#[from] SignatureFault),
    /// It is a token of another kind.
    #[error(
        "the token's `typ` must be JWT or absent: access and refresh tokens are not taken, \
         com.atproto.server.getServiceAuth gives a service JWT"
    )]
    Type,
}

/// After how long a fetch that failed may be tried again with hope.
const RETRY_AFTER_TROUBLE: Duration = Duration::from_secs(5);
/// After how long tokens of usual life (60 s) will have made room.
const RETRY_AFTER_FULL: Duration = Duration::from_secs(60);

impl AuthError {
    /// The XRPC error name.
    pub fn name(&self) -> &'static str {
        match self {
            AuthError::Audience { .. } => "BadJwtAudience",
            AuthError::Expired => "JwtExpired",
            AuthError::Issuer(_) => "BadJwtIss",
            AuthError::IssuerUnreachable(_) => "IssuerUnreachable",
            AuthError::LexiconMethod { .. } => "BadJwtLexiconMethod",
            AuthError::Malformed(_) => "BadJwt",
            AuthError::MemoryFull => "NotEnoughResources",
            AuthError::Missing => "AuthMissing",
            AuthError::Replayed => "JwtReplayed",
            AuthError::ShareExceeded(_) => "RateLimitExceeded",
            AuthError::Signature(_) => "BadJwtSignature",
            AuthError::Type => "BadJwtType",
        }
    }

    /// The HTTP status: 401 for a fault of the token itself, and for nothing else.
    pub fn status(&self) -> u16 {
        match self {
            AuthError::IssuerUnreachable(_) => 502,
            AuthError::MemoryFull => 503,
            AuthError::ShareExceeded(_) => 429,
            AuthError::Audience { .. }
            | AuthError::Expired
            | AuthError::Issuer(_)
            | AuthError::LexiconMethod { .. }
            | AuthError::Malformed(_)
            | AuthError::Missing
            | AuthError::Replayed
            | AuthError::Signature(_)
            | AuthError::Type => 401,
        }
    }

    /// When the same call may be tried again, where waiting helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            AuthError::IssuerUnreachable(_) => Some(RETRY_AFTER_TROUBLE),
            AuthError::MemoryFull | AuthError::ShareExceeded(_) => Some(RETRY_AFTER_FULL),
            _ => None,
        }
    }
}

/// What makes a token no service JWT: `BadJwt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Not signed with an algorithm of AT Protocol.
    #[error("`alg` must be ES256K or ES256")]
    Algorithm,
    /// Names extensions that must be understood.
    #[error("`crit` extensions are not supported")]
    Critical,
    /// A part that is not base64url, or that has padding or stray bits.
    #[error("{0} is not unpadded base64url")]
    Encoding(TokenPart),
    /// A header that is not `Bearer` and one token.
    #[error("the Authorization header must be `Bearer` and a token")]
    Header,
    /// An `iat` that lies ahead of our clock.
    #[error("`iat` is in the future (check the clock that made it)")]
    IssuedInFuture,
    /// A part that is not one JSON object with the members that we need, each of its type, each once.
    #[error("{0} is not a JSON object with the expected members")]
    Json(TokenPart),
    /// Names another key than `#atproto`.
    #[error("`kid` must be #atproto or absent")]
    KeyId,
    /// Lives longer than is taken.
    #[error("it lives longer than {} s", most.as_secs())]
    LivesTooLong {
        /// The longest life taken.
        most: Duration,
    },
    /// Lives longer than a token may that cannot be told from its like.
    #[error("without `jti` it may live {} s at most", most.as_secs())]
    NeedsId {
        /// The longest life taken without `jti`.
        most: Duration,
    },
    /// An `nbf` that lies ahead of our clock.
    #[error("`nbf` is in the future")]
    NotYetValid,
    /// Not three parts.
    #[error("it must have three parts")]
    Parts,
    /// Longer than is read.
    #[error("the Authorization header is longer than {} bytes", super::bearer::MAX_HEADER_BYTES)]
    TooLong,
}

/// One of the three parts of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPart {
    /// The first: how it is signed.
    Header,
    /// The second: what it says.
    Claims,
    /// The third.
    Signature,
}

impl std::fmt::Display for TokenPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TokenPart::Header => "the header",
            TokenPart::Claims => "the claims part",
            TokenPart::Signature => "the signature",
        })
    }
}

/// Why an issuer cannot be believed: `BadJwtIss`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerFault {
    /// Its DID document cannot be used.
    #[error("the DID document of the token's `iss` cannot be used: {0}")]
    InvalidDocument(String),
    /// `iss` is not the bare DID of an account.
    #[error("the token's `iss` must be a bare DID: {0}")]
    NotADid(#[from] InvalidDid),
    /// Its DID document names no `#atproto` key that could sign.
    #[error("the DID document of the token's `iss` has no usable #atproto key")]
    NoKey,
    /// There is no such DID.
    #[error("the token's `iss` does not exist or is deactivated")]
    NotFound,
}

/// Why a signature is not the issuer's: `BadJwtSignature`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureFault {
    /// The issuer's key is of the other curve.
    #[error("the token's `alg` is not that of its issuer's #atproto key")]
    Algorithm,
    /// Not 64 bytes `r‖s` (RFC 7518 section 3.4); a DER signature, for one.
    #[error("the token's signature must be 64 bytes, r and s")]
    Length,
    /// Not made with the issuer's key over this token.
    #[error("the token's signature does not match its issuer's #atproto key")]
    Mismatch,
}

/// What kept us from an issuer's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// Too many documents of others are being fetched.
    #[error("too many DID documents are being fetched to check the token's `iss` now")]
    Busy,
    /// The network, or the host of the document, failed.
    #[error("the DID document of the token's `iss` could not be fetched")]
    Network,
}

/// Who holds a share of the memory of used tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// One issuer.
    Issuer,
    /// All issuers of one PDS host.
    Host,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Holder::Issuer => "issuer",
            Holder::Host => "PDS",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_name_status_and_wait() {
        let audience = AuthError::Audience {
            service: "did:web:fn.example.com".into(),
            service_id: "at_functions".into(),
        };
        let unreachable = AuthError::IssuerUnreachable(Trouble::Network);
        let share = AuthError::ShareExceeded(Holder::Host);
        let method = AuthError::LexiconMethod { expected: "at.functions.run".into() };
        let cases = [
            (AuthError::Missing, "AuthMissing", 401, None),
            (Malformed::Parts.into(), "BadJwt", 401, None),
            (AuthError::Type, "BadJwtType", 401, None),
            (AuthError::Expired, "JwtExpired", 401, None),
            (audience, "BadJwtAudience", 401, None),
            (method, "BadJwtLexiconMethod", 401, None),
            (IssuerFault::NotFound.into(), "BadJwtIss", 401, None),
            (SignatureFault::Mismatch.into(), "BadJwtSignature", 401, None),
            (AuthError::Replayed, "JwtReplayed", 401, None),
            (unreachable, "IssuerUnreachable", 502, Some(5)),
            (share, "RateLimitExceeded", 429, Some(60)),
            (AuthError::MemoryFull, "NotEnoughResources", 503, Some(60)),
        ];
        for (error, name, status, wait) in cases {
            assert_eq!((error.name(), error.status()), (name, status));
            assert_eq!(error.retry_after(), wait.map(Duration::from_secs), "{name}");
            // A PDS drops the header that would say it.
            let told = wait.is_none_or(|wait| error.to_string().contains(&format!("retry in {wait} s")));
            assert!(told, "{name}: {error}");
        }
    }

    #[test]
    fn messages_say_what_to_do() {
        let cases: [(AuthError, &str); 5] = [
            (
                AuthError::Audience { service: "did:web:a.com".into(), service_id: "fn".into() },
                "the token's `aud` must be did:web:a.com or did:web:a.com#fn",
            ),
            (
                Malformed::Json(TokenPart::Claims).into(),
                "not a valid service JWT: the claims part is not a JSON object with the expected members",
            ),
            (
                Malformed::NeedsId { most: Duration::from_secs(60) }.into(),
                "not a valid service JWT: without `jti` it may live 60 s at most",
            ),
            (
                IssuerFault::NotADid(InvalidDid::Method).into(),
                "the token's `iss` must be a bare DID: only did:plc and did:web are supported",
            ),
            (
                AuthError::ShareExceeded(Holder::Host),
                "too many unexpired tokens of this PDS were used; use tokens of shorter life, and retry in 60 s",
            ),
        ];
        for (error, message) in cases {
            assert_eq!(error.to_string(), message);
        }
    }
}
