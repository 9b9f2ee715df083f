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
fn too_much_of_anything_is_refused_before_it_is_compiled() {
    let repeat = |text: &str, times: usize| text.repeat(times);
    let names =
        |times: usize| -> String { (0..times).map(|i| format!("(export \"e{i}\" (func 0))")).collect() };
    let limit = Bound::limit;
    let cases = [
        (Bound::Memories, format!("(module {MEMORY} {} {ALLOC} {RUN})", repeat("(memory 1)", 99)), 100),
        (Bound::Tables, with(&repeat("(table 1 funcref)", 2)), 2),
        (Bound::InitialPages, format!(r#"(module (memory (export "memory") 4097) {ALLOC} {RUN})"#), 4_097),
        (Bound::InitialPages, format!(r#"(module (memory (export "memory") 65536) {ALLOC} {RUN})"#), 65_536),
        (Bound::TableElements, with("(table 10000000 funcref)"), 10_000_000),
        (Bound::Functions, with(&repeat("(func)", limit(Bound::Functions))), limit(Bound::Functions) + 2),
        (Bound::Types, with(&types(limit(Bound::Types))), limit(Bound::Types) + 2),
        (Bound::Signature, with(&format!("(type (func (param {})))", repeat("i32 ", 101))), 101),
        (Bound::Signatures, with(&wide_types(101)), 10_001),
        (
            Bound::Globals,
            with(&repeat("(global i32 (i32.const 0))", limit(Bound::Globals) + 1)),
            limit(Bound::Globals) + 1,
        ),
        (Bound::Exports, with(&names(limit(Bound::Exports))), limit(Bound::Exports) + 3),
        (
            Bound::DataSegments,
            with(&repeat("(data (i32.const 0) \"\")", limit(Bound::DataSegments) + 1)),
            limit(Bound::DataSegments) + 1,
        ),
        (
            Bound::ElementEntries,
            with(&format!("(elem func {})", repeat("0 ", limit(Bound::ElementEntries)))),
            limit(Bound::ElementEntries) + 1,
        ),
        (Bound::Locals, body(&repeat("(local i32)", limit(Bound::Locals) + 1)), limit(Bound::Locals) + 1),
        (
            Bound::TotalLocals,
            with(&repeat(&format!("(func (local {}))", repeat("i32 ", 4_000)), 51)),
            204_000,
        ),
        (Bound::BodyBytes, body(&repeat("nop ", 262_144)), 262_146),
        (Bound::Nesting, body(&format!("{}{}", repeat("block ", 1_024), repeat("end ", 1_024))), 1_025),
        (Bound::ControlFlow, body(&repeat("loop end ", 6_667)), 20_001 * 20_001),
        (
            Bound::ControlFlow,
            with(&repeat(&format!("(func {})", repeat("loop end ", 1_000)), 45)),
            405_000_000,
        ),
        (Bound::ControlFlow, body(&repeat("(if (i32.const 0) (then))", 20_001)), 20_001 * 20_001),
        (Bound::ControlFlow, body(&repeat("(block (br_if 0 (i32.const 0)))", 20_001)), 20_001 * 20_001),
        (
            Bound::ControlFlow,
            body(&format!("(br_table {} (i32.const 0))", repeat("0 ", 20_001))),
            20_001 * 20_001,
        ),
        (
            Bound::ControlFlow,
            body(&format!(
                "(local {}) {} {}",
                repeat("i32 ", 4_000),
                repeat("loop ", 100),
                repeat("end ", 100)
            )),
            300 * 300 + 400_000 * (400_000 / 200),
        ),
    ];
    for (bound, text, found) in cases {
        assert_eq!(judge(&text), Err(Refusal::TooMuch { bound, found }));
    }
    let refusal = judge(&with("(table 10000000 funcref)")).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the module has 10000000 initial table elements; at most 20000 are allowed"
    );
}

fn types(count: usize) -> String {
    // All different, or the text format would fold them into one.
    (0..count)
        .map(|n| {
            let params: String = (0..11).map(|bit| if n >> bit & 1 == 1 { "i32 " } else { "i64 " }).collect();
            format!("(type (func (param {params})))")
        })
        .collect()
}

fn wide_types(count: usize) -> String {
    (0..count)
        .map(|n| {
            let bits: String = (0..8).map(|bit| if n >> bit & 1 == 1 { "i32 " } else { "i64 " }).collect();
            format!("(type (func (param {bits} {})))", "i32 ".repeat(91))
        })
        .collect()
}

#[test]
fn locals_by_the_billion_are_refused_without_counting_over() {
    // Two groups of 4,294,967,295 locals each, which no text format writes down.
    let mut code = wat::parse_str(body("(local i32) (local i64)")).unwrap();
    let groups = [2, 1, 0x7f, 1, 0x7e];
    let at = code.windows(5).rposition(|window| window == groups).unwrap();
    let many = [2, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7e];
    code.splice(at..at + 5, many);
    // The lengths around it grow by as much: the body's, just before, and the section's.
    code[at - 1] += 8;
    let section = code.windows(2).position(|window| window[0] == 10 && window[1] < 40).unwrap();
    code[section + 1] += 8;
    assert_eq!(
        admit(Mode::PureV1, &code),
        Err(Refusal::Malformed { reason: "too many locals".into(), offset: at + 12 })
    );
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

const EXECUTE: &str = r#"(func (export "execute") (param i32) (result i32) i32.const 0)"#;
const START: &str = r#"(func (export "_start"))"#;

#[test]
fn each_mode_of_core_modules_has_its_own_exports() {
    let malloc = ALLOC.replace("alloc", "malloc");
    let cases = [
        (Mode::HostV1, with("")),
        (Mode::CstrV1, format!("(module {MEMORY} {ALLOC} {EXECUTE})")),
        (Mode::CstrV1, format!("(module {MEMORY} {malloc} {EXECUTE})")),
        (Mode::CstrV1, format!("(module {MEMORY} {malloc} {ALLOC} {EXECUTE})")),
        (Mode::WasiV1, format!("(module {MEMORY} {START})")),
    ];
    for (mode, text) in cases {
        judge_as(mode, &text).unwrap_or_else(|refusal| panic!("{mode} {text}: {refusal}"));
    }
    let refused = [
        (
            Mode::CstrV1,
            format!("(module {MEMORY} {EXECUTE})"),
            "the module does not export `alloc` or `malloc`, which must be a function (i32) -> (i32)",
        ),
        (
            Mode::CstrV1,
            format!("(module {MEMORY} (func (export \"alloc\")) {malloc} {EXECUTE})"),
            "the module's export `alloc` must be a function (i32) -> (i32), but is a function () -> ()",
        ),
        (
            Mode::CstrV1,
            with(""),
            "the module does not export `execute`, which must be a function (i32) -> (i32) (it looks as if it were \
             built for mode pure-v1)",
        ),
        (
            Mode::HostV1,
            format!("(module {MEMORY} {ALLOC} {EXECUTE})"),
            "the module does not export `run`, which must be a function (i32, i32) -> (i64) (it looks as if it were \
             built for mode cstr-v1)",
        ),
        (
            Mode::PureV1,
            format!("(module {MEMORY} {START})"),
            "the module does not export `alloc`, which must be a function (i32) -> (i32) (it looks as if it were \
             built for mode wasi-v1)",
        ),
        (
            Mode::WasiV1,
            format!("(module {MEMORY} (func (export \"_initialize\")))"),
            "the module does not export `_start`, which must be a function () -> ()",
        ),
        (
            Mode::WasiV1,
            format!("(module {MEMORY} (func (export \"_start\") (result i32) i32.const 0))"),
            "the module's export `_start` must be a function () -> (), but is a function () -> (i32)",
        ),
        (
            Mode::WasiV1,
            format!("(module {START})"),
            "the module does not export `memory`, which must be a memory",
        ),
    ];
    for (mode, text, message) in refused {
        assert_eq!(judge_as(mode, &text).unwrap_err().to_string(), message, "{mode}");
    }
}

#[test]
fn each_mode_of_core_modules_has_its_own_imports() {
    let host = |module: &str| -> String {
        imports::HOST.iter().map(|function| import(module, function)).collect::<Vec<_>>().join(" ")
    };
    let wasi: String =
        imports::WASI.iter().map(|function| import("wasi_snapshot_preview1", function)).collect();
    let (both, twice) = (format!("{} {}", host("host"), host("env")), host("host").repeat(2));
    for imports in [host("host"), host("env"), both, twice] {
        let text = format!("(module {imports} {MEMORY} {ALLOC} {RUN})");
        assert_eq!(judge_as(Mode::HostV1, &text), Ok(Admitted { initial_bytes: 65_536 }));
        let hint = "(publish it as host-v1; only that mode of core modules has host calls)";
        for mode in [Mode::PureV1, Mode::WasiV1, Mode::CstrV1] {
            let message = judge_as(mode, &text).unwrap_err().to_string();
            assert!(message.ends_with(&format!("which mode {mode} does not have {hint}")), "{message}");
        }
    }
    let text = format!("(module {wasi} {MEMORY} {START})");
    assert_eq!(judge_as(Mode::WasiV1, &text), Ok(Admitted { initial_bytes: 65_536 }));
    for mode in [Mode::PureV1, Mode::HostV1, Mode::CstrV1] {
        let expected = format!(
            "the module imports a function `wasi_snapshot_preview1.args_get`, which mode {mode} does not have (publish \
             it as wasi-v1 if it is a command, or build for wasm32-unknown-unknown)"
        );
        assert_eq!(judge_as(mode, &text).unwrap_err().to_string(), expected);
    }
}

fn import(module: &str, function: &HostFunction) -> String {
    let list = |types: &[ValueType]| types.iter().map(|ty| format!("{ty} ")).collect::<String>();
    let HostFunction { name, params, results } = function;
    format!("(import \"{module}\" \"{name}\" (func (param {}) (result {})))", list(params), list(results))
}

#[test]
fn an_import_that_no_mode_has_is_refused_with_what_to_do() {
    use Mode::{CstrV1, HostV1, PureV1, WasiV1};
    let cases = [
        (WasiV1, "wasi_snapshot_preview1", "fd_steal", " (it has the functions of WASI preview 1)"),
        (WasiV1, "wasi_unstable", "fd_write", " (build for wasm32-wasip1: this is another version of WASI)"),
        (
            PureV1,
            "wasi",
            "thread-spawn",
            " (build for wasm32-unknown-unknown: this is another version of WASI)",
        ),
        (CstrV1, "env", "abort", " (AssemblyScript: build with `--use abort=`)"),
        (PureV1, "env", "emscripten_notify_memory_growth", " (Emscripten: build with -sSTANDALONE_WASM)"),
        (PureV1, "__wbindgen_placeholder__", "x", " (build without wasm-bindgen)"),
        (CstrV1, "a", "b", " (it has no imports)"),
        (
            HostV1,
            "host",
            "host_write_record",
            " (it has host_read_record, host_read_blob, host_list_collection, host_get_context, host_log)",
        ),
        (WasiV1, "env", "system", " (it has the functions of `wasi_snapshot_preview1`)"),
    ];
    for (mode, module, name, hint) in cases {
        let text = format!(r#"(module (import "{module}" "{name}" (func)))"#);
        assert_eq!(
            judge_as(mode, &text).unwrap_err().to_string(),
            format!("the module imports a function `{module}.{name}`, which mode {mode} does not have{hint}")
        );
    }
    let memory = judge_as(HostV1, r#"(module (import "env" "memory" (memory 1)))"#).unwrap_err();
    assert_eq!(
        memory.to_string(),
        "the module imports a memory `env.memory`, which mode host-v1 does not have (build without \
         --import-memory: the module has its own)"
    );
    // The right name for something that is no function.
    let global = judge_as(HostV1, r#"(module (import "host" "host_log" (global i32)))"#).unwrap_err();
    assert_eq!(global, Refusal::Import { mode: HostV1, import: "host.host_log".into(), kind: "a global" });
}

#[test]
fn an_import_of_another_type_is_refused_with_both_types() {
    let cases = [
        (
            Mode::HostV1,
            r#"(module (import "host" "host_read_record" (func (param i32 i32) (result i32))))"#,
            "the module imports `host.host_read_record` as a function (i32, i32) -> (i32), but it is a function \
             (i32, i32) -> (i64)",
        ),
        (
            Mode::HostV1,
            r#"(module (import "env" "host_log" (func (param i32 i32 i32)))
                 (import "env" "host_log" (func (param i64 i32 i32))))"#,
            "the module imports `env.host_log` as a function (i64, i32, i32) -> (), but it is a function (i32, i32, \
             i32) -> ()",
        ),
        (
            Mode::WasiV1,
            r#"(module (import "wasi_snapshot_preview1" "fd_seek" (func (param i32 i32 i32 i32) (result i32))))"#,
            "the module imports `wasi_snapshot_preview1.fd_seek` as a function (i32, i32, i32, i32) -> (i32), but it \
             is a function (i32, i64, i32, i32) -> (i32)",
        ),
    ];
    for (mode, text, message) in cases {
        assert_eq!(judge_as(mode, text).unwrap_err().to_string(), message);
    }
}

#[test]
fn imports_are_counted() {
    let log = r#"(import "host" "host_log" (func (param i32 i32 i32)))"#;
    let text = |count: usize| format!("(module {} {MEMORY} {ALLOC} {RUN})", log.repeat(count));
    assert_eq!(judge_as(Mode::HostV1, &text(1_000)), Ok(Admitted { initial_bytes: 65_536 }));
    assert_eq!(
        judge_as(Mode::HostV1, &text(1_001)),
        Err(Refusal::TooMuch { bound: Bound::Imports, found: 1_001 })
    );
}

#[test]
fn a_component_and_a_core_module_are_told_apart_with_the_mode_that_fits() {
    let component = b"\0asm\x0d\0\x01\0";
    let expected = |mode: &str, target: &str| {
        format!(
            "this is a component; mode {mode} takes a core module (publish it as component-v1, or build for {target} \
             without wrapping it into a component)"
        )
    };
    let targets = [
        (Mode::PureV1, "wasm32-unknown-unknown"),
        (Mode::HostV1, "wasm32-unknown-unknown"),
        (Mode::CstrV1, "wasm32-unknown-unknown"),
        (Mode::WasiV1, "wasm32-wasip1"),
    ];
    for (mode, target) in targets {
        assert_eq!(admit(mode, component).unwrap_err().to_string(), expected(mode.as_str(), target));
    }
    let core = |likely: &str| {
        format!(
            "this is a core module; mode component-v1 takes a component ({likely}wrap it into one: `wasm-tools \
             component new`)"
        )
    };
    let cases = [
        (with(""), "publish it as pure-v1, or "),
        (format!("(module {MEMORY} {START})"), "publish it as wasi-v1, or "),
        (format!("(module {MEMORY} {ALLOC} {EXECUTE})"), "publish it as cstr-v1, or "),
        (
            format!(
                r#"(module (import "env" "host_log" (func (param i32 i32 i32))) {MEMORY} {ALLOC} {RUN})"#
            ),
            "publish it as host-v1, or ",
        ),
        ("(module)".into(), ""),
    ];
    for (text, likely) in cases {
        assert_eq!(judge_as(Mode::ComponentV1, &text).unwrap_err().to_string(), core(likely));
    }
}

#[test]
fn the_likely_mode_is_told_of_damaged_files_too() {
    let code = wat::parse_str(format!("(module {MEMORY} {START})")).unwrap();
    assert_eq!(likely(&code), Some(Mode::WasiV1));
    assert_eq!(likely(&code[..code.len() - 4]), Some(Mode::WasiV1));
    assert_eq!(likely(b"\0asm\x0d\0\x01\0and more"), Some(Mode::ComponentV1));
    for end in 0..12 {
        assert_eq!(likely(&code[..end]), None);
    }
}
