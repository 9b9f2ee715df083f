//! Which answers are kept.

use super::*;

fn module(run: &str) -> Vec<u8> {
    let text = format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "{{\"ok\":true}}")
             (func (export "alloc") (param i32) (result i32) i32.const 1024)
             (func (export "run") (param i32 i32) (result i64) {run}))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn what_the_same_call_would_have_again_is_kept_and_nothing_else() {
    let exits = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 3))))"#;
    // Of a record that it may not read.
    let asks = r#"(module (import "host" "host_read_record" (func $read (param i32 i32) (result i64)))
        (memory (export "memory") 1) (data (i32.const 0) "{\"atUri\":\"at://did:web:a.com/a.b.c/d\"}")
        (func (export "alloc") (param i32) (result i32) i32.const 1024)
        (func (export "run") (param i32 i32) (result i64)
            (loop $l (drop (call $read (i32.const 0) (i32.const 38))) (br $l)) i64.const 0))"#;
    let grows = "(if (i32.eq (memory.grow (i32.const 10000)) (i32.const -1)) (then unreachable)) i64.const 0";
    let too_large = "(drop (memory.grow (i32.const 20))) i64.const 1048577";
    let cases = [
        ("ok", "pure-v1", module("i64.const 11"), true),
        ("guestError", "wasi-v1", wat::parse_str(exits).unwrap(), true),
        ("trap", "pure-v1", module("unreachable"), true),
        ("memoryExceeded", "pure-v1", module(grows), true),
        ("outputInvalid", "pure-v1", module("i64.const 0"), true),
        ("outputTooLarge", "pure-v1", module(too_large), true),
        ("timeout", "pure-v1", module("(loop $l (br $l)) i64.const 0"), false),
        ("hostCallLimit", "host-v1", wat::parse_str(asks).unwrap(), false),
    ];
    let world = World::start().await;
    let caller = world.caller(1);
    for (outcome, mode, wasm, is_kept) in cases {
        let published = world.publish_record(outcome, &wasm, |record| {
            record["mode"] = mode.into();
            record["allowedHosts"] = json!([]);
            record["maxDurationMs"] = if outcome == "timeout" { 50.into() } else { 5000.into() };
        });
        let function = published.uri.to_string();
        let first = call(&world, &caller, &function, json!({}), "k").await;
        let ended = first.json()["outcome"].as_str().unwrap_or("ok").to_owned();
        assert_eq!((first.status, ended.as_str(), first.replayed), (200, outcome, false), "{first:?}");
        let second = call(&world, &caller, &function, json!({}), "k").await;
        assert_eq!(second.replayed, is_kept, "{outcome}: {second:?}");
        if is_kept {
            assert_eq!(second, first.again());
        }
    }
}

#[tokio::test]
async fn a_refusal_is_not_kept() {
    let mut world = World::start().await;
    world.restart_with_record_ttl(std::time::Duration::ZERO).await;
    let caller = world.caller(1);
    let function = publish_counting(&world, "counting", |record| {
        record["inputSchema"] = json!({ "type": "object" });
    });
    for _ in 0..2 {
        let refused = call(&world, &caller, &function, json!(1), "k").await;
        assert_eq!(refused.error(), (400, "InvalidInput".to_owned()));
    }
    // Nothing ran, so the name is free.
    let answered = call(&world, &caller, &function, json!({}), "k").await;
    assert_eq!((answered.status, answered.replayed, runs(&world)), (200, false, 1), "{answered:?}");
}

#[tokio::test]
async fn what_the_author_sees_of_a_call_is_no_other_callers() {
    let world = World::start().await;
    let author = Caller { did: world.author.did().clone(), key: world.author.signing_key().clone() };
    let logs = r#"(module (import "host" "host_log" (func $log (param i32 i32 i32)))
        (memory (export "memory") 1) (data (i32.const 0) "true") (data (i32.const 16) "said")
        (func (export "alloc") (param i32) (result i32) i32.const 1024)
        (func (export "run") (param i32 i32) (result i64)
            (call $log (i32.const 1) (i32.const 16) (i32.const 4)) i64.const 4))"#;
    let published = world.publish_record("logs", &wat::parse_str(logs).unwrap(), |record| {
        record["mode"] = "host-v1".into();
        record["maxDurationMs"] = 5000.into();
    });
    let function = published.uri.to_string();
    let theirs = call(&world, &author, &function, json!(1), "k").await;
    assert_eq!(theirs.json()["logs"][0]["message"], "said", "{theirs:?}");
    assert_eq!(call(&world, &author, &function, json!(1), "k").await, theirs.again());
    let mine = call(&world, &world.caller(1), &function, json!(1), "k").await;
    assert_eq!((mine.status, mine.replayed, mine.json().get("logs")), (200, false, None), "{mine:?}");
}
