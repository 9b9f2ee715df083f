//! A repository of our own: what the embedded default serves, and what tests verify against.
//!
//! In: records as decoded data. Out: CARs like those of `com.atproto.sync.getRecord`.
//! Never: judge a record by its lexicon; the verifying side has to stand any record.

mod tree;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::OnceLock;

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;

use self::tree::Tree;
use super::drisl::{self, InvalidData};
use super::{Tid, car, commit, mst, record_cid};
use crate::clock::Clock;
use crate::identity::{Did, SigningKey};
use crate::lexicon::{Nsid, RecordKey};

/// The signed repository of one DID, in memory.
pub struct Repository {
    did: Did,
    key: SigningKey,
    clock: Clock,
    rev: Tid,
    /// By path, `COLLECTION/RKEY`.
    records: BTreeMap<String, Stored>,
    /// The tree and commit of `rev`, made when first asked for.
    head: OnceLock<Head>,
}

struct Stored {
    rkey: RecordKey,
    cid: Cid,
    bytes: Vec<u8>,
    value: Ipld,
}

struct Head {
    tree: Tree,
    cid: Cid,
    bytes: Vec<u8>,
}

impl Repository {
    /// An empty repository. The clock gives its revisions their time.
    pub fn new(did: Did, key: SigningKey, clock: Clock) -> Repository {
        let rev = Tid::from_micros(micros(&clock), 0);
        Repository { did, key, clock, rev, records: BTreeMap::new(), head: OnceLock::new() }
    }

    /// Whose repository it is.
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// The revision of the last change.
    pub fn rev(&self) -> Tid {
        self.rev
    }

    /// Writes a record, in a commit of its own; answers its CID. Refuses what has no encoding.
    pub fn put(&mut self, collection: &Nsid, rkey: &RecordKey, value: &Ipld) -> Result<Cid, InvalidData> {
        let bytes = drisl::encode(value)?;
        let cid = record_cid(&bytes);
        let stored = Stored { rkey: rkey.clone(), cid, bytes, value: value.clone() };
        self.records.insert(path(collection, rkey), stored);
        self.advance();
        Ok(cid)
    }

    /// Removes a record, in a commit of its own; whether there was one.
    pub fn delete(&mut self, collection: &Nsid, rkey: &RecordKey) -> bool {
        let existed = self.records.remove(&path(collection, rkey)).is_some();
        if existed {
            self.advance();
        }
        existed
    }

    /// A record and its CID.
    pub fn record(&self, collection: &Nsid, rkey: &RecordKey) -> Option<(Cid, &Ipld)> {
        self.records.get(&path(collection, rkey)).map(|stored| (stored.cid, &stored.value))
    }

    /// All records of a collection, by ascending key.
    pub fn list(&self, collection: &Nsid) -> Vec<(RecordKey, Cid, Ipld)> {
        let prefix = format!("{collection}/");
        self.records
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(&prefix))
            .map(|(_, stored)| (stored.rkey.clone(), stored.cid, stored.value.clone()))
            .collect()
    }

    /// The CID of the newest commit.
    pub fn commit(&self) -> Cid {
        self.head().cid
    }

    /// The CAR that proves a record or its absence: commit, the nodes of the way, the record.
    pub fn record_car(&self, collection: &Nsid, rkey: &RecordKey) -> Vec<u8> {
        let head = self.head();
        let path = path(collection, rkey);
        let mut blocks = vec![(head.cid, &head.bytes[..])];
        // Our own tree breaks no rule and lacks no node, and is walked for its side effect: the way.
        let walk = mst::find(head.tree.root(), &path, |cid| {
            let bytes = head.tree.node(cid)?;
            blocks.push((*cid, bytes));
            Some(bytes)
        });
        debug_assert!(walk.is_ok(), "{walk:?}");
        if let Some(stored) = self.records.get(&path) {
            blocks.push((stored.cid, &stored.bytes));
        }
        car::write(head.cid, blocks)
    }

    /// Revisions follow the clock, and ascend even when it does not.
    fn advance(&mut self) {
        self.rev = self.rev.next().max(Tid::from_micros(micros(&self.clock), 0));
        self.head = OnceLock::new();
    }

    fn head(&self) -> &Head {
        self.head.get_or_init(|| {
            let tree = Tree::of(self.records.iter().map(|(path, stored)| (path.as_str(), stored.cid)));
            // A parsed DID, a TID and a root CID always have an encoding.
            let bytes = commit::Commit::sign(&self.did, self.rev, tree.root(), &self.key)
                .expect("a commit has an encoding");
            Head { tree, cid: record_cid(&bytes), bytes }
        })
    }
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({} at {}, {} records)", self.did, self.rev, self.records.len())
    }
}

fn path(collection: &Nsid, rkey: &RecordKey) -> String {
    format!("{collection}/{rkey}")
}

fn micros(clock: &Clock) -> u64 {
    u64::try_from(clock.since_epoch().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
