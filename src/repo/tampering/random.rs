//! Attacks by chance: nothing panics, and nothing but what was signed is ever proved.

use proptest::prelude::*;

use super::super::record_cid;
use super::forge::*;

/// A change to bytes at a place that is taken modulo their number.
#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    /// Copies a stretch to another place.
    Splice(usize, usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<usize>(), proptest::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<usize>(), 1usize..80).prop_map(|(at, len)| Change::Remove(at, len)),
        (any::<usize>(), any::<usize>(), 1usize..300)
            .prop_map(|(from, to, len)| Change::Splice(from, to, len)),
    ]
}

fn apply(changes: &[Change], bytes: &mut Vec<u8>) {
    for change in changes {
        let len = bytes.len().max(1);
        match change {
            Change::Set(at, byte) => {
                if let Some(place) = bytes.get_mut(at % len) {
                    *place = *byte;
                }
            }
            Change::Insert(at, new) => drop(bytes.splice(at % len..at % len, new.iter().copied())),
            Change::Remove(at, count) => {
                let start = (at % len).min(bytes.len());
                bytes.drain(start..(start + count).min(bytes.len()));
            }
            Change::Splice(from, to, count) => {
                let start = (from % len).min(bytes.len());
                let copied = bytes[start..(start + count).min(bytes.len())].to_vec();
                let to = (to % len).min(bytes.len());
                bytes.splice(to..to, copied);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_changed_car_proves_what_was_signed_or_nothing(changes in proptest::collection::vec(change(), 1..5)) {
        let mut car = Forge::new().car();
        apply(&changes, &mut car);
        if let Ok(proof) = verify(&car) {
            prop_assert_eq!(proof, Forge::new().verify().unwrap());
        }
    }

    /// The host makes the hash of what it changed anew.
    #[test]
    fn a_changed_block_under_its_new_hash_proves_nothing_else(
        index in 0usize..5,
        changes in proptest::collection::vec(change(), 1..4),
    ) {
        let mut blocks = Forge::new().make_blocks();
        apply(&changes, &mut blocks[index].1);
        blocks[index].0 = record_cid(&blocks[index].1);
        if let Ok(proof) = verify(&write_car(&blocks)) {
            prop_assert_eq!(proof, Forge::new().verify().unwrap());
        }
    }

    /// The author is hostile: every hash, link and signature above the change is made anew.
    #[test]
    fn a_changed_tree_that_is_signed_again_proves_only_a_record_that_it_holds(
        stage in 0usize..4,
        changes in proptest::collection::vec(change(), 1..3),
    ) {
        let forge = match stage {
            0 => Forge::new().record(move |bytes| apply(&changes, bytes)),
            1 => Forge::new().leaf_bytes(move |bytes| apply(&changes, bytes)),
            2 => Forge::new().root_bytes(move |bytes| apply(&changes, bytes)),
            _ => Forge::new().signed_bytes(move |bytes| apply(&changes, bytes)),
        };
        let blocks = forge.make_blocks();
        if let Ok(proof) = verify(&write_car(&blocks)) {
            prop_assert_eq!(proof.commit, blocks[0].0);
            if let Some(record) = proof.record {
                prop_assert_eq!(record.cid, blocks[4].0);
                prop_assert_eq!(encode(&record.value), blocks[4].1.clone());
            }
        }
    }

    #[test]
    fn arbitrary_bytes_prove_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(verify(&bytes).is_err());
    }
}
