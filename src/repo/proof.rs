//! The proof of one record: from the author's key, over the signed root, to the record's bytes.
//!
//! Source: <https://atproto.com/specs/sync#authenticating-a-repo-record>; what is checked beyond it
//! stands beside the check.

use std::time::Duration;

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;

use super::car::{Car, InvalidCar};
use super::commit::{Commit, InvalidCommit};
use super::drisl::{self, InvalidData};
use super::mst::{self, InvalidTree, Unproved};
use super::tid::Tid;
use crate::identity::{Did, PublicKey};
use crate::lexicon::{Nsid, RecordKey};

/// How far in the future a revision may be: what the clocks of two hosts may be apart.
const MAX_REV_AHEAD: Duration = Duration::from_secs(5 * 60);

/// What a proof has to prove.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Whose repo it is.
    pub did: &'a Did,
    /// The record's collection, which its `$type` must name.
    pub collection: &'a Nsid,
    /// The record's key.
    pub rkey: &'a RecordKey,
    /// The `#atproto` key of the author's DID document.
    pub key: &'a PublicKey,
    /// The time since the Unix epoch.
    pub now: Duration,
}

/// What the author's signature proves.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// The revision that proves it. Whether a newer one has been seen is for the caller to check.
    pub rev: Tid,
    /// The CID of the signed commit.
    pub commit: Cid,
    /// The record, or nothing if the repo has none of that name: proved as well.
    pub record: Option<ProvedRecord>,
}

/// A record as its author signed it.
#[derive(Clone, Debug, PartialEq)]
pub struct ProvedRecord {
    /// Its CID, computed from the bytes.
    pub cid: Cid,
    /// What it says.
    pub value: Ipld,
}

/// Checks that a CAR, as `com.atproto.sync.getRecord` answers it, proves a record or its absence.
/// Time and memory are bounded by [`MAX_CAR_BYTES`](super::MAX_CAR_BYTES).
pub fn verify_record(car: &[u8], expected: &Expected<'_>) -> Result<Proof, ProofError> {
    let car = Car::read(car)?;
    let commit = Commit::decode(car.block(&car.root).ok_or(ProofError::Missing(Part::Commit))?)?;
    check_commit(&commit, expected)?;

    let path = format!("{}/{}", expected.collection, expected.rkey);
    let found = mst::find(commit.data, &path, |cid| car.block(cid)).map_err(|unproved| match unproved {
        Unproved::MissingNode => ProofError::Missing(Part::Node),
        Unproved::Invalid(reason) => ProofError::Tree(reason),
    })?;
    let record = match found {
        None => None,
        Some(cid) => {
            let bytes = car.block(&cid).ok_or(ProofError::Missing(Part::Record))?;
            Some(ProvedRecord { cid, value: record(bytes, expected)? })
        }
    };
    Ok(Proof { rev: commit.rev, commit: car.root, record })
}

fn check_commit(commit: &Commit, expected: &Expected<'_>) -> Result<(), ProofError> {
    if commit.did != expected.did.as_str() {
        return Err(ProofError::OtherRepo);
    }
    commit.verify(expected.key).map_err(|_| ProofError::BadSignature)?;
    // Such a revision would, once it is the highest that was seen, shut out all that follow.
    if commit.rev.since_epoch() > expected.now.saturating_add(MAX_REV_AHEAD) {
        return Err(ProofError::RevInFuture);
    }
    Ok(())
}

/// A record is a map whose `$type` is the collection that it is in.
fn record(bytes: &[u8], expected: &Expected<'_>) -> Result<Ipld, ProofError> {
    let value = drisl::decode(bytes).map_err(ProofError::Record)?;
    let Ipld::Map(map) = &value else { return Err(ProofError::RecordType) };
    match map.get("$type") {
        Some(Ipld::String(name)) if name == expected.collection.as_str() => Ok(value),
        _ => Err(ProofError::RecordType),
    }
}

/// Why a CAR proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The signature is not of the author's key. The key may have changed since the DID document was
    /// fetched.
    #[error("the commit's signature is not of the author's key")]
    BadSignature,
    /// The bytes are not a CAR of hashed blocks.
    #[error("the CAR is invalid: {0}")]
    Car(#[from] InvalidCar),
    /// The root is not a commit.
    #[error("the commit is invalid: {0}")]
    Commit(#[from] InvalidCommit),
    /// A block that the proof needs is not in the CAR.
    #[error("the CAR lacks the block of {0}")]
    Missing(Part),
    /// The commit is of another repo.
    #[error("the commit is of another repo")]
    OtherRepo,
    /// The record's bytes are not data of AT Protocol.
    #[error("the record is invalid: {0}")]
    Record(InvalidData),
    /// The record is not a map with the collection as its `$type`.
    #[error("the record's $type is not its collection")]
    RecordType,
    /// The revision lies in the future.
    #[error("the commit's revision lies in the future")]
    RevInFuture,
    /// The tree breaks a rule of its structure.
    #[error("the repository's tree is invalid: {0}")]
    Tree(InvalidTree),
}

/// A part of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The signed commit.
    Commit,
    /// A node of the tree on the way to the record.
    Node,
    /// The record.
    Record,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Part::Commit => "the commit",
            Part::Node => "a node of the tree",
            Part::Record => "the record",
        })
    }
}
