//! `allowedHosts`, an entry a line: no panic, an entry that counts is written as it was read, and a read is
//! allowed exactly where one of the first 64 lines is it or the start of it, segment by segment.
#![no_main]

use at_functions::config::UndeclaredReads;
use at_functions::identity::Did;
use at_functions::lexicon::{Nsid, RecordKey};
use at_functions::policy::{Read, Reads, judged};
use libfuzzer_sys::fuzz_target;

const REPO: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

fuzz_target!(|text: &str| {
    let entries: Vec<String> = text.lines().map(str::to_owned).collect();
    for (entry, scope) in judged(&entries) {
        if let Ok(scope) = scope {
            assert!(scope.to_string().eq_ignore_ascii_case(entry), "{entry:?} became {scope}");
        }
    }
    let reads = Reads::of(Some(&entries), UndeclaredReads::Any);
    let did = Did::parse(REPO).expect("a DID");
    let collection = Nsid::parse("com.example.post").expect("an NSID");
    let rkey = RecordKey::parse("a").expect("a record key");
    let whole = format!("at://{REPO}");
    let listed = format!("{whole}/com.example.post");
    let single = format!("{listed}/a");
    let cases = [
        (Read::Blob, vec![&whole]),
        (Read::Collection(&collection), vec![&whole, &listed]),
        (Read::Record(&collection, &rkey), vec![&whole, &listed, &single]),
    ];
    for (read, covering) in cases {
        let covered = entries.iter().take(64).any(|entry| covering.contains(&entry));
        assert_eq!(reads.allow(&did, read, |_| None), covered, "{entries:?} {read:?}");
    }
});
