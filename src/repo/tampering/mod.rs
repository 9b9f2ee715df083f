//! Attacks on `verify_record`: every way to spoil a proof that we could think of, each with the
//! reason for which it is refused.

mod commits;
mod forge;
mod random;
mod records;
mod transport;
mod trees;

use self::forge::Forge;
use super::ProofError;

/// Checks each case: what was done to the proof, the proof, and why it is refused.
fn assert_refused(cases: Vec<(&str, Forge, ProofError)>) {
    for (name, forge, reason) in cases {
        assert_eq!(forge.verify(), Err(reason), "{name}");
    }
}
