//! Signed repositories: proof of one record from a CAR, and the small writer that makes such repos.
//!
//! In: bytes from a stranger and the key that should have signed them. Out: a record that the
//! author's signature proves, or its proved absence, or the reason why the bytes prove nothing.
//! Never: fetch anything, or believe a block whose hash was not computed here.
//!
//! The way of a proof: `car` (bytes → hashed blocks), `commit` (the signature), `mst` (from the
//! signed root to the record), `proof` (composes them). `drisl` is the one place that decodes.

mod bytes;
mod car;
mod cid;
mod commit;
mod drisl;
mod json;
mod mst;
mod proof;
mod rev_floor;
mod tid;
pub mod writer;

#[cfg(test)]
mod tampering;

pub use car::{InvalidCar, MAX_CAR_BYTES};
pub use cid::{blob_cid, cid_from_text, is_blob_cid, record_cid};
pub use commit::InvalidCommit;
pub use drisl::InvalidData;
pub use json::{InvalidJson, ipld_to_json, json_to_ipld};
pub use mst::InvalidTree;
pub use proof::{Expected, Part, Proof, ProofError, ProvedRecord, verify_record};
pub use rev_floor::{RevFloor, RevFloorError};
pub use tid::{InvalidTid, Tid};
