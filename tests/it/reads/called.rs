//! Functions that read, called over HTTP.

use super::*;

/// A module of host-v1 that hands its input to one host call, and answers with what that answers.
fn passing_on(call: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "host" "{call}" (func $call (param i32 i32) (result i64)))
            (memory (export "memory") 32)
            (global $next (mut i32) (i32.const 16))
            (func (export "alloc") (param $length i32) (result i32)
                (global.get $next)
                (global.set $next (i32.add (global.get $next) (local.get $length))))
            (func (export "run") (param i32 i32) (result i64)
                (call $call (local.get 0) (local.get 1))))"#
    );
    wat::parse_str(text).unwrap()
}

/// Publishes [`passing_on`] under the call's name, with this `allowedHosts` and time.
fn publish(world: &World, call: &str, allowed: Option<Value>, millis: u32) -> String {
    let published = world.publish_record(call, &passing_on(call), |record| {
        record["mode"] = "host-v1".into();
        record["maxDurationMs"] = millis.into();
        if let Some(allowed) = allowed {
            record["allowedHosts"] = allowed;
        }
    });
    published.uri.to_string()
}

#[tokio::test]
async fn a_function_reads_what_its_record_allows_and_no_more() {
    let world = World::start().await;
    let did = world.author.did().to_string();
    let bytes = Bytes::from_static(b"blob");
    let cid = blob_cid(&bytes).to_string();
    let image = json!({ "$type": "blob", "ref": { "$link": cid }, "mimeType": "a/b", "size": 4 });
    let post = json!({ "$type": POST, "image": image });
    let uri = put(&world.author, "a", &post, [bytes]);
    put(&world.author, "b", &json!({ "$type": POST }), []);

    let collection = json!([format!("at://{did}/{POST}")]);
    let read = publish(&world, "host_read_record", Some(collection.clone()), 5000);
    let answer = world.run(&read, json!({ "atUri": uri })).await;
    assert_eq!(answer.output()["record"], post);
    assert_eq!(answer.body["usage"]["hostCalls"], 1);
    let refused = world.run(&read, json!({ "atUri": format!("at://{did}/com.example.other/a") })).await;
    assert_eq!(refused.output()["ok"], false);
    let needed = format!("it would need at://{did}/com.example.other/a in its allowedHosts");
    assert!(refused.output()["error"].as_str().unwrap().contains(&needed), "{refused:?}");

    let list = publish(&world, "host_list_collection", Some(collection.clone()), 5000);
    let request = json!({ "repo": "author.test", "collection": POST, "limit": 1 });
    let first = world.run(&list, request).await;
    assert_eq!(first.output()["records"][0]["uri"], uri);
    let request = json!({ "repo": did, "collection": POST, "cursor": first.output()["cursor"] });
    let second = world.run(&list, request).await;
    assert_eq!(second.output()["records"][0]["uri"], format!("at://{did}/{POST}/b"));
    assert!(second.output().get("cursor").is_none(), "{second:?}");

    let request = json!({ "cid": cid });
    let blob = publish(&world, "host_read_blob", Some(collection), 5000);
    assert_eq!(world.run(&blob, request.clone()).await.output()["ok"], false);
    // Absent is any repo: what is cached of the record lives on for a while, so under another name.
    let blob = world.publish_record("any-blob", &passing_on("host_read_blob"), |record| {
        record["mode"] = "host-v1".into();
        record["maxDurationMs"] = 5000.into();
    });
    assert_eq!(world.run(&blob.uri, request).await.output()["bytesBase64"], "YmxvYg==");
}

#[tokio::test]
async fn the_operator_may_close_what_functions_do_not_declare() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("policy.toml");
    std::fs::write(&policy, "undeclared_reads = \"none\"").unwrap();
    let anonymous = Settings { anonymous: Some(Anonymous::Public), ..Settings::default() };
    for settings in [
        Settings { undeclared_reads: Some(UndeclaredReads::None), ..anonymous.clone() },
        Settings { policy: Some(policy), ..anonymous },
    ] {
        let world = World::start_with(settings).await;
        let uri = put(&world.author, "a", &json!({ "$type": POST }), []);
        let read = publish(&world, "host_read_record", None, 5000);
        let answer = world.run(&read, json!({ "atUri": uri })).await;
        let told = answer.output()["error"].as_str().unwrap();
        assert!(told.contains(&format!("would need {uri}")), "{answer:?}");
    }
}

#[tokio::test]
async fn a_slow_pds_ends_the_run_at_its_deadline() {
    let world = World::start().await;
    let did = world.author.did().to_string();
    let list = publish(&world, "host_list_collection", None, 5000);
    let request = json!({ "repo": did, "collection": POST });
    // The code and the repo are known by then.
    assert_eq!(world.run(&list, request.clone()).await.output()["records"], json!([]));
    let hurried = world.publish_record("hurried", &passing_on("host_list_collection"), |record| {
        record["mode"] = "host-v1".into();
        record["maxDurationMs"] = 300.into();
    });
    world.slow_down("listRecords", Duration::from_secs(60));
    let request = json!({ "repo": did, "collection": "com.example.slow" });
    let started = Instant::now();
    let answer = world.run(&hurried.uri, request).await;
    let took = started.elapsed();
    assert_eq!(answer.outcome(), "timeout");
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn two_hundred_concurrent_runs_of_a_lister_make_one_read() {
    let world = World::start().await;
    let did = world.author.did().to_string();
    put(&world.author, "a", &json!({ "$type": POST }), []);
    let list = publish(&world, "host_list_collection", None, 5000);
    let input = json!({ "repo": did, "collection": POST });
    // Not long: only so many have memory at once, and those whose turn seems too far off would be refused.
    world.delay([("listRecords", Duration::from_millis(100))]);
    let body = json!({ "function": list, "input": input }).to_string();
    let calls: Vec<_> =
        (0..200).map(|_| tokio::spawn(crate::world::answer(world.request().body(body.clone())))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().output()["records"][0]["uri"], format!("at://{did}/{POST}/a"));
    }
    assert_eq!(world.asked("listRecords"), 1);
}
