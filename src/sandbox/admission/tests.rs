mod bounds;
mod modes;

use proptest::prelude::*;

use super::exports::ValueType::{I32, I64};
use super::*;

fn judge(text: &str) -> Result<Admitted, Refusal> {
    judge_as(Mode::PureV1, text)
}

fn judge_as(mode: Mode, text: &str) -> Result<Admitted, Refusal> {
    let code = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    admit(mode, &code)
}

const ALLOC: &str = r#"(func (export "alloc") (param i32) (result i32) i32.const 1024)"#;
const RUN: &str = r#"(func (export "run") (param i32 i32) (result i64) i64.const 0)"#;
const MEMORY: &str = r#"(memory (export "memory") 1)"#;

/// A module of the ABI with `fields` beside.
fn with(fields: &str) -> String {
    format!("(module {MEMORY} {ALLOC} {RUN} {fields})")
}

/// A module of the ABI with one more function, of this body.
fn body(instructions: &str) -> String {
    with(&format!("(func {instructions})"))
}

#[test]
fn a_module_of_the_abi_passes_and_its_initial_memory_is_known() {
    let plain = with("");
    assert_eq!(judge(&plain), Ok(Admitted { initial_bytes: 65_536 }));
    let table = with("(table 100 funcref)");
    assert_eq!(judge(&table).unwrap().initial_bytes, 65_536 + 800);
}

#[test]
fn what_compilers_emit_passes() {
    let cases = [
        with(r#"(func (export "dealloc") (param i32 i32))"#),
        with("(func $start) (start $start)"),
        with("(table 2 funcref) (elem (i32.const 0) func 0 1)"),
        with(r#"(data (i32.const 16) "abc") (data "passive")"#),
        with(
            r#"(global $g (mut i32) (i32.const 1)) (export "g" (global $g)) (export "__heap_base" (global $g))"#,
        ),
        with("(global i32 (i32.add (i32.const 1) (i32.const 2)))"),
        with(r#"(func (export "two") (result i32 i32) i32.const 1 i32.const 2)"#),
        body("(drop (i32.extend8_s (i32.const 1))) (drop (i32.trunc_sat_f64_s (f64.const 1)))"),
        body("(memory.copy (i32.const 0) (i32.const 1) (i32.const 2))"),
        body("(drop (i8x16.add (v128.const i64x2 1 2) (v128.const i64x2 1 2)))"),
        body("(drop (ref.is_null (ref.null func)))"),
        format!(
            "(module (memory 1) {ALLOC} {RUN} (export \"memory\" (memory 0)) (@custom \"producers\" \"x\"))"
        ),
    ];
    for text in cases {
        judge(&text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
    }
}

#[test]
fn what_is_no_core_module_is_refused_by_its_header() {
    let long = vec![0; MAX_MODULE_BYTES + 1];
    let cases: [(&[u8], Refusal); 10] = [
        (b"", Refusal::NotWasm),
        (b"\0as", Refusal::NotWasm),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0", Refusal::NotWasm),
        (b"<!doctype html><html></html>", Refusal::NotWasm),
        (b"(module)", Refusal::NotWasm),
        (b"\0asm", Refusal::Version),
        (b"\0asm\x01\0\0", Refusal::Version),
        (b"\0asm\x02\0\0\0", Refusal::Version),
        (b"\0asm\x0d\0\x01\0", Refusal::Component { mode: Mode::PureV1 }),
        (&long, Refusal::TooLong { bytes: MAX_MODULE_BYTES + 1 }),
    ];
    for (code, refusal) in cases {
        assert_eq!(admit(Mode::PureV1, code), Err(refusal), "{:?}", &code[..code.len().min(20)]);
    }
}

#[test]
fn a_module_cut_off_anywhere_is_refused() {
    // Its last section is its code, which no module of the ABI can do without.
    let code = wat::parse_str(with("(table 1 funcref) (elem (i32.const 0) 0)")).unwrap();
    assert!(admit(Mode::PureV1, &code).is_ok());
    for end in 0..code.len() {
        assert!(admit(Mode::PureV1, &code[..end]).is_err(), "{end} of {} bytes", code.len());
    }
}

#[test]
fn imports_are_refused_by_name() {
    let cases = [
        (r#"(import "env" "host_read_record" (func))"#, "env.host_read_record", "a function"),
        (
            r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#,
            "wasi_snapshot_preview1.fd_write",
            "a function",
        ),
        (r#"(import "env" "memory" (memory 1))"#, "env.memory", "a memory"),
        (r#"(import "env" "table" (table 1 funcref))"#, "env.table", "a table"),
        (r#"(import "a\n" "\1b[0m" (global i32))"#, "a\\n.\\u{1b}[0m", "a global"),
    ];
    for (field, import, kind) in cases {
        let text = format!("(module {field})");
        assert_eq!(judge(&text), Err(Refusal::Import { mode: Mode::PureV1, import: import.into(), kind }));
    }
    let long = judge(&format!(r#"(module (import "{}" "x" (func)))"#, "m".repeat(5_000))).unwrap_err();
    assert!(long.to_string().len() < 250);
}

#[test]
fn an_empty_import_section_is_none() {
    let mut code = wat::parse_str(with("")).unwrap();
    // After the header: section 2 of one byte, which says that nothing follows.
    let types_end = 8 + 2 + usize::from(code[9]);
    code.splice(types_end..types_end, [2, 1, 0]);
    assert_eq!(admit(Mode::PureV1, &code), Ok(Admitted { initial_bytes: 65_536 }));
}

#[test]
fn missing_exports_are_named() {
    let run = ExportKind::Function(&[I32, I32], &[I64]);
    let cases = [
        ("(module)".into(), "memory", ExportKind::Memory),
        (format!("(module (memory 1) {ALLOC} {RUN})"), "memory", ExportKind::Memory),
        (format!("(module {MEMORY} {RUN})"), "alloc", ExportKind::Function(&[I32], &[I32])),
        (format!("(module {MEMORY} {ALLOC})"), "run", run),
    ];
    for (text, name, expected) in cases {
        assert_eq!(judge(&text), Err(Refusal::MissingExport { name, expected, likely: None }), "{text}");
    }
    let refusal = judge(&format!("(module {MEMORY} {ALLOC})")).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the module does not export `run`, which must be a function (i32, i32) -> (i64)"
    );
}

#[test]
fn exports_of_another_type_are_named_with_both_types() {
    let cases = [
        (
            format!(r#"(module (func (export "memory")) {ALLOC} {RUN})"#),
            "the module's export `memory` must be a memory, but is a function",
        ),
        (
            format!(
                r#"(module {MEMORY} (func (export "alloc") (param i64) (result i32) i32.const 0) {RUN})"#
            ),
            "the module's export `alloc` must be a function (i32) -> (i32), but is a function (i64) -> (i32)",
        ),
        (
            format!(r#"(module {MEMORY} {ALLOC} (global (export "run") i32 (i32.const 0)))"#),
            "the module's export `run` must be a function (i32, i32) -> (i64), but is a global",
        ),
        (
            format!(r#"(module {MEMORY} {ALLOC} (table (export "run") 1 funcref))"#),
            "the module's export `run` must be a function (i32, i32) -> (i64), but is a table",
        ),
        (
            format!(
                r#"(module {MEMORY} {ALLOC} (func (export "run") (param i32 i32) (result i32) i32.const 0))"#
            ),
            "the module's export `run` must be a function (i32, i32) -> (i64), but is a function (i32, i32) -> (i32)",
        ),
        (
            with(r#"(func (export "dealloc") (param i32))"#),
            "the module's export `dealloc` must be a function (i32, i32) -> (), but is a function (i32) -> ()",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(judge(&text).unwrap_err().to_string(), message);
    }
}

#[test]
fn parts_of_webassembly_that_are_off_are_named() {
    let cases = [
        ("threads", format!(r#"(module (memory (export "memory") 1 1 shared) {ALLOC} {RUN})"#)),
        ("threads", body("(drop (i32.atomic.load (i32.const 0)))")),
        ("64-bit memories", format!(r#"(module (memory (export "memory") i64 1) {ALLOC} {RUN})"#)),
        (
            "relaxed SIMD",
            body("(drop (i8x16.relaxed_swizzle (v128.const i64x2 1 2) (v128.const i64x2 1 2)))"),
        ),
        ("tail calls", with("(func $f (return_call $f))")),
        ("exception handling", with("(tag $t) (func (throw $t))")),
        ("exception handling", body("(try_table)")),
        ("garbage collection", with("(type (struct))")),
        ("garbage collection", body("(drop (ref.i31 (i32.const 1)))")),
        ("references to host values", with("(table 1 externref)")),
        (
            "typed function references",
            with("(type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0)))"),
        ),
        ("custom page sizes", format!(r#"(module (memory (export "memory") 1 (pagesize 1)) {ALLOC} {RUN})"#)),
        ("wide arithmetic", body("(i64.mul_wide_u (i64.const 1) (i64.const 1)) drop drop")),
    ];
    for (expected, text) in cases {
        match judge(&text) {
            Err(Refusal::Feature { name, .. }) => assert_eq!(name, expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let refusal = judge(&with("(func $f (return_call $f))")).unwrap_err().to_string();
    assert!(refusal.starts_with("the module uses tail calls, which is not supported: "), "{refusal}");
    assert!(refusal.ends_with(" (compile with -C target-feature=-tail-call)"), "{refusal}");
}

#[test]
fn invalid_code_is_refused_with_its_place() {
    let mut code = wat::parse_str(body("(drop (i32.const 7))")).unwrap();
    let at = code.windows(4).rposition(|window| window == [0x41, 7, 0x1a, 0x0b]).unwrap();
    // i64.const where the drop would be: the value stays on the stack.
    code[at + 2] = 0x01;
    match admit(Mode::PureV1, &code) {
        Err(Refusal::Malformed { reason, offset }) => {
            assert_eq!(offset, at + 3);
            assert!(reason.starts_with("type mismatch"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

fn rich_module() -> Vec<u8> {
    wat::parse_str(with(
        r#"(table 4 funcref) (elem (i32.const 0) func 0 1) (global (mut i64) (i64.const 5))
           (data (i32.const 100) "some data") (data "passive")
           (func (param i32) (result i32) (local i64 f64)
             (block (loop (br_if 1 (local.get 0)) (br_table 0 1 0 (local.get 0))))
             (if (result i32) (local.get 0) (then (call 0 (i32.const 1))) (else (i32.const 3))))
           (func (drop (f64x2.splat (f64.const 1))))"#,
    ))
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3_000) })]

    /// Neither panics on damaged modules, and the engine accepts whatever admission lets in.
    #[test]
    fn what_is_admitted_is_valid_to_the_engine(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut code = rich_module();
        for (at, value) in changes {
            let at = at.index(code.len());
            code[at] = value;
        }
        thread_local!(static ENGINE: wasmtime::Engine = crate::sandbox::engine::build(4).unwrap().engine);
        if admit(Mode::PureV1, &code).is_ok() {
            let valid = ENGINE.with(|engine| wasmtime::Module::validate(engine, &code));
            prop_assert!(valid.is_ok(), "{valid:?}");
        }
    }
}
