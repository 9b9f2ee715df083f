//! What the host calls of a run may read: the record's `allowedHosts`, or the operator's rule where
//! the record has none.
//!
//! An entry is `at://REPO`, `at://REPO/COLLECTION` or `at://REPO/COLLECTION/RKEY`. Entries and reads
//! are compared by whole segments, a repo by its DID: an entry that names a handle covers the repo of
//! the DID that the handle leads to, at the time of the read. Nothing is normalised but the case of
//! handles. An entry that does not parse or resolve covers nothing.
//!
//! Nothing here asks the network: whoever decides says what handles lead to.

mod scope;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::config::UndeclaredReads;
use crate::identity::{Did, Handle};
use crate::lexicon::{Authority, Nsid, RecordKey};

pub use scope::{InvalidScope, Scope};

/// Entries of `allowedHosts` that are considered: the first so many. Each may cost a handle's
/// resolution, and a comparison at each read.
pub const MAX_SCOPES: usize = 64;

/// What one run may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Any public repo.
    Any,
    /// What one of these covers, and nothing else.
    Only(Vec<Scope>),
}

/// A read within one repo, as it is decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// A blob, which belongs to the repo as a whole.
    Blob,
    /// A listing of a collection.
    Collection(&'a Nsid),
    /// One record.
    Record(&'a Nsid, &'a RecordKey),
}

impl Reads {
    /// What a record with these `allowedHosts` may read; without any, what the operator says.
    pub fn of(allowed_hosts: Option<&[String]>, undeclared: UndeclaredReads) -> Reads {
        match (allowed_hosts, undeclared) {
            (Some(entries), _) => Reads::Only(judged(entries).filter_map(|(_, scope)| scope.ok()).collect()),
            (None, UndeclaredReads::Any) => Reads::Any,
            (None, UndeclaredReads::None) => Reads::Only(Vec::new()),
        }
    }

    /// Whether `read` is allowed in the repo of `did`. `leads_to` says which DID a handle leads to and
    /// is led back from, as far as that is known.
    pub fn allow(&self, did: &Did, read: Read<'_>, leads_to: impl Fn(&Handle) -> Option<Did>) -> bool {
        match self {
            Reads::Any => true,
            Reads::Only(_) => self.repos(read).any(|repo| match repo {
                Authority::Did(covered) => covered == did,
                Authority::Handle(handle) => leads_to(handle).as_ref() == Some(did),
            }),
        }
    }

    /// The repos in which an entry covers `read`: those that a decision about it may depend on.
    pub fn repos<'a>(&'a self, read: Read<'a>) -> impl Iterator<Item = &'a Authority> {
        let scopes = match self {
            Reads::Any => &[],
            Reads::Only(scopes) => scopes.as_slice(),
        };
        scopes.iter().filter(move |scope| scope.covers(read)).map(Scope::repo)
    }
}

/// Each entry with what it covers, or why it covers nothing.
pub fn judged(entries: &[String]) -> impl Iterator<Item = (&str, Result<Scope, InvalidScope>)> {
    entries.iter().enumerate().map(|(index, entry)| {
        let considered = if index < MAX_SCOPES { Ok(()) } else { Err(InvalidScope::NotConsidered) };
        (entry.as_str(), considered.and_then(|()| Scope::parse(entry)))
    })
}

/// A read that no entry covers, with the entry that would.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the function's record does not allow this read; it would need {entry} in its allowedHosts{instead}")]
pub struct NotAllowed {
    entry: String,
    /// What would do as well.
    instead: &'static str,
}

impl NotAllowed {
    /// The refusal of `read` in a repo, by the name that it was asked for.
    pub fn new(repo: &Authority, read: Read<'_>) -> NotAllowed {
        let instead = match read {
            Read::Blob => ", or to read a record of that repo that names the blob before",
            Read::Collection(_) | Read::Record(..) => "",
        };
        NotAllowed { entry: format!("at://{repo}{read}"), instead }
    }

    /// The entry that would allow the read.
    pub fn entry(&self) -> &str {
        &self.entry
    }
}

/// The path below the repo that an entry needs to cover the read.
impl fmt::Display for Read<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Read::Blob => Ok(()),
            Read::Collection(collection) => write!(f, "/{collection}"),
            Read::Record(collection, rkey) => write!(f, "/{collection}/{rkey}"),
        }
    }
}
