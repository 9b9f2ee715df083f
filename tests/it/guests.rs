//! Guests that misbehave, through the HTTP server: what the caller is told, and that nobody else notices.

use serde_json::json;

use crate::patience::soon;
use crate::world::{ECHO, World, answer};

/// A pure-v1 module around these functions, with one page of memory and an `alloc` at 1024.
fn module(run: &str) -> Vec<u8> {
    module_with(r#"(func (export "alloc") (param i32) (result i32) i32.const 1024)"#, run)
}

fn module_with(alloc: &str, run: &str) -> Vec<u8> {
    let text = format!(
        r#"(module (memory (export "memory") 1)
             (data (i32.const 0) "{{\"ok\":true}}") (data (i32.const 16) "\ff\fe{{\"a\":[1,2")
             {alloc} (func (export "run") (param i32 i32) (result i64) {run}))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn what_a_guest_does_wrong_is_its_outcome() {
    let answers = |ptr: u64, len: u64| format!("i64.const {}", (ptr << 32 | len) as i64);
    let cases = [
        ("ok", module(&answers(0, 11)), "ok"),
        ("unreachable", module("unreachable"), "trap"),
        ("division by zero", module("(drop (i32.div_u (i32.const 1) (i32.const 0))) i64.const 0"), "trap"),
        ("endless loop", module("(loop $l (br $l)) i64.const 0"), "timeout"),
        (
            "endless recursion",
            module_with(
                r#"(func $f (export "alloc") (param i32) (result i32) (call $f (local.get 0)))"#,
                "i64.const 0",
            ),
            "trap",
        ),
        ("nothing written", module("i64.const 0"), "outputInvalid"),
        ("no UTF-8", module(&answers(16, 2)), "outputInvalid"),
        ("half a value", module(&answers(18, 8)), "outputInvalid"),
        ("two values", module(&answers(0, 12)), "outputInvalid"),
        ("past the memory", module(&answers(65_530, 11)), "outputInvalid"),
        ("pointer and length overflow", module(&answers(0xffff_ffff, 0xffff_ffff)), "outputInvalid"),
        (
            "over the cap",
            module(&format!("(drop (memory.grow (i32.const 20))) {}", answers(0, 1024 * 1024 + 1))),
            "outputTooLarge",
        ),
        (
            "trap after refused growth",
            module(
                "(if (i32.eq (memory.grow (i32.const 10000)) (i32.const -1)) (then unreachable)) i64.const 0",
            ),
            "memoryExceeded",
        ),
        (
            "alloc gives null",
            module_with(r#"(func (export "alloc") (param i32) (result i32) i32.const 0)"#, "i64.const 0"),
            "outputInvalid",
        ),
    ];
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    for (n, (what, wasm, outcome)) in cases.into_iter().enumerate() {
        let published = world.publish(&format!("g{n}"), wasm);
        let answer = world.run(&published.uri, json!({})).await;
        if outcome == "ok" {
            assert_eq!(answer.output(), &json!({ "ok": true }), "{what}");
            continue;
        }
        assert_eq!(answer.outcome(), outcome, "{what}: {answer:?}");
        assert!(!answer.body["error"].as_str().unwrap().is_empty(), "{what}: {answer:?}");
        assert!(
            answer.body["usage"].is_object() && answer.body["functionCid"].is_string(),
            "{what}: {answer:?}"
        );
        assert!(!answer.body.to_string().contains(env!("CARGO_MANIFEST_DIR")), "{what}: {answer:?}");
    }
    assert_eq!(world.run(&echo.uri, json!(1)).await.output()["echo"], 1);
}

#[tokio::test]
async fn modules_that_are_no_pure_functions_are_refused_with_the_reason() {
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let cases = [
        (b"not wasm".to_vec(), "WebAssembly"),
        (ECHO[..ECHO.len() / 2].to_vec(), "module"),
        (wat(r#"(component)"#), "component"),
        (wat(r#"(module)"#), "memory"),
        (wat(r#"(module (memory (export "memory") 1))"#), "alloc"),
        (
            wat(
                r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) i32.const 0))"#,
            ),
            "run",
        ),
        (
            wat(
                r#"(module (memory (export "memory") 1) (func (export "alloc") (param i64) (result i32) i32.const 0)
                 (func (export "run") (param i32 i32) (result i64) i64.const 0))"#,
            ),
            "alloc",
        ),
        (
            wat(
                r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))))"#,
            ),
            "fd_write",
        ),
        (
            wat(r#"(module (import "host" "host_read_record" (func (param i32 i32) (result i64))))"#),
            "host_read_record",
        ),
        (wat(r#"(module (memory (export "memory") i64 1))"#), "memory64"),
        (wat(r#"(module (memory (export "memory") 1 1 shared))"#), "thread"),
    ];
    let world = World::start().await;
    for (n, (wasm, word)) in cases.into_iter().enumerate() {
        let published = world.publish(&format!("m{n}"), wasm);
        let answer = world.run(&published.uri, json!({})).await;
        assert_eq!(answer.error(), (400, "InvalidFunction"), "case {n} ({word}): {answer:?}");
        assert!(
            answer.message().to_lowercase().contains(&word.to_lowercase()),
            "case {n} ({word}): {answer:?}"
        );
    }
}

#[tokio::test]
async fn spinning_guests_do_not_keep_others_waiting() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let spinner = world.publish_record("spin", &module("(loop $l (br $l)) i64.const 0"), |record| {
        record["maxDurationMs"] = 3000.into();
    });
    assert_eq!(world.run(&echo.uri, json!(0)).await.output()["echo"], 0);
    let body = json!({ "function": spinner.uri.to_string(), "input": {} }).to_string();
    let spinners: Vec<_> = (0..8).map(|_| tokio::spawn(answer(world.request().body(body.clone())))).collect();
    soon(async || world.stats().sandbox.instances == 8).await;
    for n in 0..5 {
        assert_eq!(world.run(&echo.uri, json!(n)).await.output()["echo"], n);
    }
    // Did others wait for them, these would have ended first.
    assert!(spinners.iter().all(|spinner| !spinner.is_finished()));
    for spinner in spinners {
        spinner.abort();
    }
}

#[tokio::test]
async fn the_operators_limit_wins_where_it_is_lower() {
    use at_functions::config::{Anonymous, Settings};
    let settings = Settings {
        anonymous: Some(Anonymous::Public),
        max_duration_ms: Some(50),
        max_memory_mb: Some(2),
        ..Settings::default()
    };
    let world = World::start_with(settings).await;
    let spinner = world.publish_record("spin", &module("(loop $l (br $l)) i64.const 0"), |record| {
        record["maxDurationMs"] = 5000.into();
    });
    let timeout = world.run(&spinner.uri, json!({})).await;
    assert_eq!(timeout.outcome(), "timeout");
    assert_eq!(timeout.body["error"], "the function did not finish within 50 ms (maxDurationMs)");
    let grower = world.publish_record(
        "grow",
        &module("(if (i32.eq (memory.grow (i32.const 32)) (i32.const -1)) (then unreachable)) i64.const 11"),
        |record| record["maxMemoryMb"] = 256.into(),
    );
    assert_eq!(world.run(&grower.uri, json!({})).await.outcome(), "memoryExceeded");
}
