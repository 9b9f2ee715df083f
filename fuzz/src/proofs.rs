//! Proofs of records: CARs.

use std::sync::LazyLock;

use at_functions::repo::record_cid;

use super::world::{RKEY, car, truth, verify};

/// Any bytes as a CAR: no panic, and nothing is proved but what was signed.
pub fn car_bytes(bytes: &[u8]) {
    if let Ok(proof) = verify(bytes) {
        // The author signed other records too, but one repo only.
        assert_eq!(&proof, truth());
    }
}

/// A true CAR, edited: each five bytes of the input are an edit (what, where as u16, how far, a byte).
/// It reaches what random bytes do not: blocks whose hashes were made anew after the edit.
pub fn car_edits(edits: &[u8]) {
    static CAR: LazyLock<Vec<u8>> = LazyLock::new(|| car(RKEY));
    let mut car = CAR.clone();
    for edit in edits.chunks_exact(5).take(16) {
        let &[what, high, low, length, byte] = edit else { return };
        if car.is_empty() {
            return;
        }
        let at = usize::from(u16::from_be_bytes([high, low])) % car.len();
        let end = (at + usize::from(length)).min(car.len());
        match what % 5 {
            0 => car[at] = byte,
            1 => car.insert(at, byte),
            2 => drop(car.drain(at..end)),
            3 => {
                let copied = car[at..end].to_vec();
                let to = usize::from(byte) * 7 % car.len();
                drop(car.splice(to..to, copied));
            }
            // The CID of a stretch, written over what follows: a hash that fits a forged block.
            _ => {
                let cid = record_cid(&car[at..end]).to_bytes();
                let to = usize::from(byte) * 7 % car.len();
                let until = (to + cid.len()).min(car.len());
                drop(car.splice(to..until, cid));
            }
        }
    }
    car_bytes(&car);
}
