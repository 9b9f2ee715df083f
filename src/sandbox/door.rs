//! The one way out of a guest: what it may ask for, and what it is told.
//!
//! Everything here is text and bytes, since it may cross to another process; what a text means, and
//! whether this run may have what it asks for, is decided on the other side.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BoxFuture, payload};

/// Where a guest's host calls go: the capability object that the service holds for one run.
pub trait Door: Send + Sync + 'static {
    /// Decides and does one host call, for a run that has `time_left`.
    ///
    /// The future is polled on the sandbox's own threads, so it must do without an async runtime: what
    /// needs one is spawned there by this function. Dropping the future cancels the call.
    fn call(&self, call: HostCall, time_left: Duration) -> BoxFuture<'static, Result<HostReply, Denied>>;
}

/// The most records of one page.
pub(crate) const MAX_PAGE: u32 = 100;

/// What a guest may ask for. Nothing in it has been checked but its length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostCall {
    /// A page of a collection.
    ListCollection {
        /// A DID or a handle.
        repo: String,
        /// An NSID.
        collection: String,
        /// Where the page before ended.
        cursor: Option<String>,
        /// How many records, from 1 to 100.
        limit: u32,
    },
    /// The bytes of a blob.
    ReadBlob {
        /// Its CID.
        cid: String,
        /// A DID or a handle; none is the function's author.
        repo: Option<String>,
    },
    /// One record, proved.
    ReadRecord {
        /// Its at-uri.
        at_uri: String,
    },
}

impl HostCall {
    /// The records of a page, where the guest does not say how many.
    pub(super) const DEFAULT_LIMIT: u32 = 25;
    /// The most records of a page (lexicon `com.atproto.repo.listRecords`).
    pub(super) const MAX_LIMIT: u32 = 100;

    /// Length of its texts.
    pub(super) fn bytes(&self) -> usize {
        match self {
            HostCall::ListCollection { repo, collection, cursor, limit: _ } => {
                repo.len() + collection.len() + cursor.as_ref().map_or(0, String::len)
            }
            HostCall::ReadBlob { cid, repo } => cid.len() + repo.as_ref().map_or(0, String::len),
            HostCall::ReadRecord { at_uri } => at_uri.len(),
        }
    }
}

/// What a guest is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostReply {
    /// A blob.
    Blob {
        /// What the repo's host says it is.
        mime_type: String,
        /// Bytes that hash to the CID.
        #[serde(with = "payload")]
        bytes: Bytes,
    },
    /// A page of a collection, as the repo's host gave it: not proved.
    Listing {
        /// The records, in the host's order.
        records: Vec<Listed>,
        /// Where the next page begins, if there is one.
        cursor: Option<String>,
    },
    /// A proved record.
    Record {
        /// Its CID.
        cid: String,
        /// Its value as atproto JSON.
        #[serde(with = "payload")]
        value: Bytes,
    },
}

impl HostReply {
    /// About how many bytes it brings into the guest.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = match self {
            HostReply::Blob { mime_type, bytes } => mime_type.len() + bytes.len(),
            HostReply::Listing { records, cursor } => {
                let listed = |record: &Listed| record.uri.len() + record.cid.len() + record.value.len();
                records.iter().map(listed).sum::<usize>() + cursor.as_ref().map_or(0, String::len)
            }
            HostReply::Record { cid, value } => cid.len() + value.len(),
        };
        bytes as u64
    }
}

/// One record of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its at-uri.
    pub uri: String,
    /// Its CID, as the host says.
    pub cid: String,
    /// Its value as atproto JSON, as the host says.
    #[serde(with = "payload")]
    pub value: Bytes,
}

/// Why a guest does not get what it asked for; the run goes on. The text is for the guest and its
/// author: what happened, and what would allow it. It holds nothing of the host's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{0}")]
pub struct Denied(pub String);

/// The door of a run that may have nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDoor;

impl Door for NoDoor {
    fn call(&self, _: HostCall, _: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        Box::pin(async { Err(Denied("nothing can be read here".into())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_a_reply_brings_in_counts() {
        let listed = |length| Listed {
            uri: "at://a".into(),
            cid: "bafy".into(),
            value: Bytes::from(vec![b' '; length]),
        };
        let cases = [
            (HostReply::Blob { mime_type: "a/b".into(), bytes: Bytes::from_static(b"1234") }, 3 + 4),
            (HostReply::Record { cid: "bafy".into(), value: Bytes::from_static(b"{}") }, 4 + 2),
            (HostReply::Listing { records: Vec::new(), cursor: None }, 0),
            (
                HostReply::Listing { records: vec![listed(100), listed(1_000)], cursor: Some("next".into()) },
                (6 + 4 + 100) + (6 + 4 + 1_000) + 4,
            ),
        ];
        for (reply, expected) in cases {
            assert_eq!(reply.bytes(), expected, "{reply:?}");
        }
    }
}
