//! What a run may read: as its record says, and where the record is silent, its operator.

use super::*;

#[tokio::test]
async fn what_the_record_does_not_allow_is_refused_by_the_entry_it_needs_and_asks_nobody() {
    let reader = Reader::start().await;
    let did = reader.did();
    let cid = reader.blob(b"x");
    let door = reader.door(Some(&[]));
    needs(ask(&door, record(format!("at://{did}/{POST}/a"))).await, &format!("at://{did}/{POST}/a"));
    needs(ask(&door, list(&did, None, 5)).await, &format!("at://{did}/{POST}"));
    needs(ask(&door, blob(&cid, None)).await, &format!("at://{did}"));
    needs(
        ask(&door, record("at://secret.evil.com/com.example.post/a")).await,
        "at://secret.evil.com/com.example.post/a",
    );
    needs(
        ask(&door, list("did:web:secret.evil.com", None, 5)).await,
        "at://did:web:secret.evil.com/com.example.post",
    );

    // Entries of other collections, of one record, of nothing: still nobody is asked.
    let door =
        reader.door(Some(&["at://SELF/com.example.other", "at://SELF/com.example.post/b", "at://SELF/"]));
    needs(ask(&door, record(format!("at://{did}/{POST}/a"))).await, &format!("at://{did}/{POST}/a"));
    needs(ask(&door, list(&did, None, 5)).await, &format!("at://{did}/{POST}"));
    needs(ask(&door, blob(&cid, None)).await, &format!("at://{did}"));
    assert_eq!(reader.world.asked(""), 0);

    // A name that the guest makes up is not looked up: only those that the record names are.
    let door = reader.door(Some(&["at://SELF"]));
    needs(
        ask(&door, record("at://secret.evil.com/com.example.post/a")).await,
        "at://secret.evil.com/com.example.post/a",
    );
    assert_eq!((reader.world.asked("resolveHandle"), reader.world.asked("did.json")), (0, 1));
}

#[tokio::test]
async fn without_allowed_hosts_the_operator_decides() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({ "text": "hi" }));
    value(ask(&reader.door(None), record(&uri)).await);
    let (author, runtime) = (reader.world.author.did().clone(), tokio::runtime::Handle::current());
    let closed = Reads::of(None, UndeclaredReads::None);
    let door = RunDoor::new(reader.registry.clone(), closed, author, runtime);
    needs(ask(&door, record(&uri)).await, &uri);
}

#[tokio::test]
async fn handles_mean_the_dids_that_they_lead_to_on_either_side() {
    let reader = Reader::start().await;
    let by_did = reader.post("a", json!({ "text": "hi" }));
    let by_handle = format!("at://author.test/{POST}/a");
    for entries in [
        &["at://SELF"][..],
        &["at://author.test"],
        &["at://AUTHOR.test/com.example.post"],
        &["at://gone.test", "at://author.test/com.example.post/a"],
        &["at://gone.test", "at://SELF/com.example.post/a"],
    ] {
        for uri in [&by_did, &by_handle] {
            let (found, _) = value(ask(&reader.door(Some(entries)), record(uri)).await);
            assert_eq!(found["text"], "hi", "{entries:?} {uri}");
        }
    }
    // A handle that leads nowhere covers nothing, and the refusal says which one it is.
    let door = reader.door(Some(&["at://gone.test", "at://SELF/com.example.other"]));
    let message = refusal(ask(&door, record(&by_did)).await);
    assert!(message.contains(&format!("would need {by_did}")), "{message}");
    assert!(message.contains("at://gone.test is there, but does not resolve"), "{message}");
    let message = refusal(
        ask(&reader.door(Some(&["at://gone.test"])), record(format!("at://gone.test/{POST}/a"))).await,
    );
    assert!(message.contains("gone.test could not be resolved"), "{message}");
    // Somebody else's DID under a handle that is covered.
    let door = reader.door(Some(&["at://author.test"]));
    needs(
        ask(&door, record(format!("at://did:web:b.com/{POST}/a"))).await,
        &format!("at://did:web:b.com/{POST}/a"),
    );
}

#[tokio::test]
async fn a_handle_that_a_covered_did_claims_counts_only_if_it_leads_there() {
    let reader = Reader::start().await;
    reader.post("a", json!({ "text": "hi" }));
    reader.world.fail_with(|path| path.contains("resolveHandle").then(|| xrpc_error(400, "HandleNotFound")));
    let answer = ask(&reader.door(Some(&["at://SELF"])), record(format!("at://author.test/{POST}/a"))).await;
    let message = refusal(answer);
    assert!(message.contains("author.test could not be resolved"), "{message}");
    assert_eq!(reader.world.asked("sync.getRecord"), 0);
}

#[tokio::test]
async fn a_run_learns_of_so_many_blobs_and_no_more() {
    const MOST: usize = 4096;
    let reader = Reader::start().await;
    let mut blobs: Vec<Bytes> = (0..=MOST).map(|number| Bytes::from(format!("blob {number}"))).collect();
    // In the order in which they are learned.
    blobs.sort_by_key(|blob| blob_cid(blob).hash().digest().to_vec());
    let named: Vec<String> = blobs.iter().map(|blob| blob_cid(blob).to_string()).collect();
    let holder = json!({ "$type": POST, "named": named });
    let uri = put(&reader.world.author, "many", &holder, blobs[MOST - 1..].to_vec());
    let door = reader.door(Some(&["at://SELF/com.example.post/many"]));
    value(ask(&door, record(uri)).await);
    assert!(ask(&door, blob(&named[MOST - 1], None)).await.is_ok());
    needs(ask(&door, blob(&named[MOST], None)).await, &format!("at://{}", reader.did()));
}

#[tokio::test]
async fn a_blob_may_be_read_where_a_record_that_the_run_read_by_itself_names_it() {
    let reader = Reader::start().await;
    let (named, other) = (reader.blob(b"named"), reader.blob(b"other"));
    let link =
        json!({ "image": { "$type": "blob", "ref": { "$link": named }, "mimeType": "a/b", "size": 5 } });
    let uri = reader.post("a", link);
    let legacy = reader.post("b", json!({ "image": { "cid": other, "mimeType": "a/b" } }));
    let did = reader.did();
    let door = reader.door(Some(&["at://SELF/com.example.post"]));
    let needed = format!("at://{did}");

    needs(ask(&door, blob(&named, None)).await, &needed);
    // To have seen it listed is not enough.
    assert_eq!(page(ask(&door, list(&did, None, 5)).await).0.concat(), "ab");
    needs(ask(&door, blob(&named, None)).await, &needed);

    value(ask(&door, record(&uri)).await);
    assert!(ask(&door, blob(&named, None)).await.is_ok());
    assert!(ask(&door, blob(&named, Some("author.test"))).await.is_ok());
    needs(ask(&door, blob(&other, None)).await, &needed);
    needs(ask(&door, blob(&named, Some("did:web:b.com"))).await, "at://did:web:b.com");
    needs(ask(&door, blob(&named, Some("b.test"))).await, "at://b.test");
    value(ask(&door, record(&legacy)).await);
    assert!(ask(&door, blob(&other, None)).await.is_ok());
    // What one run learned, another did not.
    needs(ask(&reader.door(Some(&["at://SELF/com.example.post"])), blob(&named, None)).await, &needed);
}

#[tokio::test]
async fn texts_that_name_nothing_are_refused_with_what_is_wrong() {
    let reader = Reader::start().await;
    let door = reader.door(None);
    let long = "x".repeat(5000);
    let did = reader.did();
    let with = |repo: &str, collection: &str, cursor: Option<&str>| HostCall::ListCollection {
        repo: repo.into(),
        collection: collection.into(),
        cursor: cursor.map(Into::into),
        limit: 5,
    };
    let cases = [
        (record(""), "at-uri"),
        (record("https://a.com"), "at://"),
        (record(format!("at://{did}/{POST}")), "at-uri"),
        (record(format!("at://{did}/{POST}/..")), "record key"),
        (record(format!("at://{did}/{POST}/a/../b")), "at-uri"),
        (record(format!("at://{did}/{POST}/%2e%2e")), "record key"),
        (record(format!("at://{did}/{POST}/{}", "x".repeat(9000))), "at most"),
        (record("at://did:key:z6Mk/com.example.post/a"), "authority"),
        (with("", POST, None), "repo"),
        (with("localhost", POST, None), "repo"),
        (with("127.0.0.1", POST, None), "repo"),
        (with(&long, POST, None), "repo"),
        (with(&did, "", None), "NSID"),
        (with(&did, "post", None), "NSID"),
        (with(&did, &format!("com.example.{long}"), None), "NSID"),
        (with(&did, POST, Some(&long)), "cursor"),
        (blob("", None), "CID"),
        (blob("bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454", None), "CID of a blob"),
        (blob(&long, None), "CID"),
        (blob(&blob_cid(b"x").to_string(), Some("a b")), "repo"),
    ];
    for (call, reason) in cases {
        let told = format!("{call:?}");
        let message = refusal(ask(&door, call).await);
        assert!(message.contains(reason) && message.len() < 300, "{told:.80}: {message}");
    }
    assert_eq!(reader.world.asked(""), 0);
}
