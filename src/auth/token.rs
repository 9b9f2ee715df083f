//! Makes service JWTs: for benches, tests and development, where no PDS does it.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;

use crate::identity::{Did, SigningKey};

/// A service JWT to be signed, as a PDS makes one (`com.atproto.server.getServiceAuth`).
///
/// ```
/// # use at_functions::{auth::ServiceToken, identity::{Did, SigningKey}};
/// # let key = SigningKey::from_bytes(&[7; 32]).unwrap();
/// let alice = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
/// let token = ServiceToken::new(&alice, "did:web:fn.example.com#at_functions", "at.functions.run", 1_790_000_000)
///     .id("4f1d2c")
///     .sign(&key);
/// let header = format!("Bearer {token}");
/// # assert_eq!(header.split('.').count(), 3);
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct ServiceToken {
    iat: u64,
    iss: Did,
    aud: String,
    exp: u64,
    lxm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
}

impl ServiceToken {
    /// A token of `issuer` that lets it call `method` of `audience` (a DID, or a DID with the
    /// fragment of a service) for 60 s from `now`, in seconds since 1970. It has no `jti`.
    pub fn new(issuer: &Did, audience: &str, method: &str, now: u64) -> ServiceToken {
        ServiceToken {
            iat: now,
            iss: issuer.clone(),
            aud: audience.to_owned(),
            exp: now.saturating_add(60),
            lxm: method.to_owned(),
            jti: None,
        }
    }

    /// Gives it a `jti`, which is to be new for each token.
    pub fn id(mut self, jti: impl Into<String>) -> ServiceToken {
        self.jti = Some(jti.into());
        self
    }

    /// Sets how long it lives, in whole seconds.
    pub fn life(mut self, life: Duration) -> ServiceToken {
        self.exp = self.iat.saturating_add(life.as_secs());
        self
    }

    /// Signs it with ES256K: the text that follows `Bearer `.
    pub fn sign(&self, key: &SigningKey) -> String {
        // Strings and integers always have a JSON form.
        let claims = serde_json::to_string(self).unwrap_or_default();
        assemble(r#"{"typ":"JWT","alg":"ES256K"}"#, &claims, |input| key.sign(input).to_vec())
    }
}

/// The compact form of a token (RFC 7515 section 7.1) whose signature `sign` makes.
pub(super) fn assemble(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let mut token = BASE64URL_NOPAD.encode(header.as_bytes());
    token.push('.');
    BASE64URL_NOPAD.encode_append(claims.as_bytes(), &mut token);
    let signature = sign(token.as_bytes());
    token.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut token);
    token
}
