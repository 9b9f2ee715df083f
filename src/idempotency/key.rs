//! What a caller calls a call, and what it is a name for.

use std::fmt;

use ipld_core::cid::Cid;
use sha2::{Digest as _, Sha256};

use crate::identity::Did;

/// The longest key. Whoever makes one takes a UUID, or a hash and a little.
pub const MAX_KEY_CHARS: usize = 255;

/// A caller's name for a call: 1 to 255 visible ASCII characters, without `"` and `\`, so that it is the
/// same in quotes and without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// A key that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to {MAX_KEY_CHARS} visible ASCII characters without \" and \\")]
pub struct InvalidKey;

impl IdempotencyKey {
    /// Takes a key as it stands.
    pub fn parse(text: &[u8]) -> Result<IdempotencyKey, InvalidKey> {
        let fits = (1..=MAX_KEY_CHARS).contains(&text.len());
        let visible = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        match std::str::from_utf8(text) {
            Ok(key) if fits && text.iter().all(visible) => Ok(IdempotencyKey(key.to_owned())),
            _ => Err(InvalidKey),
        }
    }

    /// Takes the value of a header: the key as it stands, or in quotes, as
    /// draft-ietf-httpapi-idempotency-key-header writes it.
    pub fn parse_header(value: &[u8]) -> Result<IdempotencyKey, InvalidKey> {
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        IdempotencyKey::parse(unquoted.unwrap_or(value))
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key stands for: nothing of it can be read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub(super) id: Id,
    pub(super) owner: Owner,
    pub(super) payload: Payload,
}

/// The scope of a key: caller, function record, key.
pub(super) type Id = [u8; 32];
/// Whose answers count together: the caller.
pub(super) type Owner = [u8; 16];
/// What was called on what.
pub(super) type Payload = [u8; 32];

impl Call {
    /// The call that `caller` named `key`, of the record with this CID. One key means one `function` (its
    /// at-uri: two records of one repo may be equal) and one `input`, to the byte.
    pub fn new(caller: &Did, cid: &Cid, key: &IdempotencyKey, function: &str, input: &[u8]) -> Call {
        let caller = caller.as_str().as_bytes();
        let mut owner = [0; 16];
        owner.copy_from_slice(&digest(&[caller])[..16]);
        Call {
            id: digest(&[caller, &cid.to_bytes(), key.0.as_bytes()]),
            owner,
            payload: digest(&[function.as_bytes(), input]),
        }
    }
}

/// The hash of these parts, each after its length.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_visible_ascii_within_bounds() {
        for good in ["k", "8e03978e-40d5-43dd-bc93-6894a57f9324", "~!a:/", &"k".repeat(255)] {
            assert_eq!(key(good).to_string(), good);
            assert_eq!(IdempotencyKey::parse_header(good.as_bytes()), Ok(key(good)));
            assert_eq!(IdempotencyKey::parse_header(format!("\"{good}\"").as_bytes()), Ok(key(good)));
        }
        for bad in ["", " ", "a b", "a\"", "\\", "\n", "é", "\u{7f}", &"k".repeat(256)] {
            assert_eq!(IdempotencyKey::parse(bad.as_bytes()), Err(InvalidKey), "{bad:?}");
            assert_eq!(IdempotencyKey::parse_header(bad.as_bytes()), Err(InvalidKey), "{bad:?}");
        }
        for bad in ["\"", "\"\"", "\"a", "a\"", "\"\"a\"\""] {
            assert_eq!(IdempotencyKey::parse_header(bad.as_bytes()), Err(InvalidKey), "{bad:?}");
        }
    }

    #[test]
    fn a_call_is_told_from_every_other() {
        let did = |name: &str| Did::parse(&format!("did:web:{name}.com")).unwrap();
        let cid = |text: &[u8]| crate::repo::record_cid(text);
        let call = |caller: &str, record: &[u8], name: &str, function: &str, input: &[u8]| {
            Call::new(&did(caller), &cid(record), &key(name), function, input)
        };
        let first = call("a", b"r", "k", "f", b"1");
        assert_eq!(first, call("a", b"r", "k", "f", b"1"));
        let other_caller = call("b", b"r", "k", "f", b"1");
        assert!(other_caller.id != first.id && other_caller.owner != first.owner);
        for other in [call("a", b"s", "k", "f", b"1"), call("a", b"r", "l", "f", b"1")] {
            assert!(other.id != first.id && other.owner == first.owner);
        }
        for other in [call("a", b"r", "k", "g", b"1"), call("a", b"r", "k", "f1", b"")] {
            assert!(other.id == first.id && other.payload != first.payload);
        }
    }
}
