//! Pages of collections, which nothing proves.

use super::*;

#[tokio::test]
async fn a_listing_goes_on_from_its_cursor() {
    let reader = Reader::start().await;
    for key in ["a", "b", "c", "d", "e"] {
        reader.post(key, json!({}));
    }
    let door = reader.door(Some(&["at://SELF/com.example.post"]));
    let (did, mut cursor, mut pages) = (reader.did(), None::<String>, Vec::new());
    loop {
        let (keys, next) = page(ask(&door, list(&did, cursor.as_deref(), 2)).await);
        pages.push(keys.concat());
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, ["ab", "cd", "e"]);
    // Never more than a hundred are asked for, and never none.
    for (limit, sent) in [(0, "limit=1&"), (5000, "limit=100")] {
        page(ask(&door, list(&did, Some("a"), limit)).await);
        assert_eq!(reader.world.asked(sent), 1, "{limit}");
    }
}

#[tokio::test]
async fn a_listing_of_something_else_is_refused() {
    let reader = Reader::start().await;
    reader.post("a", json!({}));
    let (did, cid) = (reader.did(), at_functions::repo::record_cid(b"x"));
    let cases = [
        (json!({}), "form"),
        (
            json!({ "records": [{ "uri": format!("at://{did}/com.example.other/a"), "cid": cid.to_string(), "value": {} }] }),
            "another",
        ),
        (
            json!({ "records": [{ "uri": format!("at://did:web:b.com/{POST}/a"), "cid": cid.to_string(), "value": {} }] }),
            "another",
        ),
        (
            json!({ "records": [{ "uri": format!("at://{did}/{POST}/a"), "cid": cid.to_string(), "value": 7 }] }),
            "value",
        ),
        (json!({ "records": [{ "uri": format!("at://{did}/{POST}/a"), "cid": "x", "value": {} }] }), "CID"),
        (json!({ "records": [], "cursor": "c".repeat(2000) }), "cursor"),
    ];
    for (number, (body, reason)) in cases.into_iter().enumerate() {
        let sent = body.to_string();
        reader
            .world
            .fail_with(move |path| path.contains("listRecords").then(|| sent.clone().into_response()));
        let cursor = number.to_string();
        let message = refusal(ask(&reader.door(None), list(&did, Some(&cursor), 5)).await);
        assert!(message.contains("was refused") && message.contains(reason), "{body}: {message}");
    }
}

/// A door of a registry that keeps what is proved for so long.
fn door(world: &World, ttl: Duration) -> RunDoor {
    let reads = Reads::of(None, UndeclaredReads::Any);
    let registry = registry_that_keeps(world, ttl);
    RunDoor::new(registry, reads, world.author.did().clone(), tokio::runtime::Handle::current())
}

#[tokio::test]
async fn a_page_is_given_again_for_three_seconds_and_then_asked_for_anew() {
    let world = World::start().await;
    put(&world.author, "a", &json!({ "$type": POST }), []);
    // Records are kept much longer.
    let door = door(&world, LONG * 100);
    let (did, begun) = (world.author.did().to_string(), Instant::now());
    while world.asked("listRecords") < 2 {
        assert!(begun.elapsed() < LONG * 10, "never asked anew");
        assert_eq!(page(ask(&door, list(&did, None, 5)).await).0, ["a"]);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It was kept from some time after the beginning. Its clock is not this one.
    let asked_anew = begun.elapsed();
    assert!(asked_anew >= Duration::from_millis(2_990), "{asked_anew:?}");
}

#[tokio::test]
async fn where_records_are_not_kept_pages_are_not_either() {
    let world = World::start().await;
    put(&world.author, "a", &json!({ "$type": POST }), []);
    let (door, did) = (door(&world, Duration::ZERO), world.author.did().to_string());
    for asked in 1..4 {
        page(ask(&door, list(&did, None, 5)).await);
        assert_eq!(world.asked("listRecords"), asked);
    }
}
