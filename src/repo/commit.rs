//! Commits: what an author signs.
//!
//! Source: <https://atproto.com/specs/repository#commit-objects>, version 3.

use std::collections::BTreeMap;

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;

use super::cid::DAG_CBOR;
use super::drisl::{self, InvalidData};
use super::tid::Tid;
use crate::identity::{BadSignature, Did, PublicKey, SigningKey};

/// The version of the repository format.
const VERSION: i128 = 3;
/// The fields of a commit: these, and no others.
const FIELDS: usize = 6;

/// A commit in its right form. Whether its author signed it, [`Commit::verify`] tells.
pub(super) struct Commit {
    pub(super) did: String,
    pub(super) rev: Tid,
    /// The root of the tree.
    pub(super) data: Cid,
    /// The encoding of all fields but `sig`.
    unsigned: Vec<u8>,
    signature: [u8; 64],
}

impl Commit {
    /// Makes and signs a commit: its bytes.
    pub(super) fn sign(did: &Did, rev: Tid, data: Cid, key: &SigningKey) -> Result<Vec<u8>, InvalidData> {
        let mut map = BTreeMap::from([
            ("did".to_owned(), Ipld::String(did.to_string())),
            ("version".to_owned(), Ipld::Integer(VERSION)),
            ("data".to_owned(), Ipld::Link(data)),
            ("rev".to_owned(), Ipld::String(rev.to_string())),
            ("prev".to_owned(), Ipld::Null),
        ]);
        let signature = key.sign(&drisl::encode(&Ipld::Map(map.clone()))?);
        map.insert("sig".to_owned(), Ipld::Bytes(signature.to_vec()));
        drisl::encode(&Ipld::Map(map))
    }

    /// Reads the bytes of a commit.
    pub(super) fn decode(bytes: &[u8]) -> Result<Commit, InvalidCommit> {
        let Ipld::Map(mut map) = drisl::decode(bytes)? else { return Err(InvalidCommit::NotAMap) };
        if map.get("version") != Some(&Ipld::Integer(VERSION)) {
            return Err(InvalidCommit::Version);
        }
        let Some(Ipld::String(did)) = map.get("did").cloned() else { return Err(InvalidCommit::Did) };
        let rev = match map.get("rev") {
            Some(Ipld::String(rev)) => Tid::parse(rev).map_err(|_| InvalidCommit::Rev)?,
            _ => return Err(InvalidCommit::Rev),
        };
        let data = match map.get("data") {
            Some(Ipld::Link(data)) if data.codec() == DAG_CBOR => *data,
            _ => return Err(InvalidCommit::Data),
        };
        // The key is always there, for it is part of what was signed.
        let Some(Ipld::Null | Ipld::Link(_)) = map.get("prev") else { return Err(InvalidCommit::Prev) };
        if map.len() > FIELDS {
            return Err(InvalidCommit::UnknownField);
        }
        let signature = match map.remove("sig") {
            Some(Ipld::Bytes(bytes)) => bytes.try_into().map_err(|_| InvalidCommit::Signature)?,
            _ => return Err(InvalidCommit::Signature),
        };
        let unsigned = drisl::encode(&Ipld::Map(map))?;
        Ok(Commit { did, rev, data, unsigned, signature })
    }

    /// Checks that the key signed it. High-S is refused: it would give one commit two CIDs.
    pub(super) fn verify(&self, key: &PublicKey) -> Result<(), BadSignature> {
        key.verify_strict(&self.unsigned, &self.signature)
    }
}

/// Why bytes are not a commit of version 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCommit {
    /// `data` is not a link to a tree.
    #[error("`data` is not a link to a dag-cbor block")]
    Data,
    /// `did` is not text.
    #[error("`did` is not text")]
    Did,
    /// Not DRISL.
    #[error(transparent)]
    Encoding(#[from] InvalidData),
    /// Not a map.
    #[error("it is not a map")]
    NotAMap,
    /// `prev` is neither null nor a link; it must not be left out.
    #[error("`prev` is neither null nor a link")]
    Prev,
    /// `rev` is not a TID.
    #[error("`rev` is not a TID")]
    Rev,
    /// `sig` is not 64 bytes.
    #[error("`sig` is not 64 bytes")]
    Signature,
    /// Fields that version 3 does not have.
    #[error("it has a field that version 3 does not have")]
    UnknownField,
    /// `version` is not 3.
    #[error("`version` is not 3")]
    Version,
}
