//! What a token says, read strictly: JSON objects, members of the right type, each once.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::{AuthError, Malformed, TokenPart};
use super::signature::Algorithm;

/// A token's header, as far as it was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
}

impl Header {
    /// Reads and judges a header.
    ///
    /// `typ` comes before `alg`: a caller who sent an access token (typ `at+jwt`, alg `HS256`)
    /// should read that it is one.
    pub(super) fn parse(json: &[u8]) -> Result<Header, AuthError> {
        let header: RawHeader<'_> = object(TokenPart::Header, json)?;
        if header.typ.is_some_and(|typ| !typ.0.eq_ignore_ascii_case("jwt")) {
            return Err(AuthError::Type);
        }
        let algorithm = Algorithm::from_name(&header.alg.0).ok_or(Malformed::Algorithm)?;
        if header.crit.is_some() {
            // We understand no extension, so whatever it lists must be refused (RFC 7515 section 4.1.11).
            return Err(Malformed::Critical.into());
        }
        if header.kid.is_some_and(|kid| kid.0 != "#atproto") {
            return Err(Malformed::KeyId.into());
        }
        Ok(Header { algorithm })
    }
}

/// Members that carry keys (`jwk`, `jku`, `x5c`) are not read: the key is the issuer's, never the token's.
#[derive(Deserialize)]
struct RawHeader<'a> {
    #[serde(borrow)]
    alg: Text<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    typ: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    kid: Option<Text<'a>>,
    #[serde(default, deserialize_with = "present")]
    crit: Option<IgnoredAny>,
}

/// A token's claims, each of its type. Times are whole seconds since 1970.
#[derive(Debug, Deserialize)]
pub(super) struct Claims<'a> {
    #[serde(borrow)]
    pub(super) iss: Text<'a>,
    #[serde(borrow)]
    pub(super) aud: Text<'a>,
    pub(super) exp: u64,
    #[serde(default, deserialize_with = "present")]
    pub(super) iat: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    pub(super) nbf: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) lxm: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) jti: Option<Text<'a>>,
}

impl<'a> Claims<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Claims<'a>, Malformed> {
        object(TokenPart::Claims, json)
    }
}

fn object<'de, T: Deserialize<'de>>(part: TokenPart, json: &'de [u8]) -> Result<T, Malformed> {
    let malformed = Malformed::Json(part);
    let text = std::str::from_utf8(json).map_err(|_| malformed)?;
    // Derived structs would also take an array of their members.
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        return Err(malformed);
    }
    serde_json::from_str(text).map_err(|_| malformed)
}

/// Reads a member that may be absent but not `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A string, borrowed from the token unless it was written with escapes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
                Ok(Cow::Borrowed(text))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Borrow).map(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_borrow_what_is_written_plainly() {
        let json = br#"{"iss":"did:web:a.com","aud":"did:web:\u0062.com","exp":5,"more":[1,{"exp":2}]}"#;
        let claims = Claims::parse(json).unwrap();
        assert!(matches!(claims.iss.0, Cow::Borrowed("did:web:a.com")));
        assert_eq!(claims.aud.0, "did:web:b.com");
        assert_eq!((claims.exp, claims.iat, claims.lxm, claims.jti), (5, None, None, None));
    }
}
