//! The building blocks of the modules that mean harm.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of this text, with a section at their end that nobody reads and that makes each of them
/// another module: what was compiled, refused or kept for one is not for the next.
pub(crate) fn wasm(text: &str) -> Vec<u8> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_le_bytes();
    [plain(text), section(0, &[&[4], &b"salt"[..], &number].concat())].concat()
}

/// The bytes of this text and no more.
pub(crate) fn plain(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A module of the ABI with one page of memory, whose input goes to 1024, and with `body` as `run`.
pub(crate) fn run(body: &str) -> String {
    module(PAGE, "i32.const 1024", body)
}

/// One page of memory.
pub(crate) const PAGE: &str = "(memory (export \"memory\") 1)";

/// What never ends, in a function that has a result.
pub(crate) const SPIN: &str = "(loop $forever (br $forever)) unreachable";

/// A module of the ABI with these fields (its memory among them), this `alloc` and this `run`.
pub(crate) fn module(fields: &str, alloc: &str, run: &str) -> String {
    format!(
        r#"(module {fields}
             (func (export "alloc") (param $length i32) (result i32) {alloc})
             (func (export "run") (param $pointer i32) (param $length i32) (result i64) {run}))"#
    )
}

/// A module that answers 7.
pub(crate) fn seven() -> String {
    module(&format!("{PAGE} (data (i32.const 8) \"7\")"), "i32.const 1024", &output_at(8, 1))
}

/// The result of `run` that hands out `length` bytes at `pointer`.
pub(crate) fn output_at(pointer: u32, length: u32) -> String {
    format!("i64.const {}", (u64::from(pointer) << 32 | u64::from(length)) as i64)
}

/// A section of this id around these bytes.
pub(crate) fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &leb(content.len())[..], content].concat()
}

/// A number as modules have it.
pub(crate) fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// A module of `host-v1` that hands its input to this call of the host and answers with the reply.
pub(crate) fn asking(call: &str) -> String {
    asking_in(call, "(call $call (local.get $pointer) (local.get $length))")
}

/// A module of `host-v1` with this call of the host, `$call`, and this `run`. What it is given goes to
/// 1024, and the replies one after the other to where its second page begins.
pub(crate) fn asking_in(call: &str, run: &str) -> String {
    asking_with(call, "", "(i32.const 65536)", run)
}

/// The same with other fields, and with another `alloc` for replies.
pub(crate) fn asking_with(call: &str, fields: &str, alloc: &str, run: &str) -> String {
    format!(
        r#"(module (import "host" "{call}" (func $call (param i32 i32) (result i64))) {fields}
             (memory (export "memory") 32) (global $given (mut i32) (i32.const 0))
             (func (export "alloc") (param $length i32) (result i32)
               (if (i32.eqz (global.get $given)) (then (global.set $given (i32.const 1)) (return (i32.const 1024))))
               {alloc})
             (func $run (export "run") (param $pointer i32) (param $length i32) (result i64) {run}))"#
    )
}

/// A module of `wasi-v1` that sleeps so long and answers 7.
pub(crate) fn sleeper(millis: u64) -> String {
    format!(
        r#"(module
             (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             {PAGE} (data (i32.const 8) "7")
             (func (export "_start")
               (i32.store (i32.const 528) (i32.const 1))
               (i64.store (i32.const 536) (i64.const {nanos}))
               (drop (call $poll (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 2000)))
               (i32.store (i32.const 16) (i32.const 8)) (i32.store (i32.const 20) (i32.const 1))
               (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"#,
        nanos = millis * 1_000_000
    )
}
