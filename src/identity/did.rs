//! DIDs, of the two methods that AT Protocol accounts and services have.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest DID that is taken (atproto.com/specs/did: 2 KiB).
const MAX_BYTES: usize = 2048;

/// A `did:plc` or host-only `did:web` identifier, checked.
///
/// Source: <https://atproto.com/specs/did>. A `did:web` has no path segments, and no port unless
/// its host is `localhost` (development). Its host is lower case, so that one host has one DID.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Did(Arc<str>);

/// What the method-specific part of a [`Did`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DidMethod<'a> {
    /// 24 characters of base32 in the PLC directory.
    Plc,
    /// The host whose `/.well-known/did.json` is the document; a port only for `localhost`.
    Web {
        /// The host's name, in lower case.
        host: &'a str,
        /// Its port, where the DID names one.
        port: Option<u16>,
    },
}

impl Did {
    /// Parses a bare DID: no fragment, path or query.
    pub fn parse(text: &str) -> Result<Did, InvalidDid> {
        if text.len() > MAX_BYTES {
            return Err(InvalidDid::TooLong);
        }
        method(text)?;
        Ok(Did(text.into()))
    }

    /// The DID as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its method, with what that method needs to resolve it.
    pub fn method(&self) -> DidMethod<'_> {
        // `parse` is the only constructor, so the text has been through `method` before.
        method(&self.0).unwrap_or(DidMethod::Plc)
    }
}

fn method(text: &str) -> Result<DidMethod<'_>, InvalidDid> {
    let rest = text.strip_prefix("did:").ok_or(InvalidDid::NotADid)?;
    let (name, id) = rest.split_once(':').ok_or(InvalidDid::NotADid)?;
    match name {
        "plc" => {
            let base32 = |b: u8| matches!(b, b'a'..=b'z' | b'2'..=b'7');
            if id.len() == 24 && id.bytes().all(base32) { Ok(DidMethod::Plc) } else { Err(InvalidDid::Plc) }
        }
        "web" => web_host(id),
        _ => Err(InvalidDid::Method),
    }
}

fn web_host(id: &str) -> Result<DidMethod<'_>, InvalidDid> {
    if let Some(rest) = id.strip_prefix("localhost") {
        let port = match rest {
            "" => None,
            _ => {
                let digits = rest.strip_prefix("%3A").ok_or(InvalidDid::Web)?;
                let canonical = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
                Some(digits.parse().ok().filter(|_| canonical).ok_or(InvalidDid::Web)?)
            }
        };
        return Ok(DidMethod::Web { host: "localhost", port });
    }
    if is_domain_name(id) { Ok(DidMethod::Web { host: id, port: None }) } else { Err(InvalidDid::Web) }
}

/// Whether `text` is a lower-case DNS name of two labels or more whose last is not a number
/// (so that no spelling of an IP address passes for a name).
pub(crate) fn is_domain_name(text: &str) -> bool {
    let last_starts_with_letter =
        text.rsplit('.').next().is_some_and(|l| l.starts_with(|c: char| c.is_ascii_lowercase()));
    are_dns_labels(text) && last_starts_with_letter
}

/// Whether `text` is two lower-case DNS labels or more, and no longer than a DNS name.
///
/// Source: RFC 1035 section 2.3.1, with digits first as RFC 1123 section 2.1 allows.
pub(crate) fn are_dns_labels(text: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label)
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Did {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Did {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Did, D::Error> {
        Did::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a DID of an AT Protocol account or service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDid {
    /// Neither did:plc nor did:web.
    #[error("only did:plc and did:web are supported")]
    Method,
    /// No `did:METHOD:ID`.
    #[error("not a DID (did:plc:... or did:web:...)")]
    NotADid,
    /// A did:plc that is not 24 characters of base32.
    #[error("a did:plc has 24 characters of a-z and 2-7")]
    Plc,
    /// Longer than the specification allows.
    #[error("a DID has at most {MAX_BYTES} bytes")]
    TooLong,
    /// A did:web with a path, a port, or a host that is no lower-case domain name.
    #[error("a did:web names a lower-case host, without a path or port")]
    Web,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_methods_are_told_apart() {
        let plc = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
        assert_eq!(plc.method(), DidMethod::Plc);
        let web = Did::parse("did:web:fn.example.com").unwrap();
        assert_eq!(web.method(), DidMethod::Web { host: "fn.example.com", port: None });
        let dev = Did::parse("did:web:localhost%3A3000").unwrap();
        assert_eq!(dev.method(), DidMethod::Web { host: "localhost", port: Some(3000) });
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let cases = [
            ("", InvalidDid::NotADid),
            ("did", InvalidDid::NotADid),
            ("did:plc", InvalidDid::NotADid),
            ("DID:plc:ewvi7nxzyoun6zhxrhs64oiz", InvalidDid::NotADid),
            ("did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF", InvalidDid::Method),
            ("did:plc:ewvi7nxzyoun6zhxrhs64oi", InvalidDid::Plc),
            ("did:plc:ewvi7nxzyoun6zhxrhs64oi1", InvalidDid::Plc),
            ("did:plc:EWVI7NXZYOUN6ZHXRHS64OIZ", InvalidDid::Plc),
            ("did:plc:ewvi7nxzyoun6zhxrhs64oiz#atproto", InvalidDid::Plc),
            ("did:web:", InvalidDid::Web),
            ("did:web:com", InvalidDid::Web),
            ("did:web:example.com:user", InvalidDid::Web),
            ("did:web:example.com%3A8080", InvalidDid::Web),
            ("did:web:example.com/a", InvalidDid::Web),
            ("did:web:user@example.com", InvalidDid::Web),
            ("did:web:Example.com", InvalidDid::Web),
            ("did:web:127.0.0.1", InvalidDid::Web),
            ("did:web:0x7f.1", InvalidDid::Web),
            ("did:web:example.com.", InvalidDid::Web),
            ("did:web:-a.example.com", InvalidDid::Web),
            ("did:web:localhost:3000", InvalidDid::Web),
            ("did:web:localhost%3a3000", InvalidDid::Web),
            ("did:web:localhost%3A03000", InvalidDid::Web),
            ("did:web:localhost%3A65536", InvalidDid::Web),
            ("did:web:localhost%3A", InvalidDid::Web),
            ("did:web:localhost.example", InvalidDid::Web),
        ];
        for (text, reason) in cases {
            assert_eq!(Did::parse(text), Err(reason), "{text}");
        }
        let long = format!("did:web:{}.com", "a".repeat(2048));
        assert_eq!(Did::parse(&long), Err(InvalidDid::TooLong));
    }
}
