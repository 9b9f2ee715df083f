//! DRISL, the canonical CBOR of records, commits and tree nodes: one value has one encoding.
//!
//! `serde_ipld_dagcbor` decodes. Before it allocates anything, the bytes are walked once here, for
//! what it leaves open: it takes floats, integers of more than 64 signed bits, any form of CID and
//! nesting of about a hundred, and it has no bound on how much larger the decoded value is than its
//! bytes (a byte becomes a hundred). The walk also gives each refusal its own reason.
//!
//! Source: <https://atproto.com/specs/data-model>, <https://dasl.ing/drisl.html>.

use std::cmp::Ordering;

use ipld_core::ipld::Ipld;

use super::{bytes, cid};

/// The largest value that is decoded or encoded (atproto.com/guides/data-validation: 1 MiB a record).
pub(super) const MAX_BYTES: usize = 1024 * 1024;
/// How deep lists and maps may nest (the same guide).
pub(super) const MAX_DEPTH: usize = 32;
/// How many values and map keys there may be in all. A map of one key takes 1.5 KiB once decoded and
/// three bytes before, so this is what bounds memory (to some 30 MiB); a PDS takes no record of more than
/// 150 kB of JSON, and those that people write have a few thousand.
const MAX_ITEMS: usize = 65_536;

/// Decodes bytes that are exactly one DRISL value without floats.
pub(super) fn decode(bytes: &[u8]) -> Result<Ipld, InvalidData> {
    check(bytes)?;
    // The walk above is the stricter one; should the two ever disagree, both must have agreed.
    serde_ipld_dagcbor::from_slice(bytes).map_err(|_| InvalidData::Malformed)
}

/// Encodes a value, refusing what [`decode`] would not take back.
pub(super) fn encode(value: &Ipld) -> Result<Vec<u8>, InvalidData> {
    check_depth(value, 0)?;
    // Beyond 64 bits an integer has no encoding; nothing else of `Ipld` lacks one.
    let bytes = serde_ipld_dagcbor::to_vec(value).map_err(|_| InvalidData::Integer)?;
    check(&bytes)?;
    Ok(bytes)
}

/// The encoder recurses, so depth is bounded before it starts.
fn check_depth(value: &Ipld, depth: usize) -> Result<(), InvalidData> {
    if depth > MAX_DEPTH {
        return Err(InvalidData::TooDeep);
    }
    match value {
        Ipld::List(items) => items.iter().try_for_each(|item| check_depth(item, depth + 1)),
        Ipld::Map(map) => map.values().try_for_each(|item| check_depth(item, depth + 1)),
        _ => Ok(()),
    }
}

/// Walks the bytes of one value, allocating nothing.
fn check(bytes: &[u8]) -> Result<(), InvalidData> {
    if bytes.len() > MAX_BYTES {
        return Err(InvalidData::TooLarge);
    }
    let mut reader = Reader { rest: bytes };
    let mut open = [Container::default(); MAX_DEPTH];
    let mut depth = 0;
    for _ in 0..MAX_ITEMS {
        let is_key = depth > 0 && open[depth - 1].begin_item();
        let head = reader.head()?;
        if is_key {
            let Head::Text(key) = head else { return Err(InvalidData::Key) };
            open[depth - 1].check_key(key)?;
            continue;
        }
        let container = match head {
            Head::List(len) => Some(Container::list(len)),
            Head::Map(len) => Some(Container::map(len)),
            Head::Text(_) | Head::Leaf => None,
        };
        if let Some(container) = container {
            *open.get_mut(depth).ok_or(InvalidData::TooDeep)? = container;
            depth += 1;
        }
        while depth > 0 && open[depth - 1].is_complete() {
            depth -= 1;
        }
        if depth == 0 {
            return if reader.rest.is_empty() { Ok(()) } else { Err(InvalidData::TrailingBytes) };
        }
    }
    Err(InvalidData::TooManyItems)
}

/// A list or map whose items are being walked.
#[derive(Clone, Copy, Default)]
struct Container<'a> {
    /// Items that are yet to start.
    remaining: u64,
    is_map: bool,
    /// In a map: whether the next item is a value.
    value_next: bool,
    /// In a map: the last key.
    last_key: Option<&'a [u8]>,
}

impl<'a> Container<'a> {
    fn list(len: u64) -> Container<'a> {
        Container { remaining: len, ..Container::default() }
    }

    fn map(len: u64) -> Container<'a> {
        Container { remaining: len, is_map: true, ..Container::default() }
    }

    /// Counts an item in; whether it is a map key.
    fn begin_item(&mut self) -> bool {
        if self.is_map && !self.value_next {
            self.value_next = true;
            return true;
        }
        self.value_next = false;
        // Never below zero: a complete container is closed before the next item begins.
        self.remaining -= 1;
        false
    }

    fn is_complete(&self) -> bool {
        self.remaining == 0
    }

    /// Keys ascend: shorter ones first, then by bytes.
    fn check_key(&mut self, key: &'a [u8]) -> Result<(), InvalidData> {
        match self.last_key.replace(key).map(|last| (last.len(), last).cmp(&(key.len(), key))) {
            None | Some(Ordering::Less) => Ok(()),
            Some(Ordering::Equal) => Err(InvalidData::DuplicateKey),
            Some(Ordering::Greater) => Err(InvalidData::KeyOrder),
        }
    }
}

/// What an item begins with; of leaves, all is read.
enum Head<'a> {
    List(u64),
    Map(u64),
    Text(&'a [u8]),
    Leaf,
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn head(&mut self) -> Result<Head<'a>, InvalidData> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        if major == 7 {
            return match info {
                20..=22 => Ok(Head::Leaf),
                25..=27 => Err(InvalidData::Float),
                _ => Err(InvalidData::Unsupported),
            };
        }
        let argument = self.argument(info)?;
        match major {
            0 | 1 if argument > i64::MAX as u64 => Err(InvalidData::Integer),
            0 | 1 => Ok(Head::Leaf),
            2 => self.take(argument).map(|_| Head::Leaf),
            3 => {
                let text = self.take(argument)?;
                std::str::from_utf8(text).map_err(|_| InvalidData::Utf8)?;
                Ok(Head::Text(text))
            }
            4 => Ok(Head::List(argument)),
            5 => Ok(Head::Map(argument)),
            _ => self.link(argument),
        }
    }

    /// Tag 42 holds a byte string: a zero, then a CID.
    fn link(&mut self, tag: u64) -> Result<Head<'a>, InvalidData> {
        if tag != 42 {
            return Err(InvalidData::Tag);
        }
        let head = self.take(2)?;
        if head != [0x58, 1 + cid::CID_BYTES as u8] {
            return Err(InvalidData::Link);
        }
        match self.take(1 + cid::CID_BYTES as u64)? {
            [0, rest @ ..] if cid::from_bytes(rest).is_some() => Ok(Head::Leaf),
            _ => Err(InvalidData::Link),
        }
    }

    /// The argument of a head, in its shortest form.
    fn argument(&mut self, info: u8) -> Result<u64, InvalidData> {
        let (width, smallest) = match info {
            0..=23 => return Ok(u64::from(info)),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            31 => return Err(InvalidData::Indefinite),
            _ => return Err(InvalidData::Unsupported),
        };
        let argument = self.take(width)?.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        if argument < smallest { Err(InvalidData::NotShortest) } else { Ok(argument) }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], InvalidData> {
        bytes::take(&mut self.rest, len).ok_or(InvalidData::Truncated)
    }
}

/// Why bytes are not data of AT Protocol, or a value has no encoding there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidData {
    /// A map has one key twice.
    #[error("a map has the same key twice")]
    DuplicateKey,
    /// A floating-point number.
    #[error("it has a float, and AT Protocol data has none; use an integer or a string")]
    Float,
    /// A list, map or string without a length.
    #[error("it has an item of indefinite length")]
    Indefinite,
    /// An integer of more than 64 signed bits.
    #[error("an integer has more than 64 signed bits")]
    Integer,
    /// A map key that is not text.
    #[error("a map key is not text")]
    Key,
    /// The keys of a map are not in the canonical order.
    #[error("the keys of a map are not in order")]
    KeyOrder,
    /// A link that is not a version 1 SHA-256 CID of a record or blob.
    #[error("a link is not a CIDv1 of dag-cbor or raw with SHA-256")]
    Link,
    /// Refused by the decoder for another reason.
    #[error("it is not DRISL")]
    Malformed,
    /// A number or length that has a shorter encoding.
    #[error("a number is not in its shortest encoding")]
    NotShortest,
    /// Another tag than that of links.
    #[error("it has a tag other than 42")]
    Tag,
    /// Lists and maps nest too deep.
    #[error("lists and maps nest deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More bytes than a record may have.
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLarge,
    /// More values than are decoded.
    #[error("it has more than {MAX_ITEMS} values")]
    TooManyItems,
    /// Bytes follow the value.
    #[error("bytes follow the value")]
    TrailingBytes,
    /// The bytes end before the value does.
    #[error("the bytes end before the value does")]
    Truncated,
    /// A simple value or head that DRISL does not have, such as `undefined`.
    #[error("it has a value that is not of the data model")]
    Unsupported,
    /// Text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn link(codec: u8, hash: u8, digest: usize) -> Vec<u8> {
        [&[0xd8, 0x2a, 0x58, 5 + digest as u8, 0, 1, codec, hash, 32][..], &vec![7; digest]].concat()
    }

    #[test]
    fn every_kind_reads_back_as_it_was_written() {
        let value = Ipld::Map(BTreeMap::from([
            ("a".to_owned(), Ipld::List(vec![Ipld::Null, Ipld::Bool(true), Ipld::Bool(false)])),
            ("bytes".to_owned(), Ipld::Bytes(vec![0, 255])),
            ("empty".to_owned(), Ipld::Map(BTreeMap::new())),
            ("int".to_owned(), Ipld::List([0, 23, 24, 255, 256, 65_535, 65_536].map(Ipld::Integer).to_vec())),
            ("wide".to_owned(), Ipld::Integer(i64::MAX.into())),
            ("least".to_owned(), Ipld::Integer(i64::MIN.into())),
            ("link".to_owned(), Ipld::Link(cid::blob_cid(b""))),
            ("text".to_owned(), Ipld::String("naïve 👩‍🚀".to_owned())),
        ]));
        let bytes = encode(&value).unwrap();
        assert_eq!(decode(&bytes).unwrap(), value);
    }

    #[test]
    fn a_value_has_the_one_encoding_of_the_specification() {
        let map = |entries: &[(&str, Ipld)]| {
            Ipld::Map(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
        };
        // Shorter keys first, whatever their letters.
        let value = map(&[("b", Ipld::Integer(1)), ("aa", Ipld::Integer(-1)), ("c", Ipld::Null)]);
        assert_eq!(encode(&value).unwrap(), b"\xa3\x61b\x01\x61c\xf6\x62aa\x20");
    }

    #[test]
    fn other_encodings_are_refused_with_their_reason() {
        let deep = |levels: usize| [vec![0x81; levels], vec![0xf6]].concat();
        let cases: Vec<(Vec<u8>, InvalidData)> = vec![
            (vec![], InvalidData::Truncated),
            (vec![0xa1], InvalidData::Truncated),
            (vec![0x61], InvalidData::Truncated),
            (vec![0x18], InvalidData::Truncated),
            (vec![0x82, 0x01], InvalidData::Truncated),
            // Lengths that no memory could hold.
            (vec![0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], InvalidData::Truncated),
            (vec![0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], InvalidData::Truncated),
            (vec![0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], InvalidData::Truncated),
            (vec![0x01, 0x01], InvalidData::TrailingBytes),
            (vec![0xa0, 0x00], InvalidData::TrailingBytes),
            (vec![0x18, 0x17], InvalidData::NotShortest),
            (vec![0x38, 0x17], InvalidData::NotShortest),
            (vec![0x19, 0x00, 0xff], InvalidData::NotShortest),
            (vec![0x1a, 0x00, 0x00, 0xff, 0xff], InvalidData::NotShortest),
            (vec![0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], InvalidData::NotShortest),
            (vec![0x58, 0x01, 0x00], InvalidData::NotShortest),
            (vec![0x78, 0x01, b'a'], InvalidData::NotShortest),
            (vec![0x98, 0x01, 0x00], InvalidData::NotShortest),
            (vec![0xb8, 0x00], InvalidData::NotShortest),
            (vec![0xa1, 0x78, 0x01, b'a', 0x00], InvalidData::NotShortest),
            (vec![0xd9, 0x00, 0x2a, 0x40], InvalidData::NotShortest),
            (vec![0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0], InvalidData::Integer),
            (vec![0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0], InvalidData::Integer),
            (vec![0x9f, 0xff], InvalidData::Indefinite),
            (vec![0xbf, 0xff], InvalidData::Indefinite),
            (vec![0x5f, 0xff], InvalidData::Indefinite),
            (vec![0x7f, 0xff], InvalidData::Indefinite),
            (vec![0xf9, 0x3c, 0x00], InvalidData::Float),
            (vec![0xfa, 0x3f, 0x80, 0x00, 0x00], InvalidData::Float),
            (vec![0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], InvalidData::Float),
            (vec![0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], InvalidData::Float),
            (vec![0xf7], InvalidData::Unsupported),
            (vec![0xf8, 0x20], InvalidData::Unsupported),
            (vec![0xff], InvalidData::Unsupported),
            (vec![0x1c], InvalidData::Unsupported),
            (vec![0xa1, 0x01, 0x01], InvalidData::Key),
            (vec![0xa1, 0x41, b'a', 0x01], InvalidData::Key),
            (vec![0xa1, 0xa0, 0x01], InvalidData::Key),
            (b"\xa2\x61b\x01\x61a\x01".to_vec(), InvalidData::KeyOrder),
            (b"\xa2\x62aa\x01\x61b\x01".to_vec(), InvalidData::KeyOrder),
            (b"\xa2\x61a\x01\x61a\x01".to_vec(), InvalidData::DuplicateKey),
            (vec![0x61, 0xff], InvalidData::Utf8),
            (vec![0xa1, 0x61, 0xff, 0x00], InvalidData::Utf8),
            (vec![0xc0, 0x61, b'a'], InvalidData::Tag),
            (vec![0xc2, 0x41, 0x01], InvalidData::Tag),
            (vec![0xd8, 0x2b, 0x41, 0x00], InvalidData::Tag),
            (vec![0xd8, 0x2a, 0x41, 0x00], InvalidData::Link),
            (vec![0xd8, 0x2a, 0x61, b'b'], InvalidData::Link),
            (link(0x71, 0x12, 31), InvalidData::Link),
            (link(0x71, 0x12, 33), InvalidData::Link),
            (link(0x70, 0x12, 32), InvalidData::Link),
            (link(0x71, 0x1e, 32), InvalidData::Link),
            ([&link(0x71, 0x12, 32)[..4], &[1], &link(0x71, 0x12, 32)[5..]].concat(), InvalidData::Link),
            (link(0x71, 0x12, 32)[..20].to_vec(), InvalidData::Truncated),
            (deep(MAX_DEPTH + 1), InvalidData::TooDeep),
            (deep(100_000), InvalidData::TooDeep),
            (vec![0xf6; MAX_BYTES + 1], InvalidData::TooLarge),
        ];
        for (bytes, reason) in cases {
            assert_eq!(decode(&bytes), Err(reason), "{:02x?}", &bytes[..bytes.len().min(40)]);
        }
        assert!(decode(&deep(MAX_DEPTH)).is_ok());
        assert!(decode(&link(0x55, 0x12, 32)).is_ok());
    }

    #[test]
    fn values_beyond_the_budget_are_refused_before_they_are_decoded() {
        let list = |head: &[u8], len| [head, &vec![0xf6; len]].concat();
        let too_many = list(&[0x9a, 0x00, 0x01, 0x00, 0x00], MAX_ITEMS);
        assert_eq!(decode(&too_many), Err(InvalidData::TooManyItems));
        // The list itself counts too.
        let most = list(&[0x99, 0xff, 0xff], MAX_ITEMS - 1);
        assert_eq!(decode(&most), Ok(Ipld::List(vec![Ipld::Null; MAX_ITEMS - 1])));
    }

    #[test]
    fn what_has_no_encoding_is_not_encoded() {
        let nested = |levels| (0..levels).fold(Ipld::Null, |inner, _| Ipld::List(vec![inner]));
        let cases = [
            (Ipld::Float(1.0), InvalidData::Float),
            (Ipld::Integer(i128::from(u64::MAX)), InvalidData::Integer),
            (Ipld::Integer(i128::MAX), InvalidData::Integer),
            (nested(MAX_DEPTH + 1), InvalidData::TooDeep),
            (nested(1000), InvalidData::TooDeep),
            (Ipld::Bytes(vec![0; MAX_BYTES]), InvalidData::TooLarge),
            (Ipld::Link(ipld_core::cid::Cid::default()), InvalidData::Link),
        ];
        for (value, reason) in cases {
            assert_eq!(encode(&value), Err(reason));
        }
        assert!(encode(&nested(MAX_DEPTH)).is_ok());
    }

    /// Bytes that are nearly DRISL: heads with arguments that often fit.
    fn nearly_drisl() -> impl Strategy<Value = Vec<u8>> {
        let item = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            (0u8..24).prop_map(|byte| vec![byte]),
            prop_oneof![Just(0x80u8), Just(0x81), Just(0x82), Just(0xa0), Just(0xa1), Just(0xa2)]
                .prop_map(|byte| vec![byte]),
            "[a-c]{1,2}".prop_map(|text| [&[0x60 + text.len() as u8], text.as_bytes()].concat()),
            Just(link(0x71, 0x12, 32)),
        ];
        proptest::collection::vec(item, 0..12).prop_map(|items| items.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// What is taken has no other encoding: the walk and the decoder together are canonical.
        #[test]
        fn decoded_bytes_encode_to_the_same_bytes(bytes in nearly_drisl()) {
            match decode(&bytes) {
                Ok(value) => prop_assert_eq!(encode(&value), Ok(bytes)),
                // The walk is as strict as the decoder, or its reasons would not be the reasons.
                Err(reason) => prop_assert_ne!(reason, InvalidData::Malformed),
            }
        }
    }
}
