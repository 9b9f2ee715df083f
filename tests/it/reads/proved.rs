//! Records and blobs as a guest gets them: proved, or not at all.

use super::*;

#[tokio::test]
async fn a_record_comes_proved_as_json_with_its_cid() {
    let reader = Reader::start().await;
    let image = reader.blob(b"image");
    let post = json!({ "$type": POST, "text": "hi", "n": 7, "bytes": { "$bytes": "AAE" },
        "image": { "$type": "blob", "ref": { "$link": image }, "mimeType": "a/b", "size": 5 } });
    let uri = reader.post("a", post.clone());
    let (found, cid) = value(ask(&reader.door(None), record(&uri)).await);
    assert_eq!(found, post);
    let listed = ask(&reader.door(None), list(&reader.did(), None, 10)).await.unwrap();
    let HostReply::Listing { records, .. } = listed else { panic!("a page") };
    assert_eq!((records[0].uri.as_str(), records[0].cid.as_str()), (uri.as_str(), cid.as_str()));
    assert_eq!(serde_json::from_slice::<Value>(&records[0].value).unwrap(), post);
}

#[tokio::test]
async fn a_record_that_is_not_there_is_told_as_proved_absent() {
    let reader = Reader::start().await;
    let uri = format!("at://{}/{POST}/none", reader.did());
    let message = refusal(ask(&reader.door(None), record(uri)).await);
    assert!(message.contains("no such record") && message.contains("signature"), "{message}");
}

#[tokio::test]
async fn what_does_not_prove_itself_is_an_error_and_never_a_value() {
    type Forge = fn(&Reader) -> Vec<u8>;
    let car = |reader: &Reader, key: &str| {
        reader.world.author.record_car(&Nsid::parse(POST).unwrap(), &RecordKey::parse(key).unwrap())
    };
    let forgeries: [(&str, Forge); 6] = [
        ("nothing", |_| Vec::new()),
        ("json", |_| br#"{"uri":"x","value":{}}"#.to_vec()),
        ("a flipped bit", |reader| {
            let mut car =
                reader.world.author.record_car(&Nsid::parse(POST).unwrap(), &RecordKey::parse("a").unwrap());
            let last = car.len() - 3;
            car[last] ^= 1;
            car
        }),
        ("a cut", |reader| {
            let car =
                reader.world.author.record_car(&Nsid::parse(POST).unwrap(), &RecordKey::parse("a").unwrap());
            car[..car.len() - 1].to_vec()
        }),
        ("the record of another key", |reader| {
            reader.post("b", json!({ "text": "other" }));
            reader.world.author.record_car(&Nsid::parse(POST).unwrap(), &RecordKey::parse("b").unwrap())
        }),
        ("the record of another repo", |_| {
            let stranger = Author::at_port(1, Clock::system()).unwrap();
            put(&stranger, "a", &json!({ "$type": POST }), []);
            stranger.record_car(&Nsid::parse(POST).unwrap(), &RecordKey::parse("a").unwrap())
        }),
    ];
    for (what, forge) in forgeries {
        let reader = Reader::start().await;
        let uri = reader.post("a", json!({ "text": "true" }));
        let forged = forge(&reader);
        reader
            .world
            .fail_with(move |path| path.contains("sync.getRecord").then(|| forged.clone().into_response()));
        let message = refusal(ask(&reader.door(None), record(uri)).await);
        assert!(message.contains("was refused"), "{what}: {message}");
    }

    // An older state of the repo, rightly signed, after a newer one was seen.
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({ "text": "old" }));
    let old = car(&reader, "a");
    reader.post("b", json!({ "text": "new" }));
    value(ask(&reader.door(None), record(uri.replace("/a", "/b"))).await);
    reader.world.fail_with(move |path| path.contains("rkey=a").then(|| old.clone().into_response()));
    let message = refusal(ask(&reader.door(None), record(uri)).await);
    assert!(message.contains("older"), "{message}");
}

#[tokio::test]
async fn a_blob_is_the_bytes_of_its_cid_and_the_authors_unless_a_repo_is_named() {
    let reader = Reader::start().await;
    let cid = reader.blob(b"some bytes");
    let door = reader.door(None);
    let expected =
        HostReply::Blob { mime_type: "application/wasm".into(), bytes: Bytes::from_static(b"some bytes") };
    assert_eq!(ask(&door, blob(&cid, None)).await, Ok(expected.clone()));
    assert_eq!(ask(&door, blob(&cid, Some(&reader.did()))).await, Ok(expected.clone()));
    assert_eq!(ask(&door, blob(&cid, Some("author.test"))).await, Ok(expected));
    assert_eq!(reader.world.asked("sync.getBlob"), 1);

    let message = refusal(ask(&door, blob(&blob_cid(b"none").to_string(), None)).await);
    assert!(message.contains("does not have the blob"), "{message}");
    reader.world.fail_with(|path| path.contains("sync.getBlob").then(|| "other bytes".into_response()));
    let message = refusal(ask(&door, blob(&blob_cid(b"lie").to_string(), None)).await);
    assert!(message.contains("do not hash to the CID"), "{message}");
}
