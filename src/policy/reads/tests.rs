use proptest::prelude::*;

use super::*;

const ALICE: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const BOB: &str = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb";

/// The names of the tests' network: alice.test and bob.test lead to theirs, moved.test nowhere.
fn leads_to(handle: &Handle) -> Option<Did> {
    match handle.as_str() {
        "alice.test" => Did::parse(ALICE).ok(),
        "bob.test" => Did::parse(BOB).ok(),
        _ => None,
    }
}

fn reads(entries: &[&str]) -> Reads {
    let entries: Vec<String> = entries.iter().map(|entry| entry.replace("ALICE", ALICE)).collect();
    Reads::of(Some(&entries), UndeclaredReads::Any)
}

/// Decides about `REPO` (a blob), `REPO/COLLECTION/` (a listing) or `REPO/COLLECTION/RKEY`.
fn allows(reads: &Reads, asked: &str) -> bool {
    let asked = asked.replace("ALICE", ALICE).replace("BOB", BOB);
    let segments: Vec<&str> = asked.split('/').collect();
    let did = Did::parse(segments[0]).unwrap();
    let nsid = |text| Nsid::parse(text).unwrap();
    match segments[1..] {
        [] => reads.allow(&did, Read::Blob, leads_to),
        [collection, ""] => reads.allow(&did, Read::Collection(&nsid(collection)), leads_to),
        [collection, rkey] => {
            let rkey = RecordKey::parse(rkey).unwrap();
            reads.allow(&did, Read::Record(&nsid(collection), &rkey), leads_to)
        }
        _ => panic!("{asked}"),
    }
}

#[test]
fn a_read_is_allowed_where_an_entry_covers_it_by_whole_segments() {
    let cases: &[(&[&str], &str, bool)] = &[
        // A repo covers all in it, and nothing in another's.
        (&["at://ALICE"], "ALICE/com.example.post/a", true),
        (&["at://ALICE"], "ALICE/com.example.post/", true),
        (&["at://ALICE"], "ALICE", true),
        (&["at://ALICE"], "BOB/com.example.post/a", false),
        (&["at://ALICE"], "BOB/com.example.post/", false),
        (&["at://ALICE"], "BOB", false),
        // A collection covers its records and its listing, but no blobs.
        (&["at://ALICE/com.example.post"], "ALICE/com.example.post/a", true),
        (&["at://ALICE/com.example.post"], "ALICE/com.example.post/", true),
        (&["at://ALICE/com.example.post"], "ALICE", false),
        (&["at://ALICE/com.example.post"], "ALICE/com.example.like/a", false),
        (&["at://ALICE/com.example.post"], "BOB/com.example.post/a", false),
        // A record covers itself only: not its collection's listing, not a blob, not another key.
        (&["at://ALICE/com.example.post/a"], "ALICE/com.example.post/a", true),
        (&["at://ALICE/com.example.post/a"], "ALICE/com.example.post/b", false),
        (&["at://ALICE/com.example.post/a"], "ALICE/com.example.post/", false),
        (&["at://ALICE/com.example.post/a"], "ALICE", false),
        // A prefix of a segment is not the segment, on either side.
        (&["at://ALICE/com.example.post"], "ALICE/com.example.posts/a", false),
        (&["at://ALICE/com.example.posts"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com.example"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com.example.post/a"], "ALICE/com.example.post/ab", false),
        (&["at://ALICE/com.example.post/ab"], "ALICE/com.example.post/a", false),
        (&["at://did:plc:aaaaaaaaaaaaaaaaaaaaaaa"], "ALICE/com.example.post/a", false),
        (&["at://did:web:alice.test"], "did:web:alice.test.evil.com/com.example.post/a", false),
        (&["at://did:web:alice.test"], "did:web:alice.test/com.example.post/a", true),
        (&["at://did:web:localhost"], "did:web:localhost%3A3000/com.example.post/a", false),
        // A handle is the DID that it leads to, in any case; one that leads nowhere is nothing.
        (&["at://alice.test"], "ALICE/com.example.post/a", true),
        (&["at://Alice.TEST/com.example.post"], "ALICE/com.example.post/", true),
        (&["at://bob.test"], "ALICE/com.example.post/a", false),
        (&["at://bob.test", "at://alice.test"], "ALICE/com.example.post/a", true),
        (&["at://moved.test"], "ALICE/com.example.post/a", false),
        (&["at://alice.test"], "did:web:alice.test/com.example.post/a", false),
        // Case counts in all but handles.
        (&["at://ALICE/com.example.Post"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com.example.post/A"], "ALICE/com.example.post/a", false),
        (&["at://DID:PLC:aaaaaaaaaaaaaaaaaaaaaaaa"], "ALICE/com.example.post/a", false),
        (&["at://did:plc:AAAAAAAAAAAAAAAAAAAAAAAA"], "ALICE/com.example.post/a", false),
        (&["AT://ALICE"], "ALICE/com.example.post/a", false),
        // Nothing is trimmed, unescaped or resolved as a path.
        (&["at://ALICE/"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com.example.post/"], "ALICE/com.example.post/a", false),
        (&["at://ALICE//a"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com.example.post/a/"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com.example.post/a/b"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com.example.post/%61"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com%2Eexample.post"], "ALICE/com.example.post/a", false),
        (&["at://did%3Aplc%3Aaaaaaaaaaaaaaaaaaaaaaaaa"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com.example.like/../com.example.post"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com.example.post?x=1"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com.example.post#a"], "ALICE/com.example.post/a", false),
        (&["at://ALICE#"], "ALICE/com.example.post/a", false),
        (&[" at://ALICE"], "ALICE/com.example.post/a", false),
        (&["at://ALICE\n"], "ALICE/com.example.post/a", false),
        // No wildcards, no scheme but at, nothing bare.
        (&["at://*"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/*"], "ALICE/com.example.post/a", false),
        (&["at://ALICE/com.example.*"], "ALICE/com.example.post/a", false),
        (&["*"], "ALICE/com.example.post/a", false),
        (&["ALICE"], "ALICE/com.example.post/a", false),
        (&["https://alice.test"], "ALICE/com.example.post/a", false),
        (&["at://"], "ALICE/com.example.post/a", false),
        (&[""], "ALICE/com.example.post/a", false),
        // An entry that covers nothing takes nothing from the others.
        (&["nonsense", "at://ALICE/com.example.post"], "ALICE/com.example.post/a", true),
        (&[], "ALICE/com.example.post/a", false),
        (&[], "ALICE/com.example.post/", false),
        (&[], "ALICE", false),
    ];
    assert!(cases.len() >= 40);
    for (entries, asked, expected) in cases {
        assert_eq!(allows(&reads(entries), asked), *expected, "{entries:?} {asked}");
    }
}

#[test]
fn without_entries_the_operator_decides() {
    for asked in ["ALICE/com.example.post/a", "ALICE/com.example.post/", "ALICE", "BOB"] {
        assert!(allows(&Reads::of(None, UndeclaredReads::Any), asked), "{asked}");
        assert!(!allows(&Reads::of(None, UndeclaredReads::None), asked), "{asked}");
        // An empty list is a declaration.
        assert!(!allows(&Reads::of(Some(&[]), UndeclaredReads::Any), asked), "{asked}");
    }
}

#[test]
fn the_first_sixty_four_entries_count_whatever_they_are() {
    let mut entries = vec!["nonsense"; 63];
    entries.push("at://ALICE");
    assert!(allows(&reads(&entries), "ALICE"));
    entries.insert(0, "at://did:web:other.com");
    assert_eq!(entries.len(), 65);
    assert!(!allows(&reads(&entries), "ALICE"));
    assert!(allows(&reads(&entries), "did:web:other.com"));
}

#[test]
fn what_covers_nothing_is_told_with_its_reason() {
    let mut entries: Vec<String> = [
        "at://alice.test",
        "at://ALICE",
        "at://alice.test/com.example.post/a/b",
        "at://alice.test/",
        "https://alice.test",
        "at://alice.test/com.example.post/a?b",
    ]
    .map(str::to_owned)
    .into();
    entries.resize(65, "at://alice.test".into());
    let judged: Vec<_> = judged(&entries).map(|(_, scope)| scope.map(|scope| scope.to_string())).collect();
    assert_eq!(judged[0], Ok("at://alice.test".to_owned()));
    let reasons = [
        InvalidScope::AtUri(crate::lexicon::InvalidAtUri::Authority),
        InvalidScope::Segments,
        InvalidScope::AtUri(crate::lexicon::InvalidAtUri::Collection),
        InvalidScope::AtUri(crate::lexicon::InvalidAtUri::Scheme),
        InvalidScope::AtUri(crate::lexicon::InvalidAtUri::RecordKey),
    ];
    for (found, reason) in judged[1..6].iter().zip(reasons) {
        assert_eq!(*found, Err(reason));
    }
    assert_eq!(judged[63], Ok("at://alice.test".to_owned()));
    assert_eq!(judged[64], Err(InvalidScope::NotConsidered));
}

#[test]
fn a_refusal_names_an_entry_that_allows_the_read() {
    let did = Did::parse(ALICE).unwrap();
    let (post, key) = (Nsid::parse("com.example.post").unwrap(), RecordKey::parse("a").unwrap());
    let repos = [Authority::Did(did.clone()), Authority::parse("alice.test").unwrap()];
    for repo in repos {
        for (read, path) in [
            (Read::Blob, ""),
            (Read::Collection(&post), "/com.example.post"),
            (Read::Record(&post, &key), "/com.example.post/a"),
        ] {
            let refusal = NotAllowed::new(&repo, read);
            assert_eq!(refusal.entry(), format!("at://{repo}{path}"));
            assert!(refusal.to_string().contains(refusal.entry()));
            let mended = Reads::of(Some(&[refusal.entry().to_owned()]), UndeclaredReads::None);
            assert!(mended.allow(&did, read, leads_to), "{refusal}");
        }
    }
}

/// What makes up entries and reads: few names, so that they often meet, and many ways to spell them.
fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(ALICE.to_owned()),
        Just(BOB.to_owned()),
        Just("alice.test".to_owned()),
        Just("bob.test".to_owned()),
        Just("moved.test".to_owned()),
        Just("did:web:alice.test".to_owned()),
        Just("com.example.post".to_owned()),
        Just("com.example.posts".to_owned()),
        Just("a".to_owned()),
        Just("ab".to_owned()),
        Just("*".to_owned()),
        Just("..".to_owned()),
        Just(String::new()),
        "[a-b.:%*?#/ ]{0,3}",
    ]
}

fn entry() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![9 => Just("at://".to_owned()), 1 => "[aAt:/]{0,5}"];
    (scheme, prop::collection::vec(segment(), 0..5))
        .prop_map(|(scheme, segments)| scheme + &segments.join("/"))
}

/// Whether the entry, read as segments and nothing more, is equal to the start of what is asked for,
/// where a listing ends at its collection and a blob at its repo.
fn plainly_covers(entry: &str, did: &str, asked: &[&str]) -> bool {
    let Some(path) = entry.strip_prefix("at://") else { return false };
    let segments: Vec<&str> = path.split('/').collect();
    let repo = match segments[0].to_ascii_lowercase().as_str() {
        "alice.test" => ALICE.to_owned(),
        "bob.test" => BOB.to_owned(),
        _ => segments[0].to_owned(),
    };
    repo == did && segments.len() - 1 <= asked.len() && segments[1..] == asked[..segments.len() - 1]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn nothing_is_read_that_no_entry_covers(
        entries in prop::collection::vec(entry(), 0..80),
        did in prop_oneof![Just(ALICE), Just(BOB), Just("did:web:alice.test")],
        collection in prop_oneof![Just("com.example.post"), Just("com.example.posts"), Just("a.b.c")],
        rkey in prop_oneof![Just("a"), Just("ab"), Just("alice.test")],
        depth in 0usize..3,
    ) {
        let reads = Reads::of(Some(&entries), UndeclaredReads::Any);
        let (nsid, key) = (Nsid::parse(collection).unwrap(), RecordKey::parse(rkey).unwrap());
        let read = [Read::Blob, Read::Collection(&nsid), Read::Record(&nsid, &key)][depth];
        let asked = &[collection, rkey][..depth];
        let allowed = reads.allow(&Did::parse(did).unwrap(), read, leads_to);
        let covered = entries.iter().take(64).any(|entry| plainly_covers(entry, did, asked));
        prop_assert_eq!(allowed, covered, "{:?} {} {:?}", entries, did, asked);
    }

    #[test]
    fn no_text_makes_parsing_panic_or_reads_back_otherwise(text in "(at://)?\\PC{0,40}") {
        if let Ok(scope) = Scope::parse(&text) {
            prop_assert!(scope.to_string().eq_ignore_ascii_case(&text));
        }
    }
}
