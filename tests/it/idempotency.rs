//! Calls with an idempotency key, over HTTP.

mod killed;
mod outcomes;
mod shared;

use at_functions::config::Settings;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::world::{Caller, ECHO, World};

/// What tells runs of [`counting`] from each other in what the repo host is asked.
const RUNS: &str = "com.example.run";

/// A module of host-v1 whose output is its context, and that first reads the record with the name of its
/// request: so no two runs have the same output, and the repo host is asked once for each. It knows where
/// the request's name stands if its own at-uri has `uri_length` letters and its callers' DIDs are `did:plc`.
fn counting(author: &str, uri_length: usize) -> Vec<u8> {
    let cid_length = at_functions::repo::record_cid(b"any").to_string().len();
    let empty = r#"{"caller":"","function":"","functionCid":"","requestId":""#;
    let name_at = empty.len() + 32 + uri_length + cid_length;
    let (start, end) = (format!(r#"{{"atUri":"at://{author}/{RUNS}/"#), r#""}"#);
    let request_length = start.len() + 16 + end.len();
    let (name_to, end_at) = (16 + start.len(), 16 + start.len() + 16);
    let escaped = |text: &str| text.replace('"', "\\\"");
    let (start, end) = (escaped(&start), escaped(end));
    let text = format!(
        r#"(module
            (import "host" "host_get_context" (func $context (result i64)))
            (import "host" "host_read_record" (func $read (param i32 i32) (result i64)))
            (memory (export "memory") 32)
            (data (i32.const 16) "{start}") (data (i32.const {end_at}) "{end}")
            (global $next (mut i32) (i32.const 4096))
            (func (export "alloc") (param $length i32) (result i32)
                (global.get $next)
                (global.set $next (i32.add (global.get $next) (local.get $length))))
            (func (export "run") (param i32 i32) (result i64)
                (local $context i64) (local $name i32)
                (local.set $context (call $context))
                (local.set $name
                    (i32.add (i32.const {name_at}) (i32.wrap_i64 (i64.shr_u (local.get $context) (i64.const 32)))))
                (i64.store (i32.const {name_to}) (i64.load (local.get $name)))
                (i64.store offset=8 (i32.const {name_to}) (i64.load offset=8 (local.get $name)))
                (drop (call $read (i32.const 16) (i32.const {request_length})))
                (local.get $context)))"#
    );
    wat::parse_str(text).unwrap()
}

/// Publishes [`counting`] under this key, changing its record with `edit` first.
fn publish_counting(world: &World, rkey: &str, edit: impl FnOnce(&mut Value)) -> String {
    let author = world.author.did().to_string();
    let uri = format!("at://{author}/at.functions.metadata/{rkey}");
    let published = world.publish_record(rkey, &counting(&author, uri.len()), |record| {
        record["mode"] = "host-v1".into();
        record["maxDurationMs"] = 5000.into();
        edit(record);
    });
    assert_eq!(published.uri.to_string(), uri);
    uri
}

/// How often [`counting`] ran.
fn runs(world: &World) -> usize {
    world.asked(RUNS)
}

/// What came back, to the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Raw {
    status: u16,
    replayed: bool,
    body: Bytes,
}

impl Raw {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The name of the error, which this must be.
    fn error(&self) -> (u16, String) {
        let body = self.json();
        assert_eq!(body["ok"], false, "{self:?}");
        (self.status, body["error"].as_str().unwrap().to_owned())
    }

    /// The same answer, of a run that began for another call.
    fn again(&self) -> Raw {
        assert_eq!(self.status, 200, "{self:?}");
        Raw { replayed: true, ..self.clone() }
    }
}

/// A call that is ready to be sent, with a token of its own.
fn request(world: &World, caller: &Caller, body: &Value) -> reqwest::RequestBuilder {
    world
        .request()
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", world.token(caller)))
        .body(body.to_string())
}

async fn send(request: reqwest::RequestBuilder) -> Raw {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let replayed = response.headers().get("idempotency-replayed").map(|value| value.to_str().unwrap());
    assert!(matches!(replayed, None | Some("true")), "{replayed:?}");
    let replayed = replayed.is_some();
    Raw { status, replayed, body: response.bytes().await.unwrap() }
}

/// Calls `function` on `input` under this name.
async fn call(world: &World, caller: &Caller, function: &str, input: Value, key: &str) -> Raw {
    let body = json!({ "function": function, "input": input, "idempotencyKey": key });
    send(request(world, caller, &body)).await
}

#[tokio::test]
async fn a_call_that_is_sent_again_has_the_answer_of_the_first() {
    let world = World::start().await;
    let caller = world.caller(1);
    let function = publish_counting(&world, "counting", |_| ());
    let first = call(&world, &caller, &function, json!(1), "k").await;
    assert_eq!((first.status, first.replayed, runs(&world)), (200, false, 1), "{first:?}");
    assert_eq!(first.json()["output"]["caller"], caller.did.as_str());
    assert_eq!(call(&world, &caller, &function, json!(1), "k").await, first.again());
    assert_eq!(runs(&world), 1);

    // Whatever is another call runs, or is refused.
    let reused = call(&world, &caller, &function, json!(2), "k").await;
    assert_eq!(reused.error(), (400, "IdempotencyKeyReuse".to_owned()));
    let other = world.caller(2);
    let theirs = call(&world, &other, &function, json!(2), "k").await;
    assert_eq!((theirs.status, theirs.replayed, runs(&world)), (200, false, 2), "{theirs:?}");
    assert_eq!(theirs.json()["output"]["caller"], other.did.as_str());
    let renamed = call(&world, &caller, &function, json!(1), "l").await;
    assert_eq!((renamed.status, renamed.replayed, runs(&world)), (200, false, 3), "{renamed:?}");
    let unnamed = send(request(&world, &caller, &json!({ "function": function, "input": 1 }))).await;
    assert_eq!((unnamed.status, unnamed.replayed, runs(&world)), (200, false, 4), "{unnamed:?}");
    assert_eq!(call(&world, &caller, &function, json!(1), "k").await, first.again());
}

#[tokio::test]
async fn an_answer_outlives_the_service_that_gave_it() {
    let mut world = World::start().await;
    let caller = world.caller(1);
    let function = publish_counting(&world, "counting", |_| ());
    let first = call(&world, &caller, &function, json!({ "a": 1.50 }), "k").await;
    assert_eq!((first.status, first.replayed), (200, false), "{first:?}");
    world.restart().await;
    assert_eq!(call(&world, &caller, &function, json!({ "a": 1.50 }), "k").await, first.again());
    let reused = call(&world, &caller, &function, json!({}), "k").await;
    assert_eq!(reused.error(), (400, "IdempotencyKeyReuse".to_owned()));
    assert_eq!(runs(&world), 1);
}

#[tokio::test]
async fn policy_decides_anew_on_each_repeat_and_another_version_is_another_call() {
    let mut world = World::start().await;
    world.restart_with_record_ttl(std::time::Duration::ZERO).await;
    let caller = world.caller(1);
    let function = publish_counting(&world, "counting", |_| ());
    let first = call(&world, &caller, &function, json!(1), "k").await;
    assert_eq!((first.status, first.replayed), (200, false), "{first:?}");
    publish_counting(&world, "counting", |record| record["version"] = "0.2.0".into());
    let second = call(&world, &caller, &function, json!(1), "k").await;
    assert_eq!((second.status, second.replayed, runs(&world)), (200, false, 2), "{second:?}");
    assert_ne!(second.json()["functionCid"], first.json()["functionCid"]);
    publish_counting(&world, "counting", |record| record["public"] = false.into());
    let refused = call(&world, &caller, &function, json!(1), "k").await;
    assert_eq!(refused.error(), (403, "FunctionNotPublic".to_owned()));
    // The first version again: what it answered is still there.
    publish_counting(&world, "counting", |_| ());
    assert_eq!(call(&world, &caller, &function, json!(1), "k").await, first.again());
    assert_eq!(runs(&world), 2);
}

#[tokio::test]
async fn equal_records_under_two_names_are_two_functions() {
    let world = World::start().await;
    let caller = world.caller(1);
    let [one, two] = ["one", "two"].map(|rkey| world.publish_record(rkey, ECHO, |_| ()));
    assert_eq!(one.cid, two.cid);
    let first = call(&world, &caller, &one.uri.to_string(), json!(1), "k").await;
    assert_eq!((first.status, first.replayed), (200, false), "{first:?}");
    let other = call(&world, &caller, &two.uri.to_string(), json!(1), "k").await;
    assert_eq!(other.error(), (400, "IdempotencyKeyReuse".to_owned()));
}

#[tokio::test]
async fn a_key_stands_in_the_body_or_in_a_header_and_is_one() {
    let world = World::start().await;
    let caller = world.caller(1);
    let function = publish_counting(&world, "counting", |_| ());
    let plain = json!({ "function": function, "input": 1 });
    let named = json!({ "function": function, "input": 1, "idempotencyKey": "k" });
    let first = send(request(&world, &caller, &named)).await;
    assert_eq!((first.status, first.replayed), (200, false), "{first:?}");
    for value in ["k", "\"k\""] {
        let header = |body: &Value| request(&world, &caller, body).header("idempotency-key", value);
        assert_eq!(send(header(&plain)).await, first.again(), "{value}");
        assert_eq!(send(header(&named)).await, first.again(), "{value}");
        assert_eq!(send(header(&plain).header("Idempotency-Key", "k")).await, first.again(), "{value}");
    }

    let keyed = |key: Value| json!({ "function": function, "input": 1, "idempotencyKey": key });
    let refused = [
        (keyed("other".into()), vec!["k"], "two different"),
        (plain.clone(), vec!["k", "other"], "two different"),
        (plain.clone(), vec![""], "Idempotency-Key: expected 1 to 255"),
        (plain.clone(), vec!["a b"], "Idempotency-Key: expected 1 to 255"),
        (keyed("".into()), vec![], "idempotencyKey: expected 1 to 255"),
        (keyed("k".repeat(256).into()), vec![], "idempotencyKey: expected 1 to 255"),
        (keyed("a\"".into()), vec![], "idempotencyKey: expected 1 to 255"),
        (keyed(7.into()), vec![], "invalid type"),
    ];
    for (body, headers, message) in refused {
        let with = |request: reqwest::RequestBuilder, value: &&str| request.header("idempotency-key", *value);
        let answer = send(headers.iter().fold(request(&world, &caller, &body), with)).await;
        assert_eq!(answer.error(), (400, "InvalidRequest".to_owned()), "{body} {headers:?}");
        assert!(answer.json()["message"].as_str().unwrap().contains(message), "{answer:?}");
    }
    let longest = send(request(&world, &caller, &keyed("k".repeat(255).into()))).await;
    assert_eq!((longest.status, longest.replayed), (200, false), "{longest:?}");
    assert_eq!(runs(&world), 2);
}

#[tokio::test]
async fn who_does_not_say_who_they_are_cannot_name_calls() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO).uri.to_string();
    let named = json!({ "function": echo, "input": 1, "idempotencyKey": "k" }).to_string();
    let plain = json!({ "function": echo, "input": 1 }).to_string();
    for request in
        [world.request().body(named), world.request().body(plain.clone()).header("idempotency-key", "k")]
    {
        let refused = send(request).await;
        assert_eq!(refused.error(), (400, "InvalidRequest".to_owned()));
        assert!(refused.json()["message"].as_str().unwrap().contains("callers with a token"), "{refused:?}");
    }
    assert_eq!(send(world.request().body(plain)).await.status, 200);
}

#[tokio::test]
async fn an_operator_who_keeps_no_answers_takes_no_keys() {
    let world = World::start_with(Settings { idempotency_store: Some(0), ..Settings::default() }).await;
    let caller = world.caller(1);
    let echo = world.publish("echo", ECHO).uri.to_string();
    let refused = call(&world, &caller, &echo, json!(1), "k").await;
    assert_eq!(refused.error(), (400, "InvalidRequest".to_owned()));
    assert!(refused.json()["message"].as_str().unwrap().contains("not offered"), "{refused:?}");
    assert!(!world.data_dir().join("answers.redb").exists());
    assert_eq!(world.run_as(&caller, &echo, json!(1)).await.output()["echo"], 1);
}

#[tokio::test]
async fn a_damaged_file_refuses_calls_with_a_key_and_no_others() {
    let data = tempfile::tempdir().unwrap().keep();
    let file = data.join("answers.redb");
    std::fs::write(&file, b"no database").unwrap();
    let world = World::start_with(Settings { data_dir: Some(data), ..Settings::default() }).await;
    let caller = world.caller(1);
    let echo = world.publish("echo", ECHO).uri.to_string();
    let refused = call(&world, &caller, &echo, json!(1), "k").await;
    assert_eq!(refused.error(), (503, "NotEnoughResources".to_owned()));
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("answers cannot be kept now") && message.contains("retry in 5 s"),
        "{message}"
    );
    assert_eq!(world.run_as(&caller, &echo, json!(1)).await.output()["echo"], 1);
    assert_eq!(std::fs::read(&file).unwrap(), b"no database");
}
