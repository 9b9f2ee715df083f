//! The guests of the benches.

use at_functions::dev::Modules;
use at_functions::lexicon::Mode;

/// The least echo with the ABI of `pure-v1` and `host-v1`.
const POINTER: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "run") (param $ptr i32) (param $len i32) (result i64)
        (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32)) (i64.extend_i32_u (local.get $len)))))"#;

/// The least echo of `cstr-v1`.
const CSTR: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "execute") (param $input i32) (result i32) (local.get $input)))"#;

/// The least echo of `wasi-v1`: one read of stdin, one write to stdout.
const WASI: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const 32768))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// The least echo of `component-v1`.
const COMPONENT: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "run") (param $ptr i32) (param $len i32) (result i32)
            (i32.store8 (i32.const 16) (i32.const 0))
            (i32.store (i32.const 20) (local.get $ptr))
            (i32.store (i32.const 24) (local.get $len))
            (i32.const 16)))
    (core instance $i (instantiate $m))
    (func (export "run") (param "input-json" string) (result (result string (error string)))
        (canon lift (core func $i "run") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#;

/// Spins until it is stopped.
const SPIN: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "run") (param i32 i32) (result i64) (loop $forever (br $forever)) unreachable))"#;

/// Takes all the memory that it may have, 64 KiB after 64 KiB, writes to each page, and begins anew.
const HOG: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "run") (param i32 i32) (result i64) (local $at i32)
        (block $full (loop $more
            (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
            (br $more)))
        (loop $forever
            (i64.store (local.get $at) (i64.const 1))
            (local.set $at (i32.add (local.get $at) (i32.const 4096)))
            (if (i32.ge_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))
                (then (local.set $at (i32.const 0))))
            (br $forever))
        unreachable))"#;

/// The echo of `examples/pure-rust`, which parses its input and writes its output.
pub(crate) fn echo() -> Vec<u8> {
    Modules::example().wasm.to_vec()
}

/// The least echo that there is in each mode.
pub(crate) fn least_echoes() -> anyhow::Result<Vec<(Mode, Vec<u8>)>> {
    Ok(vec![
        (Mode::PureV1, wat::parse_str(POINTER)?),
        (Mode::HostV1, wat::parse_str(POINTER)?),
        (Mode::CstrV1, wat::parse_str(CSTR)?),
        (Mode::WasiV1, wat::parse_str(WASI)?),
        (Mode::ComponentV1, wat::parse_str(COMPONENT)?),
    ])
}

pub(crate) fn spinner() -> anyhow::Result<Vec<u8>> {
    Ok(wat::parse_str(SPIN)?)
}

pub(crate) fn memory_hog() -> anyhow::Result<Vec<u8>> {
    Ok(wat::parse_str(HOG)?)
}

/// A module that admission lets in and that keeps a compiler busy: many functions of many blocks. Salted, it is another one each time.
pub(crate) fn compile_bomb() -> anyhow::Result<Vec<u8>> {
    let body = "(local.set $x (i64.add (i64.mul (local.get $x) (i64.const 31)) (i64.load (i32.wrap_i64 (local.get $x))))) \
                (if (i64.eqz (local.get $x)) (then (local.set $x (i64.const 7))))"
        .repeat(200);
    let functions = format!("(func (param $x i64) (result i64) {body} (local.get $x))").repeat(150);
    let module = format!(
        r#"(module (memory (export "memory") 1) {functions}
            (func (export "alloc") (param i32) (result i32) (i32.const 1024))
            (func (export "run") (param i32 i32) (result i64) (i64.const 0)))"#
    );
    Ok(wat::parse_str(module)?)
}

/// The same module with a section at its end that nobody reads, so that its CID is another.
pub(crate) fn salted(wasm: &[u8], number: u64) -> Vec<u8> {
    // Id 0, length, and a name of four letters.
    [wasm, &[0, 13, 4], b"salt", &number.to_le_bytes()].concat()
}
