//! What each mode asks of a module, and lets it have.

use super::*;

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
