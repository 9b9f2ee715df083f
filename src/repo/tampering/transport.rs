//! Attacks by a host, which can change every byte but sign nothing.

use super::super::{InvalidCar, Part, Proof, ProofError, ProvedRecord, RevFloor, record_cid};
use super::forge::*;

#[test]
fn the_untouched_proof_is_taken() {
    let blocks = Forge::new().make_blocks();
    let proof = Forge::new().verify().unwrap();
    let record = ProvedRecord { cid: blocks[4].0, value: lawful_record() };
    assert_eq!(proof, Proof { rev: rev_at(NOW), commit: blocks[0].0, record: Some(record) });
}

#[test]
fn extra_duplicate_and_reordered_blocks_change_nothing() {
    let proof = Forge::new().verify().unwrap();
    let extra = (record_cid(b"extra"), b"extra".to_vec());
    let blob = (super::super::blob_cid(b"blob"), b"blob".to_vec());
    let forge = Forge::new().blocks(move |blocks| {
        // The commit stays first, for the helper makes the first block the root.
        blocks[1..].reverse();
        blocks.push(blocks[2].clone());
        blocks.push(extra.clone());
        blocks.push(blob.clone());
    });
    assert_eq!(forge.verify(), Ok(proof));
}

#[test]
fn a_missing_block_is_an_error_and_never_an_absence() {
    let reasons = [Part::Commit, Part::Node, Part::Node, Part::Node, Part::Record].map(ProofError::Missing);
    let blocks = Forge::new().make_blocks();
    for (missing, reason) in reasons.into_iter().enumerate() {
        let car = super::super::car::write(
            blocks[0].0,
            blocks.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, (c, b))| (*c, &b[..])),
        );
        assert_eq!(verify(&car), Err(reason), "without block {missing}");
    }
}

#[test]
fn absence_is_proved_only_by_the_whole_way() {
    let keys = Keys::find();
    let public = key().public();
    let absent = format!("{}0", keys.t);
    let blocks = Forge::new().make_blocks();
    let proof = verify_name(&write_car(&blocks[..4]), &absent, &public).unwrap();
    assert_eq!(proof.record, None);
    for kept in 1..4 {
        let car = write_car(&blocks[..kept]);
        let refused = Err(ProofError::Missing(Part::Node));
        assert_eq!(verify_name(&car, &absent, &public), refused, "{kept} blocks kept");
    }
}

#[test]
fn a_proof_of_one_record_proves_no_other() {
    let keys = Keys::find();
    let public = key().public();
    let car = Forge::new().car();
    // A, B, M and R are in the tree, but their record is not in the CAR.
    for name in [&keys.a, &keys.b, &keys.m, &keys.r] {
        assert_eq!(verify_name(&car, name, &public), Err(ProofError::Missing(Part::Record)), "{name}");
    }
}

#[test]
fn a_record_with_another_hash_is_not_taken_for_the_one_that_was_signed() {
    let other = encode(&map([("$type", text(collection().as_str())), ("name", text("evil"))]));
    let swapped = other.clone();
    let under_its_own_cid =
        Forge::new().blocks(move |blocks| blocks[4] = (record_cid(&swapped), swapped.clone()));
    assert_eq!(under_its_own_cid.verify(), Err(ProofError::Missing(Part::Record)));
    let under_the_signed_cid = Forge::new().blocks(move |blocks| blocks[4].1 = other.clone());
    assert_eq!(under_the_signed_cid.verify(), Err(ProofError::Car(InvalidCar::Hash)));
}

#[test]
fn every_truncation_is_refused() {
    let blocks = Forge::new().make_blocks();
    let car = write_car(&blocks);
    // Where the CAR ends after so many whole blocks.
    let ends: Vec<_> = (0..=blocks.len())
        .map(|count| {
            super::super::car::write(blocks[0].0, blocks[..count].iter().map(|(c, b)| (*c, &b[..]))).len()
        })
        .collect();
    let at_ends = [Part::Commit, Part::Node, Part::Node, Part::Node, Part::Record].map(ProofError::Missing);
    for len in 0..car.len() {
        let reason = match ends.iter().position(|end| *end == len) {
            Some(blocks) => at_ends[blocks],
            None => ProofError::Car(InvalidCar::Truncated),
        };
        assert_eq!(verify(&car[..len]), Err(reason), "{len} bytes of {}", car.len());
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let car = Forge::new().car();
    let cases = [
        (&[0u8][..], InvalidCar::Cid),
        (&[0; 64], InvalidCar::Cid),
        (b"garbage", InvalidCar::Truncated),
        (&[0xff; 16], InvalidCar::Varint),
        (&[0x80, 0x00], InvalidCar::Varint),
    ];
    for (tail, reason) in cases {
        assert_eq!(verify(&[&car[..], tail].concat()), Err(ProofError::Car(reason)), "{tail:02x?}");
    }
}

/// Single bits, everywhere. Where a block or its CID is hit, the reason is known by the place.
#[test]
fn every_flipped_bit_is_refused() {
    let blocks = Forge::new().make_blocks();
    let car = write_car(&blocks);
    let mut expected = vec![None; car.len()];
    for (cid, bytes) in &blocks {
        let section = [&cid.to_bytes(), &bytes[..]].concat();
        let start = car.windows(section.len()).position(|window| window == section).unwrap();
        expected[start..start + 4].fill(Some(InvalidCar::Cid));
        expected[start + 4..start + section.len()].fill(Some(InvalidCar::Hash));
    }
    assert!(expected.iter().flatten().count() > car.len() * 9 / 10);
    for (place, expected) in expected.into_iter().enumerate() {
        for bit in 0..8 {
            let mut car = car.clone();
            car[place] ^= 1 << bit;
            let refusal = verify(&car).unwrap_err();
            if let Some(reason) = expected {
                assert_eq!(refusal, ProofError::Car(reason), "bit {bit} of byte {place}");
            }
        }
    }
}

/// The same with the hash of the block made anew, and the root with it: then the links fail, or the
/// signature. Flips that make the commit no commit at all are told as that.
#[test]
fn every_flipped_bit_under_a_new_hash_is_refused() {
    let blocks = Forge::new().make_blocks();
    for (index, (_, bytes)) in blocks.iter().enumerate() {
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut blocks = blocks.clone();
                blocks[index].1[place] ^= 1 << bit;
                blocks[index].0 = record_cid(&blocks[index].1);
                let refusal = verify(&write_car(&blocks)).unwrap_err();
                match (index, refusal) {
                    (0, ProofError::BadSignature | ProofError::Commit(_) | ProofError::OtherRepo)
                    | (1..=3, ProofError::Missing(Part::Node))
                    | (4, ProofError::Missing(Part::Record)) => {}
                    _ => panic!("block {index}, bit {bit} of byte {place}: {refusal}"),
                }
            }
        }
    }
}

/// An old commit verifies as it did on its day; only the floor tells that the host is behind.
#[test]
fn an_older_revision_is_below_the_floor() {
    let directory = tempfile::tempdir().unwrap();
    let floor = RevFloor::open(&directory.path().join("revs.redb")).unwrap();
    let newer = Forge::new().verify().unwrap();
    floor.raise(&author(), newer.rev).unwrap();
    let rev = rev_at(NOW - std::time::Duration::from_micros(1));
    let older =
        Forge::new().commit(move |commit| set(commit, "rev", text(&rev.to_string()))).verify().unwrap();
    assert_eq!(older.rev, rev);
    assert!(Some(older.rev) < floor.highest(&author()).unwrap());
    floor.raise(&author(), older.rev).unwrap();
    assert_eq!(floor.highest(&author()).unwrap(), Some(newer.rev));
}
