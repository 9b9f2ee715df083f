//! at-uris of records, and the names they are made of.
//!
//! Source: <https://atproto.com/specs/at-uri-scheme> (the restricted form), `/specs/nsid`,
//! `/specs/record-key`.

use std::fmt;
use std::sync::Arc;

use crate::identity::{Did, Handle, are_dns_labels};

/// The longest at-uri that is taken (8 KiB).
const MAX_BYTES: usize = 8 * 1024;

/// `at://AUTHORITY/COLLECTION/RKEY`: the name of one record.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AtUri {
    /// Whose repo the record is in.
    pub authority: Authority,
    /// The record's collection.
    pub collection: Nsid,
    /// The record's key in its collection.
    pub rkey: RecordKey,
}

/// The first segment of an at-uri. Only a DID names a repo for good: a handle is resolved, both
/// ways, before anything is decided about it or cached under it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Authority {
    /// A DID.
    Did(Did),
    /// A handle, yet to be resolved.
    Handle(Handle),
}

impl AtUri {
    /// Parses the full form with all three segments; no query, fragment, or trailing slash.
    pub fn parse(text: &str) -> Result<AtUri, InvalidAtUri> {
        if text.len() > MAX_BYTES {
            return Err(InvalidAtUri::TooLong);
        }
        let rest = text.strip_prefix("at://").ok_or(InvalidAtUri::Scheme)?;
        let mut segments = rest.split('/');
        let authority = segments.next().unwrap_or_default();
        let (Some(collection), Some(rkey), None) = (segments.next(), segments.next(), segments.next()) else {
            return Err(InvalidAtUri::Segments);
        };
        Ok(AtUri {
            authority: Authority::parse(authority)?,
            collection: Nsid::parse(collection)?,
            rkey: RecordKey::parse(rkey)?,
        })
    }

    /// The at-uri of a record in the repo of `did`.
    pub fn of_record(did: Did, collection: Nsid, rkey: RecordKey) -> AtUri {
        AtUri { authority: Authority::Did(did), collection, rkey }
    }
}

impl Authority {
    /// Parses a DID or a handle.
    pub fn parse(text: &str) -> Result<Authority, InvalidAtUri> {
        if text.starts_with("did:") {
            Did::parse(text).map(Authority::Did).map_err(|_| InvalidAtUri::Authority)
        } else {
            Handle::parse(text).map(Authority::Handle).map_err(|_| InvalidAtUri::Authority)
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authority::Did(did) => did.fmt(f),
            Authority::Handle(handle) => handle.fmt(f),
        }
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for AtUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at://{}/{}/{}", self.authority, self.collection, self.rkey)
    }
}

impl fmt::Debug for AtUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A namespaced identifier such as `at.functions.metadata`; its authority part is lower case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Nsid(Arc<str>);

impl Nsid {
    /// Parses an NSID: three segments or more, the last of letters and digits only.
    pub fn parse(text: &str) -> Result<Nsid, InvalidAtUri> {
        let (authority, name) = text.rsplit_once('.').ok_or(InvalidAtUri::Collection)?;
        let name_fits = name.len() <= 63
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric());
        let authority_fits =
            are_dns_labels(authority) && authority.starts_with(|c: char| c.is_ascii_lowercase());
        if name_fits && authority_fits { Ok(Nsid(text.into())) } else { Err(InvalidAtUri::Collection) }
    }

    /// The NSID as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Nsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Nsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of a record in its collection.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RecordKey(Arc<str>);

impl RecordKey {
    /// Parses a record key: 1 to 512 characters of `A-Z a-z 0-9 . _ : ~ -`, not `.` or `..`.
    pub fn parse(text: &str) -> Result<RecordKey, InvalidAtUri> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'~' | b'-');
        let fits =
            (1..=512).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != "..";
        if fits { Ok(RecordKey(text.into())) } else { Err(InvalidAtUri::RecordKey) }
    }

    /// The key as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not the at-uri of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAtUri {
    /// The authority is neither a DID that is supported nor a handle.
    #[error("the authority of an at-uri is a did:plc, a did:web or a handle")]
    Authority,
    /// The collection is not an NSID.
    #[error("the collection of an at-uri is an NSID such as at.functions.metadata")]
    Collection,
    /// The record key has characters or a length that no record key has.
    #[error("a record key has 1 to 512 characters of A-Z a-z 0-9 . _ : ~ -")]
    RecordKey,
    /// It does not start with `at://`.
    #[error("an at-uri starts with at://")]
    Scheme,
    /// It has not exactly an authority, a collection and a record key.
    #[error("expected at://AUTHORITY/COLLECTION/RKEY")]
    Segments,
    /// Longer than the specification allows.
    #[error("an at-uri has at most {MAX_BYTES} bytes")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

    #[test]
    fn an_at_uri_reads_back_as_it_was_written() {
        let texts = [
            format!("at://{DID}/at.functions.metadata/adder"),
            format!("at://{DID}/com.example.someFunc/..."),
            "at://did:web:example.com/com.example.a/3jzfcijpj2z2a".to_owned(),
            "at://did:web:localhost%3A3000/com.example.a/self".to_owned(),
            "at://alice.example.com/com.example.a/a:b~c_d-e.F".to_owned(),
        ];
        for text in texts {
            assert_eq!(AtUri::parse(&text).unwrap().to_string(), text);
        }
        let folded = AtUri::parse("at://Alice.Example.COM/com.example.a/Self").unwrap();
        assert_eq!(folded.to_string(), "at://alice.example.com/com.example.a/Self");
        let made = AtUri::of_record(
            Did::parse(DID).unwrap(),
            Nsid::parse("at.functions.metadata").unwrap(),
            RecordKey::parse("adder").unwrap(),
        );
        assert_eq!(made, AtUri::parse(&format!("at://{DID}/at.functions.metadata/adder")).unwrap());
    }

    #[test]
    fn texts_that_name_no_record_are_refused_with_their_reason() {
        use InvalidAtUri::*;
        let cases = [
            ("", Scheme),
            ("at:/a.com/com.example.a/b", Scheme),
            ("AT://a.com/com.example.a/b", Scheme),
            (" at://a.com/com.example.a/b", Scheme),
            ("http://a.com/com.example.a/b", Scheme),
            ("at://", Segments),
            ("at://a.com", Segments),
            ("at://a.com/", Segments),
            ("at://a.com/com.example.a", Segments),
            ("at://a.com/com.example.a/b/", Segments),
            ("at://a.com/com.example.a/b/c", Segments),
            // Permissioned spaces have more segments, and `space` is no NSID.
            ("at://did:web:a.com/space/com.example.a/b/c", Segments),
            ("at://a.com/space/b", Collection),
            ("at:///com.example.a/b", Authority),
            ("at://alice/com.example.a/b", Authority),
            ("at://a_b.com/com.example.a/b", Authority),
            ("at://did:key:z/com.example.a/b", Authority),
            ("at://did:plc:short/com.example.a/b", Authority),
            ("at://user:pass@a.com/com.example.a/b", Authority),
            ("at://a.com:80/com.example.a/b", Authority),
            ("at://a.com//b", Collection),
            ("at://a.com/example.a/b", Collection),
            ("at://a.com/com.example.a/", RecordKey),
            ("at://a.com/com.example.a/.", RecordKey),
            ("at://a.com/com.example.a/..", RecordKey),
            ("at://a.com/com.example.a/b?c=d", RecordKey),
            ("at://a.com/com.example.a/b#c", RecordKey),
            ("at://a.com/com.example.a/b%20c", RecordKey),
            ("at://a.com/com.example.a/b c", RecordKey),
            ("at://a.com/com.example.a/b\n", RecordKey),
            ("at://a.com/com.example.a/\u{e9}", RecordKey),
        ];
        for (text, reason) in cases {
            assert_eq!(AtUri::parse(text), Err(reason), "{text}");
        }
        let long = format!("at://a.com/com.example.a/{}", "b".repeat(MAX_BYTES));
        assert_eq!(AtUri::parse(&long), Err(TooLong));
    }

    #[test]
    fn nsids_have_a_domain_of_two_labels_and_a_name() {
        let label = "o".repeat(63);
        let taken = [
            "com.example.fooBar",
            "net.users.bob.ping",
            "a-0.b-1.c",
            "a.b.c",
            "cn.8.lex.stuff",
            "com.example.a1",
            "com.example.fooBarV2",
            &format!("com.{label}.foo"),
            &format!("com.example.{label}"),
        ];
        for text in taken {
            assert_eq!(Nsid::parse(text).unwrap().as_str(), text);
        }
        let refused = [
            "",
            "com",
            "com.example",
            "com.example.",
            ".com.example.a",
            "com..example.a",
            "com.example.3",
            "com.example.3a",
            "com.example.foo-bar",
            "com.example.foo_bar",
            "com.example.foo*",
            "com.example.fo\u{f3}",
            "com.Example.foo",
            "COM.example.foo",
            "-com.example.foo",
            "com-.example.foo",
            "com.-a.foo",
            "8com.example.foo",
            "com.example.foo ",
            "com.example.foo/bar",
            &format!("com.{label}o.foo"),
            &format!("com.example.{label}o"),
            &format!("com{}.foo", ".middle".repeat(50)),
        ];
        for text in refused {
            assert_eq!(Nsid::parse(text), Err(InvalidAtUri::Collection), "{text}");
        }
    }

    #[test]
    fn record_keys_are_short_and_of_few_characters() {
        let longest = "o".repeat(512);
        for text in ["self", "~1.2-3_", "lang:", ":", "-", "_", "~", "...", "dHJ1ZQ", "Pre:fix", &longest] {
            assert_eq!(RecordKey::parse(text).unwrap().as_str(), text);
        }
        let too_long = format!("{longest}o");
        let refused = [
            "",
            ".",
            "..",
            "a b",
            "a/b",
            "any+space",
            "number[3]",
            "number(3)",
            "\"quote\"",
            "#extra",
            "@handle",
            "dHJ1ZQ==",
            "%30",
            "a\0",
            "\u{e9}",
            &too_long,
        ];
        for text in refused {
            assert_eq!(RecordKey::parse(text), Err(InvalidAtUri::RecordKey), "{text}");
        }
    }
}
