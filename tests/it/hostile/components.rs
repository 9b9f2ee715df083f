//! Components that do what core modules cannot.

use std::time::{Duration, Instant};

use at_functions::dev::Published;
use serde_json::json;

use crate::arena::*;
use crate::modules::*;
use crate::world::Answer;

/// A component of the ABI around a core module: what `realloc`, `run` and `post` do in it, and what
/// its memory holds besides the result at 16 (`ok`, with the text at 64, which is `7`).
fn component(fields: &str, realloc: &str, run: &str, post: &str) -> String {
    format!(
        r#"(component
             (core module $m
               (memory (export "memory") 1)
               (data (i32.const 16) "\00\00\00\00\40\00\00\00\01\00\00\00") (data (i32.const 64) "7")
               {fields}
               (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
               (func (export "run") (param i32 i32) (result i32) {run})
               (func (export "post") (param i32) {post}))
             (core instance $i (instantiate $m))
             (func (export "run") (param "input" string) (result (result string (error string)))
               (canon lift (core func $i "run") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))
                 (post-return (core func $i "post")))))"#
    )
}

const REALLOC: &str = "i32.const 1024";
const RUN: &str = "i32.const 16";

impl Arena {
    fn publish_component(&self, wasm: &[u8], millis: u64) -> Published {
        self.publish_record(wasm, |record| {
            record["mode"] = "component-v1".into();
            record["maxDurationMs"] = millis.into();
        })
    }

    async fn attack_with_component(&self, text: &str, millis: u64) -> Answer {
        self.call(&self.publish_component(&wasm(text), millis)).await
    }
}

pub(crate) async fn a_component_that_spins_anywhere_ends_at_its_limit(arena: &Arena) {
    let spin = "(loop $forever (br $forever)) unreachable";
    let cases = [
        ("realloc", component("", spin, RUN, "")),
        ("run", component("", REALLOC, spin, "")),
        ("post-return", component("", REALLOC, RUN, spin)),
        ("start", component("(func $spin (loop $forever (br $forever))) (start $spin)", REALLOC, RUN, "")),
    ];
    let sound = arena.attack_with_component(&component("", REALLOC, RUN, ""), 5_000).await;
    assert_eq!(sound.output(), &json!(7));
    for (place, text) in cases {
        let answer = arena.attack_with_component(&text, 100).await;
        failed(&answer, "timeout");
        assert!(duration(&answer) >= Duration::from_millis(100), "in {place}: {answer:?}");
        arena.within(place, duration(&answer), Duration::from_millis(130));
    }
}

pub(crate) async fn a_components_pointers_are_held_to_its_memory(arena: &Arena) {
    // The result is at 2048: `ok`, pointer and length as given.
    let answers = |pointer: u32, length: u32| {
        let words = [0, pointer, length];
        let stores: String = (0..3)
            .map(|n| format!("(i32.store (i32.const {}) (i32.const {}))", 2048 + 4 * n, words[n] as i32))
            .collect();
        component("(data (i32.const 128) \"\\ff\\fe\")", REALLOC, &format!("{stores} i32.const 2048"), "")
    };
    let cases = [
        ("past the end", answers(65_536, 1), "outputInvalid"),
        ("over the end", answers(65_535, 2), "outputInvalid"),
        ("4 GiB", answers(64, 0xffff_ffff), "outputInvalid"),
        ("no UTF-8", answers(128, 2), "outputInvalid"),
        ("a result out of bounds", component("", REALLOC, "i32.const 65535", ""), "outputInvalid"),
        ("a result that is unaligned", component("", REALLOC, "i32.const 17", ""), "outputInvalid"),
        ("a realloc out of bounds", component("", "i32.const 65535", RUN, ""), "outputInvalid"),
        (
            "a case that is none",
            component("(data (i32.const 16) \"\\02\")", REALLOC, RUN, ""),
            "outputInvalid",
        ),
        ("a trap in realloc", component("", "unreachable", RUN, ""), "trap"),
        ("a trap in post-return", component("", REALLOC, RUN, "unreachable"), "trap"),
    ];
    for (what, text, outcome) in cases {
        let answer = arena.attack_with_component(&text, 5_000).await;
        assert_eq!(answer.outcome(), outcome, "{what}: {answer:?}");
        tells_nothing_of_the_host(&answer.body);
    }
}

pub(crate) async fn component_bombs_are_refused_before_they_compile(arena: &Arena) {
    let empty = plain("(component)");
    let nested = (0..1_000).fold(empty.clone(), |inner, _| [&empty[..], &section(4, &inner)].concat());
    // Each level has two of the one below: thirty levels are a billion.
    let doubled = |levels: usize| {
        let level = |n: usize| {
            format!("(component $c{} (instance (instantiate $c{n})) (instance (instantiate $c{n})))", n + 1)
        };
        format!("(component (component $c0) {})", (0..levels).map(level).collect::<String>())
    };
    let instances = |count: usize| {
        format!("(component (core module $m) {})", "(core instance (instantiate $m))".repeat(count))
    };
    // The same with types: each is a tuple of two of the one below.
    let types = |levels: usize| {
        let level = |n: usize| format!("(type $t{} (tuple $t{n} $t{n}))", n + 1);
        format!("(component (type $t0 (tuple u8 u8)) {})", (0..levels).map(level).collect::<String>())
    };
    let aliases = format!(
        "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) {})",
        "(alias core export $i \"f\" (core func))".repeat(100_000)
    );
    let cases = [
        ("nested a thousand deep", nested),
        ("instances by the billion", plain(&doubled(30))),
        ("a hundred thousand instances", plain(&instances(100_000))),
        ("types by the billion", plain(&types(60))),
        ("a hundred thousand aliases", plain(&aliases)),
    ];
    for (what, code) in cases {
        let function = arena.publish_component(&code, 100);
        let began = Instant::now();
        let answer = arena.call(&function).await;
        assert_eq!(answer.error(), (400, "InvalidFunction"), "{what}: {answer:?}");
        tells_nothing_of_the_host(&answer.body);
        arena.within(what, began.elapsed(), Duration::from_secs(5));
    }
}

const STREAMS: &str = r#"
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-type))
  (import "wasi:io/streams@0.2.3" (instance $streams
    (alias outer 1 $error-type (type $error'))
    (export "error" (type $error (eq $error')))
    (type $stream-error' (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "output-stream" (type $output-stream (sub resource)))
    (export "[method]output-stream.blocking-write-and-flush" (func (param "self" (borrow $output-stream))
      (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output-stream-type))
  (import "wasi:cli/stdout@0.2.3" (instance $stdout
    (alias outer 1 $output-stream-type (type $output-stream'))
    (export "output-stream" (type $output-stream (eq $output-stream')))
    (export "get-stdout" (func (result (own $output-stream))))))
  (import "atfunc:runtime/log@0.2.0" (instance $log
    (type $level' (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
    (export "log" (func (param "level" $level) (param "message" string)))))
"#;

/// A component with the imports above, as `$stdout`, `$write`, `$drop` and `$log`; its result stands at 16,
/// and is `7`.
fn with_host(realloc: &str, run: &str) -> String {
    format!(
        r#"(component {STREAMS}
          (core module $libc (memory (export "memory") 64)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc}))
          (core instance $libc (instantiate $libc))
          (core func $stdout (canon lower (func $stdout "get-stdout")))
          (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
            (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
          (core func $drop (canon resource.drop $output-stream-type))
          (core func $log (canon lower (func $log "log") (memory (core memory $libc "memory"))))
          (core module $m
            (import "libc" "memory" (memory 64))
            (import "host" "stdout" (func $stdout (result i32)))
            (import "host" "write" (func $write (param i32 i32 i32 i32)))
            (import "host" "drop" (func $drop (param i32)))
            (import "host" "log" (func $log (param i32 i32 i32)))
            (data (i32.const 16) "\00\00\00\00\40\00\00\00\01\00\00\00") (data (i32.const 64) "7")
            (func (export "run") (param i32 i32) (result i32) (local $handle i32) {run} i32.const 16))
          (core instance $i (instantiate $m (with "libc" (instance $libc)) (with "host" (instance
            (export "stdout" (func $stdout)) (export "write" (func $write)) (export "drop" (func $drop))
            (export "log" (func $log))))))
          (func (export "run") (param "input-json" string) (result (result string (error string)))
            (canon lift (core func $i "run") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc")))))"#
    )
}

pub(crate) async fn handles_cannot_be_forged_doubled_or_hoarded(arena: &Arena) {
    let write = |handle: &str| format!("(call $write {handle} (i32.const 0) (i32.const 1) (i32.const 128))");
    let honest = format!(
        "(local.set $handle (call $stdout)) {} (call $drop (local.get $handle))",
        write("(local.get $handle)")
    );
    assert_eq!(arena.attack_with_component(&with_host(REALLOC, &honest), 5_000).await.output(), &json!(7));
    let cases = [
        ("nobody's", write("(i32.const 1)")),
        ("none", write("(i32.const 0)")),
        ("minus one", write("(i32.const -1)")),
        ("the next", write("(i32.add (call $stdout) (i32.const 1))")),
        (
            "dropped and used",
            format!("(call $drop (local.tee $handle (call $stdout))) {}", write("(local.get $handle)")),
        ),
        (
            "dropped twice",
            "(call $drop (local.tee $handle (call $stdout))) (call $drop (local.get $handle))".into(),
        ),
        ("a flood", "(loop $more (drop (call $stdout)) (br $more))".into()),
    ];
    for (what, body) in cases {
        let answer = arena.attack_with_component(&with_host(REALLOC, &body), 5_000).await;
        assert_eq!(answer.outcome(), "trap", "{what}: {answer:?}");
        tells_nothing_of_the_host(&answer.body);
    }
}

pub(crate) async fn what_a_host_call_is_given_is_checked_and_bounded(arena: &Arena) {
    let log = |level: i32, pointer: i32, length: i32| {
        with_host(
            REALLOC,
            &format!("(call $log (i32.const {level}) (i32.const {pointer}) (i32.const {length}))"),
        )
    };
    let cases = [
        ("2 MiB and a byte", log(1, 0, 0x20_0001)),
        ("past the end", log(1, 0x40_0000, 1)),
        ("4 GiB", log(1, 0, -1)),
        ("around", log(1, -1, -1)),
        ("a level that is none", log(4, 0, 1)),
        ("another", log(-1, 0, 1)),
        (
            "a list that goes around",
            with_host(REALLOC, "(call $write (call $stdout) (i32.const -1) (i32.const -1) (i32.const 128))"),
        ),
    ];
    for (what, text) in cases {
        let answer = arena.attack_with_component(&text, 5_000).await;
        assert_eq!(answer.outcome(), "trap", "{what}: {answer:?}");
        tells_nothing_of_the_host(&answer.body);
    }
    assert_eq!(arena.attack_with_component(&log(1, 0, 0x20_0000), 5_000).await.output(), &json!(7));
}

/// A component of two, the second of which calls the first with 32 bits as a value of this type, and
/// answers with the digit that the first saw.
fn handing_over(kind: &str, given: &str) -> String {
    format!(
        r#"(component
          (component $taker
            (type $kind' {kind}) (export $kind "kind" (type $kind'))
            (core module $m (func (export "take") (param i32) (result i32) (local.get 0)))
            (core instance $i (instantiate $m))
            (func (export "take") (param "it" $kind) (result u32) (canon lift (core func $i "take"))))
          (component $giver
            (import "taker" (instance $taker
              (type $kind' {kind}) (export "kind" (type $kind (eq $kind')))
              (export "take" (func (param "it" $kind) (result u32)))))
            (core func $take (canon lower (func $taker "take")))
            (core module $m
              (import "taker" "take" (func $take (param i32) (result i32)))
              (memory (export "memory") 1)
              (data (i32.const 16) "\00\00\00\00\40\00\00\00\01\00\00\00")
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
              (func (export "run") (param i32 i32) (result i32)
                (i32.store8 (i32.const 64) (i32.add (i32.const 0x30) (call $take (i32.const {given}))))
                i32.const 16))
            (core instance $i (instantiate $m (with "taker" (instance (export "take" (func $take))))))
            (func (export "run") (param "input" string) (result (result string (error string)))
              (canon lift (core func $i "run") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
          (instance $taker (instantiate $taker))
          (instance $giver (instantiate $giver (with "taker" (instance $taker))))
          (export "run" (func $giver "run")))"#
    )
}

pub(crate) async fn bits_that_stand_for_nothing_reach_nobody(arena: &Arena) {
    let flags = r#"(flags "a" "b" "c")"#;
    for (given, taken) in [("5", 5), ("0xfffffff8", 0), ("-1", 7), ("13", 5)] {
        let answer = arena.attack_with_component(&handing_over(flags, given), 5_000).await;
        assert_eq!(answer.output(), &json!(taken), "{given}");
    }
    let answer = arena.attack_with_component(&handing_over(r#"(enum "a" "b")"#, "2"), 5_000).await;
    failed(&answer, "trap");
}

pub(crate) async fn texts_in_two_bytes_are_held_to_the_memory_too(arena: &Arena) {
    // `ok`, and a text of so many units at 64.
    let text = |data: &str, pointer: i32, units: i32| {
        let fields = format!("(data (i32.const 128) \"{data}\")");
        let stores = format!(
            "(i32.store (i32.const 20) (i32.const {pointer})) (i32.store (i32.const 24) (i32.const {units})) i32.const 16"
        );
        component(&fields, REALLOC, &stores, "")
            .replace("(memory (core memory $i", "string-encoding=utf16 (memory (core memory $i")
    };
    assert_eq!(arena.attack_with_component(&text("7\\00", 128, 1), 5_000).await.output(), &json!(7));
    let cases = [
        ("half a pair", text("\\3d\\d8", 128, 1)),
        ("the other half", text("\\00\\de", 128, 1)),
        ("unaligned", text("7\\00", 129, 1)),
        ("past the end", text("", 65_536, 1)),
        ("twice too long", text("", 0, 0x8001)),
        ("around", text("", 64, -1)),
    ];
    for (what, text) in cases {
        let answer = arena.attack_with_component(&text, 5_000).await;
        assert_eq!(answer.outcome(), "outputInvalid", "{what}: {answer:?}");
        tells_nothing_of_the_host(&answer.body);
    }
}

pub(crate) async fn a_component_cannot_enter_itself_through_its_host(arena: &Arena) {
    // `run`, lowered again, called through a table that is filled at the end.
    let itself = r#"(component
      (core module $a
        (memory (export "memory") 1) (table (export "table") 1 funcref)
        (type $f (func (param i32 i32 i32)))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
        (func (export "run") (param i32 i32) (result i32)
          (call_indirect (type $f) (local.get 0) (local.get 1) (i32.const 16) (i32.const 0)) i32.const 16))
      (core instance $a (instantiate $a))
      (func $run (param "input-json" string) (result (result string (error string)))
        (canon lift (core func $a "run") (memory (core memory $a "memory")) (realloc (core func $a "realloc"))))
      (core func $again (canon lower (func $run) (memory (core memory $a "memory")) (realloc (core func $a "realloc"))))
      (core module $b
        (import "a" "table" (table 1 funcref)) (import "a" "again" (func $again (param i32 i32 i32)))
        (elem (i32.const 0) func $again))
      (core instance (instantiate $b (with "a" (instance
        (export "table" (table $a "table")) (export "again" (func $again))))))
      (export "run" (func $run)))"#;
    failed(&arena.attack_with_component(itself, 5_000).await, "trap");
}
