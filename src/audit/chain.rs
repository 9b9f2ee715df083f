//! The form of the log: one JSON object a line, each with its number and the hash of the line before it.
//!
//! A line is `{"seq":N,"prev":"HEX","time":"...","kind":"...",...}` and a line feed, which is not part of what is
//! hashed. A checkpoint ends in `,"sig":"HEX"}`: the service's signature over a prefix and all that stands
//! before that, which by `prev` is all of the log up to there.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::identity::{PublicKey, SigningKey};

/// What is signed begins with this, so that it cannot be taken for a token or a commit.
const SIGNED_PREFIX: &[u8] = b"at-functions audit checkpoint\n";
/// What stands between the signed part of a checkpoint and its signature.
const BEFORE_SIGNATURE: &str = ",\"sig\":\"";
/// What ends a checkpoint.
const AFTER_SIGNATURE: &str = "\"}";
/// The kind of signed lines.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// The longest line that is one. The longest that is written is a tenth of it.
pub(super) const MAX_LINE_BYTES: usize = 256 * 1024;

/// A place in the chain: the number of a line, counted from 1, and the SHA-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The line's number.
    pub seq: u64,
    /// The line's hash.
    pub hash: [u8; 32],
}

impl Head {
    /// Where a chain begins: no line, and zeros that the first one holds as `prev`.
    pub const START: Head = Head { seq: 0, hash: [0; 32] };
}

impl fmt::Display for Head {
    /// `SEQ:HASH`, the hash in 64 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, HEXLOWER.encode(&self.hash))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({self})")
    }
}

impl FromStr for Head {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Head, InvalidHead> {
        let (seq, hash) = text.split_once(':').ok_or(InvalidHead)?;
        let seq = seq.parse().map_err(|_| InvalidHead)?;
        Ok(Head { seq, hash: digest_from_hex(hash).ok_or(InvalidHead)? })
    }
}

/// A text that is no head of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected SEQ:HASH, a number and 64 lower-case hex digits")]
pub struct InvalidHead;

/// The end of a log that is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    pub(super) head: Head,
}

impl Chain {
    /// Writes the next line into `out`: its place, then the members of `body`, a JSON object with some.
    pub(super) fn line(&mut self, body: &str, out: &mut Vec<u8>) {
        let from = out.len();
        self.place(body, out);
        self.seal(from, out);
    }

    /// Writes a line that `key` signs, and with it all before it.
    pub(super) fn checkpoint(&mut self, body: &str, key: &SigningKey, out: &mut Vec<u8>) {
        let from = out.len();
        self.place(body, out);
        out.pop();
        let signature = key.sign(&[SIGNED_PREFIX, &out[from..]].concat());
        out.extend_from_slice(BEFORE_SIGNATURE.as_bytes());
        out.extend_from_slice(HEXLOWER.encode(&signature).as_bytes());
        out.extend_from_slice(AFTER_SIGNATURE.as_bytes());
        self.seal(from, out);
    }

    fn place(&self, body: &str, out: &mut Vec<u8>) {
        let prev = HEXLOWER.encode(&self.head.hash);
        out.extend_from_slice(format!("{{\"seq\":{},\"prev\":\"{prev}\",", self.head.seq + 1).as_bytes());
        out.extend_from_slice(body.strip_prefix('{').unwrap_or(body).as_bytes());
    }

    fn seal(&mut self, from: usize, out: &mut Vec<u8>) {
        self.head = Head { seq: self.head.seq + 1, hash: hash(&out[from..]) };
        out.push(b'\n');
    }
}

/// A line as it is read back: its place, and what `verify` judges.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    pub(super) seq: u64,
    #[serde(borrow)]
    prev: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) key: Option<Cow<'a, str>>,
    /// Of a start: what was found of the head that had been committed.
    #[serde(borrow, default)]
    pub(super) committed: Option<Cow<'a, str>>,
    /// Of a gap: how many calls have no line.
    #[serde(default)]
    pub(super) dropped: Option<u64>,
}

impl<'a> Line<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Line<'a>> {
        if bytes.len() > MAX_LINE_BYTES || !bytes.starts_with(b"{\"seq\":") {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }

    /// The hash of the line before it.
    pub(super) fn prev(&self) -> Option<[u8; 32]> {
        digest_from_hex(&self.prev)
    }
}

/// Whether `key` signed this checkpoint.
pub(super) fn is_signed_by(line: &[u8], key: &PublicKey) -> bool {
    let signature_from = line.len().checked_sub(128 + AFTER_SIGNATURE.len());
    let Some((body, end)) = signature_from.and_then(|at| line.split_at_checked(at)) else { return false };
    let (Some(signed), Some(digits)) =
        (body.strip_suffix(BEFORE_SIGNATURE.as_bytes()), end.strip_suffix(AFTER_SIGNATURE.as_bytes()))
    else {
        return false;
    };
    let Ok(signature) = HEXLOWER.decode(digits) else { return false };
    key.verify_strict(&[SIGNED_PREFIX, signed].concat(), &signature).is_ok()
}

/// The hash of a line, without its line feed.
pub(super) fn hash(line: &[u8]) -> [u8; 32] {
    Sha256::digest(line).into()
}

/// A moment as lines tell it (RFC 3339, UTC, to the microsecond).
pub(super) fn moment(since_epoch: Duration) -> String {
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX);
    let nanos = since_epoch.subsec_micros() as i32 * 1000;
    // Clocks that stand beyond the year 9999 are told as standing at its end.
    jiff::Timestamp::new(seconds, nanos).unwrap_or(jiff::Timestamp::MAX).to_string()
}

fn digest_from_hex(digits: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(digits.as_bytes()).ok()?.try_into().ok()
}
