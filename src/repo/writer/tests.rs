use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::identity::SigningKey;
use crate::repo::{Expected, Proof, ProofError, ProvedRecord, verify_record};

const START: u64 = 1_800_000_000;

fn did() -> Did {
    Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32]).unwrap()
}

fn collection(name: &str) -> Nsid {
    Nsid::parse(&format!("com.example.{name}")).unwrap()
}

fn rkey(text: &str) -> RecordKey {
    RecordKey::parse(text).unwrap()
}

fn record(collection: &Nsid, number: i128) -> Ipld {
    Ipld::Map(
        [
            ("$type".to_owned(), Ipld::String(collection.to_string())),
            ("number".to_owned(), Ipld::Integer(number)),
        ]
        .into(),
    )
}

fn verify(repository: &Repository, collection: &Nsid, rkey: &RecordKey) -> Result<Proof, ProofError> {
    let expected = Expected {
        did: &did(),
        collection,
        rkey,
        key: &key().public(),
        now: Duration::from_secs(START + 3600),
    };
    verify_record(&repository.record_car(collection, rkey), &expected)
}

#[test]
fn an_empty_repository_proves_that_it_has_nothing() {
    let repository = Repository::new(did(), key(), Clock::manual(START));
    let proof = verify(&repository, &collection("a"), &rkey("b")).unwrap();
    assert_eq!(proof, Proof { rev: repository.rev(), commit: repository.commit(), record: None });
    // The specification's one tree without records: `{l: null, e: []}`.
    assert_eq!(
        repository.head().tree.root().to_string(),
        "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
    );
}

#[test]
fn records_are_proved_until_they_are_deleted() {
    let mut repository = Repository::new(did(), key(), Clock::manual(START));
    let (a, b) = (collection("a"), collection("b"));
    let cid = repository.put(&a, &rkey("self"), &record(&a, 1)).unwrap();
    let proved = ProvedRecord { cid, value: record(&a, 1) };
    assert_eq!(verify(&repository, &a, &rkey("self")).unwrap().record, Some(proved));
    assert_eq!(repository.record(&a, &rkey("self")), Some((cid, &record(&a, 1))));
    assert_eq!(verify(&repository, &b, &rkey("self")).unwrap().record, None);

    let changed = repository.put(&a, &rkey("self"), &record(&a, 2)).unwrap();
    assert_ne!(changed, cid);
    assert_eq!(verify(&repository, &a, &rkey("self")).unwrap().record.unwrap().cid, changed);

    assert!(repository.delete(&a, &rkey("self")));
    assert!(!repository.delete(&a, &rkey("self")));
    assert_eq!(verify(&repository, &a, &rkey("self")).unwrap().record, None);
    assert_eq!(repository.record(&a, &rkey("self")), None);
}

#[test]
fn revisions_ascend_with_the_clock_and_without_it() {
    let clock = Clock::manual(START);
    let mut repository = Repository::new(did(), key(), clock.clone());
    let mut revs = vec![repository.rev()];
    let a = collection("a");
    for number in 0..3 {
        repository.put(&a, &rkey("self"), &record(&a, number)).unwrap();
        revs.push(repository.rev());
    }
    clock.advance(Duration::from_secs(1));
    repository.delete(&a, &rkey("self"));
    revs.push(repository.rev());
    assert!(revs.is_sorted_by(|a, b| a < b), "{revs:?}");
    assert_eq!(revs[4].since_epoch(), Duration::from_secs(START + 1));
    assert_eq!(verify(&repository, &a, &rkey("self")).unwrap().rev, revs[4]);
}

#[test]
fn a_collection_is_listed_by_key_without_its_neighbours() {
    let mut repository = Repository::new(did(), key(), Clock::manual(START));
    let (a, ab) = (collection("a"), collection("ab"));
    for (collection, name) in [(&ab, "x"), (&a, "c"), (&a, "b"), (&a, "B")] {
        repository.put(collection, &rkey(name), &record(collection, 0)).unwrap();
    }
    let names = |collection| -> Vec<_> {
        repository.list(collection).into_iter().map(|(rkey, ..)| rkey.as_str().to_owned()).collect()
    };
    assert_eq!(names(&a), ["B", "b", "c"]);
    assert_eq!(names(&ab), ["x"]);
    assert!(names(&collection("abc")).is_empty());
    assert_eq!(repository.list(&ab)[0].2, record(&ab, 0));
}

#[test]
fn a_record_without_an_encoding_changes_nothing() {
    let mut repository = Repository::new(did(), key(), Clock::manual(START));
    let rev = repository.rev();
    let refused = repository.put(&collection("a"), &rkey("self"), &Ipld::Float(1.5));
    assert_eq!(refused, Err(InvalidData::Float));
    assert_eq!(repository.rev(), rev);
}

#[test]
fn a_tree_of_many_records_does_not_depend_on_their_order() {
    let a = collection("a");
    let names: Vec<_> = (0..500).map(|number| format!("key-{number}")).collect();
    let mut forward = Repository::new(did(), key(), Clock::manual(START));
    let mut backward = Repository::new(did(), key(), Clock::manual(START));
    for (name, other) in names.iter().zip(names.iter().rev()) {
        forward.put(&a, &rkey(name), &record(&a, 1)).unwrap();
        backward.put(&a, &rkey(other), &record(&a, 1)).unwrap();
    }
    backward.put(&a, &rkey("extra"), &record(&a, 1)).unwrap();
    backward.delete(&a, &rkey("extra"));
    assert_eq!(forward.head().tree.root(), backward.head().tree.root());
    for name in &names {
        assert!(verify(&forward, &a, &rkey(name)).unwrap().record.is_some(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Short keys over few letters, so that prefixes are shared and neighbours lie close.
    #[test]
    fn whatever_is_in_a_repository_is_proved_and_whatever_is_not_is_proved_absent(
        present in proptest::collection::btree_set("[a-c~.:]{1,4}", 0..60),
        asked in proptest::collection::btree_set("[a-c~.:]{1,4}", 0..60),
    ) {
        let a = collection("a");
        let is_key = |name: &String| RecordKey::parse(name).is_ok();
        let present: BTreeSet<_> = present.into_iter().filter(is_key).collect();
        let mut repository = Repository::new(did(), key(), Clock::manual(START));
        for (number, name) in present.iter().enumerate() {
            repository.put(&a, &rkey(name), &record(&a, number as i128)).unwrap();
        }
        for (number, name) in present.iter().enumerate() {
            let proof = verify(&repository, &a, &rkey(name)).unwrap();
            prop_assert_eq!(proof.record.map(|proved| proved.value), Some(record(&a, number as i128)));
        }
        for name in asked.difference(&present).filter(|name| is_key(name)) {
            prop_assert_eq!(verify(&repository, &a, &rkey(name)).unwrap().record, None);
        }
    }
}
