//! One entry of `allowedHosts`.

use std::fmt;

use super::{MAX_SCOPES, Read};
use crate::lexicon::{Authority, InvalidAtUri, Nsid, RecordKey};

/// The longest entry that is taken, as of any at-uri.
const MAX_BYTES: usize = 8 * 1024;

/// What one entry covers: a repo, one of its collections, or one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    repo: Authority,
    part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Collection(Nsid),
    Record(Nsid, RecordKey),
}

impl Scope {
    /// Parses `at://REPO`, `at://REPO/COLLECTION` or `at://REPO/COLLECTION/RKEY`, each segment as in an
    /// at-uri: no query, fragment, trailing slash or escapes.
    pub fn parse(text: &str) -> Result<Scope, InvalidScope> {
        if text.len() > MAX_BYTES {
            return Err(InvalidAtUri::TooLong.into());
        }
        let rest = text.strip_prefix("at://").ok_or(InvalidAtUri::Scheme)?;
        let mut segments = rest.split('/');
        let repo = Authority::parse(segments.next().unwrap_or_default())?;
        let part = match (segments.next(), segments.next(), segments.next()) {
            (None, ..) => Part::Whole,
            (Some(collection), None, _) => Part::Collection(Nsid::parse(collection)?),
            (Some(collection), Some(rkey), None) => {
                Part::Record(Nsid::parse(collection)?, RecordKey::parse(rkey)?)
            }
            _ => return Err(InvalidScope::Segments),
        };
        Ok(Scope { repo, part })
    }

    /// Whose repo it is about.
    pub fn repo(&self) -> &Authority {
        &self.repo
    }

    /// Whether it covers `read` in its repo.
    pub(super) fn covers(&self, read: Read<'_>) -> bool {
        match (&self.part, read) {
            (Part::Whole, _) => true,
            (Part::Collection(ours), Read::Collection(asked) | Read::Record(asked, _)) => ours == asked,
            (Part::Record(ours, our_key), Read::Record(asked, key)) => ours == asked && our_key == key,
            (Part::Collection(_), Read::Blob) | (Part::Record(..), Read::Blob | Read::Collection(_)) => false,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Part::Whole => write!(f, "at://{}", self.repo),
            Part::Collection(collection) => write!(f, "at://{}/{collection}", self.repo),
            Part::Record(collection, rkey) => write!(f, "at://{}/{collection}/{rkey}", self.repo),
        }
    }
}

/// Why an entry covers nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidScope {
    /// One of its segments is not what stands there in an at-uri.
    #[error(transparent)]
    AtUri(#[from] InvalidAtUri),
    /// Too many entries stand before it.
    #[error("a service considers the first {MAX_SCOPES} entries")]
    NotConsidered,
    /// It has more segments than the at-uri of a record.
    #[error("expected at://REPO, at://REPO/COLLECTION or at://REPO/COLLECTION/RKEY")]
    Segments,
}
