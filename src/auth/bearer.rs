//! The `Authorization` header, and the compact form of a token in it.

use data_encoding::{BASE64URL_NOPAD, Encoding};

use super::error::{AuthError, Malformed, TokenPart};

/// The longest `Authorization` header that is read. A service JWT has about 400 bytes; the longest
/// DIDs, twice, fit as well.
pub(super) const MAX_HEADER_BYTES: usize = 8 * 1024;

/// base64url without padding, whose stray bits must be zero: one token has one spelling (RFC 7515 section 2).
const BASE64URL: Encoding = BASE64URL_NOPAD;

/// A token in its three parts. Nothing in it is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compact<'a> {
    /// What is signed: the first two parts with the dot between them.
    pub(super) signing_input: &'a [u8],
    header: &'a [u8],
    claims: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Compact<'a> {
    /// Takes the token out of a header's raw value (RFC 6750 section 2.1) and apart.
    ///
    /// Only a header that is absent or empty is [`AuthError::Missing`]: who presents anything else
    /// meant to be known, and must not pass for anonymous.
    pub(super) fn from_authorization(header: Option<&'a [u8]>) -> Result<Compact<'a>, AuthError> {
        let header = header.filter(|value| !value.is_empty()).ok_or(AuthError::Missing)?;
        if header.len() > MAX_HEADER_BYTES {
            return Err(Malformed::TooLong.into());
        }
        let (scheme, rest) = header.split_at_checked(b"bearer".len()).ok_or(Malformed::Header)?;
        let token = rest.trim_ascii_start();
        if !scheme.eq_ignore_ascii_case(b"bearer")
            || !rest.starts_with(b" ")
            || token.is_empty()
            || token.contains(&b' ')
        {
            return Err(Malformed::Header.into());
        }
        Ok(Compact::split(token)?)
    }

    fn split(token: &'a [u8]) -> Result<Compact<'a>, Malformed> {
        let mut parts = token.split(|&byte| byte == b'.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed::Parts);
        };
        let signing_input = &token[..header.len() + 1 + claims.len()];
        Ok(Compact { signing_input, header, claims, signature })
    }

    /// The JSON text of the header.
    pub(super) fn header(&self) -> Result<Vec<u8>, Malformed> {
        decode(TokenPart::Header, self.header)
    }

    /// The JSON text of the claims.
    pub(super) fn claims(&self) -> Result<Vec<u8>, Malformed> {
        decode(TokenPart::Claims, self.claims)
    }

    /// The signature's bytes, of whatever length.
    pub(super) fn signature(&self) -> Result<Vec<u8>, Malformed> {
        decode(TokenPart::Signature, self.signature)
    }
}

fn decode(part: TokenPart, text: &[u8]) -> Result<Vec<u8>, Malformed> {
    BASE64URL.decode(text).map_err(|_| Malformed::Encoding(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_falls_into_its_parts() {
        for header in ["Bearer aGk.eW91.c2ln", "bearer aGk.eW91.c2ln", "BEARER   aGk.eW91.c2ln"] {
            let compact = Compact::from_authorization(Some(header.as_bytes())).unwrap();
            assert_eq!(compact.signing_input, b"aGk.eW91", "{header}");
            assert_eq!(compact.header().unwrap(), b"hi");
            assert_eq!(compact.claims().unwrap(), b"you");
            assert_eq!(compact.signature().unwrap(), b"sig");
        }
    }

    #[test]
    fn a_header_that_is_no_bearer_token_is_refused() {
        let long = format!("Bearer {}", "a".repeat(MAX_HEADER_BYTES - 6));
        let cases: [(Option<&[u8]>, AuthError); 16] = [
            (None, AuthError::Missing),
            (Some(b""), AuthError::Missing),
            (Some(b" "), Malformed::Header.into()),
            (Some(b"Bearer"), Malformed::Header.into()),
            (Some(b"Bearer "), Malformed::Header.into()),
            (Some(b"Bearera.b.c"), Malformed::Header.into()),
            (Some(b"Bearer\ta.b.c"), Malformed::Header.into()),
            (Some(b"Bearer a.b.c d"), Malformed::Header.into()),
            (Some(b"Bearer a.b.c "), Malformed::Header.into()),
            (Some(b" Bearer a.b.c"), Malformed::Header.into()),
            (Some(b"Basic YTpi"), Malformed::Header.into()),
            (Some(b"DPoP a.b.c"), Malformed::Header.into()),
            (Some(b"\xff\xfe"), Malformed::Header.into()),
            (Some(b"Bearer a.b"), Malformed::Parts.into()),
            (Some(b"Bearer a.b.c.d"), Malformed::Parts.into()),
            (Some(long.as_bytes()), Malformed::TooLong.into()),
        ];
        for (header, error) in cases {
            let shown = header.map(String::from_utf8_lossy);
            assert_eq!(Compact::from_authorization(header).unwrap_err(), error, "{shown:?}");
        }
    }

    #[test]
    fn only_canonical_base64url_is_read() {
        // Padding, the other alphabet, white space, stray bits ("aGl" ends in bits 01), impossible length.
        for text in ["aGk=", "-_+/", "aG k", "aGl", "a", "aG\n"] {
            let token = format!("Bearer {text}.{text}.{text}");
            let Ok(compact) = Compact::from_authorization(Some(token.as_bytes())) else {
                assert!(text.contains(' '), "{text:?}");
                continue;
            };
            assert_eq!(compact.header(), Err(Malformed::Encoding(TokenPart::Header)), "{text:?}");
            assert_eq!(compact.claims(), Err(Malformed::Encoding(TokenPart::Claims)), "{text:?}");
            assert_eq!(compact.signature(), Err(Malformed::Encoding(TokenPart::Signature)), "{text:?}");
        }
    }
}
