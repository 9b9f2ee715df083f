//! Damaged modules: most are refused, the rest do as they like.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::door::{BUMP, IMPORTS};
use super::*;

#[test]
fn whatever_is_compiled_ends_with_an_outcome() {
    let text = module_with(
        "(memory (export \"memory\") 2) (table 4 funcref) (elem (i32.const 0) func 0 1 2)
         (global $g (mut i32) (i32.const 3)) (data (i32.const 8) \"[1,2,3]\")
         (func $help (param i32) (result i32) (local i32)
           (loop $l (local.set 1 (i32.add (local.get 1) (i32.const 1)))
             (br_if $l (i32.lt_u (local.get 1) (local.get 0))))
           (if (result i32) (i32.eqz (local.get 0)) (then (memory.grow (i32.const 1))) (else (local.get 1))))",
        "(drop (call $help (local.get $length))) i32.const 1024",
        &format!(
            "(global.set $g (call_indirect (param i32) (result i32) (i32.const 5) (i32.const 0))) \
             (memory.copy (i32.const 2000) (i32.const 8) (global.get $g)) {}",
            output_at(8, 7)
        ),
    );
    let limits = Limits { memory_bytes: MIB, duration: Duration::from_millis(3), output_bytes: 64, ..WIDE };
    mutate(Mode::PureV1, &text, limits, 1_500);
}

#[test]
fn the_same_holds_where_there_are_imports() {
    let data = r#"(data (i32.const 8) "[1,2,3]\00") (data (i32.const 32) "{\22atUri\22:\22at://a/b/c\22}")"#;
    let host = format!(
        r#"(module {IMPORTS} (memory (export "memory") 2) {data} {BUMP}
             (func (export "run") (param i32 i32) (result i64)
               (drop (call $read_record (i32.const 32) (i32.const 23)))
               (drop (call $read_blob (local.get 0) (local.get 1)))
               (drop (call $list_collection (local.get 0) (local.get 1)))
               (drop (call $get_context))
               (call $log (i32.const 2) (i32.const 8) (i32.const 7))
               {}))"#,
        output_at(8, 7)
    );
    let wasi = format!(
        r#"(module
             (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "path_open"
               (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 2) {data} (data (i32.const 64) "\08\00\00\00\07\00\00\00\80\00\00\00\10\00\00\00")
             (func (export "_start")
               (drop (call $read (i32.const 0) (i32.const 72) (i32.const 1) (i32.const 128)))
               (drop (call $random (i32.const 512) (i32.const 64)))
               (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 3) (i32.const 128)))
               (drop (call $open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 7) (i32.const 0) (i64.const 0)
                 (i64.const 0) (i32.const 0) (i32.const 128)))
               (drop (call $write (i32.const 2) (i32.const 64) (i32.const 2) (i32.const 128)))
               (drop (call $write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 128)))
               (call $exit (i32.const 0))))"#
    );
    let cstr = format!(
        r#"(module (memory (export "memory") 2) {data} {BUMP}
             (func (export "execute") (param i32) (result i32)
               (memory.copy (i32.const 4096) (i32.const 8) (i32.const 8)) i32.const 4096))"#
    );
    let limits = Limits { memory_bytes: MIB, duration: Duration::from_millis(3), output_bytes: 64, ..WIDE };
    for (mode, text) in [(Mode::HostV1, host), (Mode::WasiV1, wasi), (Mode::CstrV1, cstr)] {
        mutate(mode, &text, limits, 700);
    }
}

/// Runs a module that answers `[1,2,3]`, and then damaged ones of it.
fn mutate(mode: Mode, text: &str, limits: Limits, cases: u32) {
    let harness = harness(2, 8);
    let original = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    let unhurried = Limits { duration: WIDE.duration, ..limits };
    let completion = harness.run(&harness.compile_as(mode, original.clone()).unwrap(), "{}", unhurried);
    assert_eq!(completion.result, Ok(Bytes::from("[1,2,3]")), "{mode}");

    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3);
    let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
    let mut runner = TestRunner::new(config);
    runner
        .run(&changes, |changes| {
            let mut code = original.clone();
            for (at, value) in changes {
                let at = at.index(code.len());
                code[at] = value;
            }
            match harness.compile_as(mode, code) {
                // `run` unwraps what is lost.
                Ok(artifact) => {
                    let completion = harness.run(&artifact, "{}", limits);
                    prop_assert!(completion.usage.peak_memory_bytes <= MIB);
                    prop_assert!(completion.wall < Duration::from_secs(2), "{:?}", completion.wall);
                }
                Err(error) => prop_assert!(matches!(error, CompileError::Refused(_)), "{error}"),
            }
            Ok(())
        })
        .unwrap();
    let load = harness.sandbox.load();
    assert_eq!((load.instances, load.stacks, load.compiling), (0, 0, 0));
}
