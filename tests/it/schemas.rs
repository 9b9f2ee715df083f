//! Inputs and outputs held against the schemas of the record, through the whole service.

use std::time::Duration;

use serde_json::{Value, json};

use super::patience::soon_within;
use super::world::{ECHO, World};

/// Publishes the echo with these fields in its record.
fn publish(world: &World, rkey: &str, fields: Value) -> String {
    let published = world.publish_record(rkey, ECHO, |record| {
        record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    });
    published.uri.to_string()
}

#[tokio::test]
async fn an_input_that_does_not_meet_its_schema_is_refused_before_anything_is_fetched_for_it() {
    let world = World::start().await;
    let schema =
        json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 1}}});
    let uri = publish(&world, "in", json!({"inputSchema": schema}));
    for (input, what) in [
        (json!({"n": 0}), "\"/n\" is less than 1"),
        (json!({}), "the whole value lacks the member \"n\""),
        (json!([]), "the whole value is not of the type object"),
    ] {
        let answer = world.run(&uri, input).await;
        assert_eq!(answer.error(), (400, "InvalidInput"));
        assert!(answer.message().contains(what), "{}", answer.message());
    }
    assert_eq!((world.asked("sync.getBlob"), world.compiles()), (0, 0));

    let answer = world.run(&uri, json!({"n": 1, "more": [1.5]})).await;
    assert_eq!(answer.output()["echo"], json!({"n": 1, "more": [1.5]}));
    assert_eq!(answer.body.get("outputSchemaMismatch"), None);
}

#[tokio::test]
async fn a_checked_input_reaches_the_guest_byte_for_byte() {
    let world = World::start().await;
    let uri = publish(
        &world,
        "bytes",
        json!({"inputSchema": {"type": "object"}, "outputSchema": {"type": "object"}}),
    );
    let input = r#"{"b" : 1.50,  "a":12345678901234567890123, "é":"\u0041"}"#;
    let body = format!(r#"{{"function":"{uri}","input":{input}}}"#);
    let request = world.request().header("content-type", "application/json").body(body);
    let text = request.send().await.unwrap().text().await.unwrap();
    assert!(text.contains(&format!(r#""echo":{input}"#)), "{text}");
}

#[tokio::test]
async fn what_two_readers_may_read_differently_is_no_valid_input() {
    let world = World::start().await;
    let uri = publish(&world, "twice", json!({"inputSchema": {"type": "object"}}));
    for (input, what) in
        [(r#"{"a":1,"a":2}"#, "the member \"a\" twice"), (r#"{"a":1e400}"#, "it cannot be checked")]
    {
        let answer = world.post(format!(r#"{{"function":"{uri}","input":{input}}}"#), None).await;
        assert_eq!(answer.error(), (400, "InvalidInput"), "{input}");
        assert!(answer.message().contains(what), "{}", answer.message());
    }
}

#[tokio::test]
async fn an_output_beside_its_schema_is_told_unless_the_record_is_strict() {
    let world = World::start().await;
    let schema = json!({"properties": {"echo": {"properties": {"a/b": {"items": {"type": "string"}}}}}});
    let described = publish(&world, "described", json!({"outputSchema": schema}));
    let strict = publish(&world, "strict", json!({"outputSchema": schema, "strictOutput": true}));
    let unmet = json!({"a/b": ["x", 7]});

    let answer = world.run(&described, unmet.clone()).await;
    assert_eq!(answer.output()["echo"], unmet);
    assert_eq!(answer.body["outputSchemaMismatch"], "/echo/a~1b/1");

    let answer = world.run(&strict, unmet).await;
    assert_eq!(answer.outcome(), "outputInvalid");
    assert_eq!(
        answer.body["error"],
        "the output does not meet the function's outputSchema: \"/echo/a~1b/1\" is not of the type string"
    );
    assert_eq!((answer.body.get("output"), answer.body.get("outputSchemaMismatch")), (None, None));
    assert!(answer.body["usage"]["outputBytes"].as_u64().unwrap() > 0);

    for uri in [described, strict] {
        let answer = world.run(&uri, json!({"a/b": ["x"]})).await;
        assert_eq!(answer.output()["echo"], json!({"a/b": ["x"]}));
        assert_eq!(answer.body.get("outputSchemaMismatch"), None);
    }
}

#[tokio::test]
async fn a_mismatch_of_the_whole_output_has_the_empty_path() {
    let world = World::start().await;
    let uri = publish(&world, "whole", json!({"outputSchema": {"type": "array"}}));
    assert_eq!(world.run(&uri, json!(7)).await.body["outputSchemaMismatch"], "");
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_makes_the_function_invalid() {
    let world = World::start().await;
    let cases = [
        (json!({"inputSchema": {"type": "text"}}), "`inputSchema` is no valid JSON Schema at \"/type\""),
        (json!({"outputSchema": {"pattern": "(?=a)"}}), "`outputSchema` has the pattern \"(?=a)\""),
        (
            json!({"inputSchema": {"$schema": "https://example.com/x"}}),
            "`inputSchema` names \"https://example.com/x\"",
        ),
        (json!({"inputSchema": {"allOf": [{"$ref": "#"}]}}), "`inputSchema` refers to itself"),
        (json!({"outputSchema": {"description": "x".repeat(70_000)}}), "`outputSchema` has 70"),
    ];
    for (number, (fields, what)) in cases.into_iter().enumerate() {
        let uri = publish(&world, &format!("unusable{number}"), fields);
        let answer = world.run(&uri, json!({})).await;
        assert_eq!(answer.error(), (400, "InvalidFunction"), "{what}");
        assert!(answer.message().contains(what), "{}", answer.message());
    }
    assert_eq!((world.asked("sync.getBlob"), world.compiles()), (0, 0));
}

#[tokio::test]
async fn nothing_that_a_schema_refers_to_is_fetched() {
    let world = World::start().await;
    let own = world.author.origin();
    for (rkey, reference) in [
        ("http", format!("{own}/schema-of-another")),
        ("file", "file:///etc/passwd".to_owned()),
        ("relative", "schema-of-another".to_owned()),
        ("meta", "https://json-schema.org/draft/2020-12/schema".to_owned()),
    ] {
        for schema in [
            json!({"$ref": reference}),
            json!({"$id": format!("{own}/root"), "items": {"$ref": reference}}),
            json!({"$defs": {"unused": {"$dynamicRef": reference}}}),
        ] {
            let rkey = format!(
                "{rkey}-{}",
                schema.as_object().unwrap().keys().next().unwrap().trim_start_matches('$')
            );
            let uri = publish(&world, &rkey, json!({"inputSchema": schema}));
            let answer = world.run(&uri, json!({})).await;
            assert_eq!(answer.error(), (400, "InvalidFunction"), "{reference}");
            assert!(answer.message().contains("nothing is fetched"), "{}", answer.message());
        }
    }
    assert_eq!(world.asked("schema-of-another"), 0);
}

#[tokio::test]
async fn another_schema_is_in_force_once_the_record_is_read_again() {
    let world = World::start().await;
    let uri = publish(&world, "moving", json!({"inputSchema": {"type": "string"}}));
    assert_eq!(world.run(&uri, json!(1)).await.error(), (400, "InvalidInput"));
    let renewed =
        world.publish_record("moving", ECHO, |record| record["inputSchema"] = json!({"type": "integer"}));
    // A call that is pinned to the new record has it read before the old one's time is over.
    let pinned = json!({"function": uri, "cid": renewed.cid.to_string(), "input": 1});
    assert_eq!(world.post(pinned.to_string(), None).await.output()["echo"], json!(1));
    assert_eq!(world.run(&uri, json!(1)).await.output()["echo"], json!(1));
    assert_eq!(world.run(&uri, json!("a")).await.error(), (400, "InvalidInput"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costly_checks_end_and_hold_up_nobody_else() {
    let world = World::start().await;
    let costly = publish(
        &world,
        "costly",
        json!({"inputSchema": {"items": {"allOf": vec![json!({"not": {"const": 1}}); 500]}}}),
    );
    let plain = publish(&world, "plain", json!({"inputSchema": {"type": "integer"}}));
    assert_eq!(world.run(&plain, json!(1)).await.output()["echo"], json!(1));
    let input = json!(vec![0; 300_000]);
    let many = futures_util::future::join_all((0..6).map(|_| world.run(&costly, input.clone())));
    let others = async {
        for _ in 0..20 {
            soon_within(Duration::from_secs(3), async || {
                let sent = std::time::Instant::now();
                assert_eq!(world.run(&plain, json!(1)).await.output()["echo"], json!(1));
                sent.elapsed()
            })
            .await;
        }
    };
    let (many, ()) = tokio::join!(many, others);
    for answer in many {
        assert_eq!(answer.error(), (400, "InvalidInput"));
        assert!(answer.message().contains("too large to check"), "{}", answer.message());
    }
}
