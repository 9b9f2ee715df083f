//! Functions that try to tell one run from another, or learn of the machine.

use std::collections::BTreeSet;

use at_functions::dev::Published;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::arena::*;
use crate::modules::*;

/// Calls a function so many times, sixteen at once, and gives all the outputs there were, byte for byte.
async fn outputs(arena: &Arena, function: &Published, input: &Value, times: usize) -> BTreeSet<String> {
    arena.makes_at_once(16);
    #[derive(serde::Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        output: &'a RawValue,
    }
    let body = json!({ "function": function.uri.to_string(), "input": input }).to_string();
    let mut outputs = BTreeSet::new();
    for _ in 0..times.div_ceil(16) {
        let calls =
            (0..16).map(|_| async { arena.world.request().body(body.clone()).send().await?.text().await });
        for text in futures_util::future::join_all(calls).await {
            let text = text.unwrap();
            let answer: Answer<'_> =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            outputs.insert(answer.output.get().to_owned());
        }
    }
    outputs
}

/// The bits of NaNs made in eight ways, as sixty-four hex digits in quotes.
fn nans() -> String {
    let sources = [
        "(i64.extend_i32_u (i32.reinterpret_f32 (f32.div (f32.const 0) (f32.const 0))))",
        "(i64.extend_i32_u (i32.reinterpret_f32 (f32.sqrt (f32.const -1))))",
        "(i64.extend_i32_u (i32.reinterpret_f32 (f32.add (f32.const nan:0x1) (f32.const 1))))",
        "(i64.reinterpret_f64 (f64.div (f64.const 0) (f64.const -0)))",
        "(i64.reinterpret_f64 (f64.sub (f64.const inf) (f64.const inf)))",
        "(i64.reinterpret_f64 (f64.min (f64.const nan:0x123) (f64.const 1)))",
        "(i64.reinterpret_f64 (f64.promote_f32 (f32.const nan:0x1)))",
        "(i64x2.extract_lane 1 (f64x2.mul (v128.const f64x2 inf nan:0x5) (v128.const f64x2 0 1)))",
    ];
    let written: String = sources
        .iter()
        .enumerate()
        .map(|(n, bits)| format!("(call $hex (i32.const {}) {bits})", 9 + 16 * n))
        .collect();
    format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 2000) "0123456789abcdef")
             (func $hex (param $at i32) (param $bits i64) (local $n i32)
               (loop $digits
                 (i32.store8 (i32.add (local.get $at) (local.get $n))
                   (i32.load8_u offset=2000 (i32.wrap_i64 (i64.shr_u (local.get $bits) (i64.const 60)))))
                 (local.set $bits (i64.shl (local.get $bits) (i64.const 4)))
                 (local.set $n (i32.add (local.get $n) (i32.const 1)))
                 (br_if $digits (i32.lt_u (local.get $n) (i32.const 16)))))
             (func (export "alloc") (param i32) (result i32) i32.const 1024)
             (func (export "run") (param i32 i32) (result i64)
               (i32.store8 (i32.const 8) (i32.const 0x22)) {written}
               (i32.store8 (i32.const 137) (i32.const 0x22)) {}))"#,
        output_at(8, 130)
    )
}

pub(crate) async fn the_bits_of_a_nan_are_the_same_always(arena: &Arena) {
    let code = wasm(&nans());
    let function = arena.publish(&code, LONG);
    // The one quiet NaN of each width, whatever went in.
    let (narrow, wide) = ("000000007fc00000", "7ff8000000000000");
    let bits = format!("\"{}{}\"", narrow.repeat(3), wide.repeat(5));
    let expected = BTreeSet::from([bits]);
    assert_eq!(outputs(arena, &function, &json!({}), 500).await, expected);
    // Of other authors, and so in other workers where there are any.
    for _ in 0..4 {
        let author = arena.stranger().await;
        let function = author.publish_record("nans", &code, patient);
        assert_eq!(outputs(arena, &function, &json!({}), 125).await, expected);
    }
    // And of another service, before and after a restart.
    let mut own = arena.another(&[]).await;
    let function = own.publish(&code, LONG);
    assert_eq!(outputs(&own, &function, &json!({}), 16).await, expected);
    own.until("at_functions_artifacts_stored_total", |now| now > 0).await;
    own.service.restart(|_| {}).await;
    assert_eq!(outputs(&own, &function, &json!({}), 16).await, expected);
    assert_eq!(own.service.metric("at_functions_compiles_total"), 0);
}

pub(crate) async fn the_same_input_gives_the_same_bytes_always(arena: &Arena) {
    let input = json!({ "b": [1.5e300, -0.0, "\u{1f600}", null], "a": { "deep": [[[]]] } });
    let output = r#"{"ok":true,"echo":{"a":{"deep":[[[]]]},"b":[1.5e+300,-0.0,"😀",null]},"mode":"pure-v1"}"#;
    let all = outputs(arena, arena.bystander(), &input, 1_000).await;
    assert_eq!(all, BTreeSet::from([output.to_owned()]));
}

pub(crate) async fn a_function_learns_nothing_of_the_run_it_is_in(arena: &Arena) {
    // What it was given, what its memory, table and stack hold, and how much there is of each: a digest
    // over all of it.
    let text = module(
        "(memory (export \"memory\") 2 100) (table $t 4 funcref) (global $g (mut i64) (i64.const 7))",
        "i32.const 1024",
        &format!(
            "(local $at i32) (local $digest i64)
             (local.set $digest (i64.extend_i32_u (memory.grow (i32.const 1))))
             (loop $words
               (local.set $digest (i64.add (i64.mul (local.get $digest) (i64.const 31)) (i64.load (local.get $at))))
               (local.set $at (i32.add (local.get $at) (i32.const 8)))
               (br_if $words (i32.lt_u (local.get $at) (i32.const 0x30000))))
             (local.set $digest (i64.add (local.get $digest) (i64.add (global.get $g)
               (i64.extend_i32_u (i32.add (local.get $pointer) (i32.add (local.get $length)
                 (i32.add (memory.size) (table.size $t))))))))
             (i64.store (i32.const 8) (i64.or (i64.const 0x3030303030303031)
               (i64.and (local.get $digest) (i64.const 0x0707070707070707))))
             {}",
            output_at(8, 8)
        ),
    );
    let function = arena.publish(&wasm(&text), LONG);
    let digests = outputs(arena, &function, &json!({ "same": "input" }), 500).await;
    assert_eq!(digests.len(), 1, "{digests:?}");
    // And there is nothing to ask: no clock, no random, no thread, no import at all.
    for import in ["clock_time_get", "random_get", "sched_yield", "environ_get", "args_get"] {
        let text = format!("(module (import \"wasi_snapshot_preview1\" \"{import}\" (func)))");
        assert!(arena.refusal(&wasm(&text)).await.contains(import));
    }
    let atomic = run("(drop (memory.atomic.notify (i32.const 0) (i32.const 1))) i64.const 0");
    assert!(arena.refusal(&wasm(&atomic)).await.contains("threads"));
}

pub(crate) async fn no_error_tells_of_the_host(arena: &Arena) {
    let trapping = [
        "unreachable",
        "(drop (i32.load (i32.const -4))) i64.const 0",
        "(drop (i32.div_u (i32.const 1) (i32.const 0))) i64.const 0",
        "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1))) i64.const 0",
        "(drop (i32.trunc_f64_s (f64.const nan))) i64.const 0",
        "(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2)) i64.const 0",
    ];
    for body in trapping {
        failed(&arena.attack(&run(body), LONG).await, "trap");
    }
    let named = run("unreachable")
        .replace("(func (export \"run\")", "(func $r (@name \"\\1b[31m/etc/\\0a\") (export \"run\")");
    let answer = arena.attack(&named, LONG).await;
    failed(&answer, "trap");
    assert!(!answer.body["error"].as_str().unwrap().contains('\u{1b}'), "{answer:?}");
    let refused: [&[u8]; 4] = [b"", b"not wasm", b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f", b"\x7fELF"];
    for code in refused {
        let function = arena.publish(code, USUAL);
        let answer = arena.call(&function).await;
        assert_eq!(answer.error(), (400, "InvalidFunction"), "{answer:?}");
        tells_nothing_of_the_host(&answer.body);
    }
}
