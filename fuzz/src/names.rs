//! Names that authors and callers write: at-uris and `allowedHosts`.

use at_functions::config::UndeclaredReads;
use at_functions::identity::Did;
use at_functions::lexicon::{AtUri, Nsid, RecordKey};
use at_functions::policy::{Read, Reads, judged};

/// At-uris: no panic, and what is read is written as it was read, up to the case of a handle.
pub fn at_uri(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(uri) = AtUri::parse(text) {
        let written = uri.to_string();
        assert!(written.eq_ignore_ascii_case(text), "{text:?} became {written:?}");
        assert_eq!(AtUri::parse(&written), Ok(uri));
    }
}

/// `allowedHosts`, an entry a line: no panic, an entry that counts is written as it was read, and a read
/// is allowed exactly where one of the first 64 lines is it or the start of it, segment by segment.
pub fn allowed_hosts(bytes: &[u8]) {
    const REPO: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
    let Ok(text) = std::str::from_utf8(bytes) else { return };
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
}
