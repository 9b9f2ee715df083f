//! A function of mode `pure-v1` that answers with its input:
//! `{"ok":true,"echo":INPUT,"mode":"pure-v1"}`.
//!
//! The host calls `alloc` for a place for the input, writes the input there, calls `run` with it, and
//! reads the output where `run` says. JSON in UTF-8 both ways.

use serde_json::value::RawValue;

/// A place of `length` bytes for the host to write to.
#[no_mangle]
pub extern "C" fn alloc(length: i32) -> i32 {
    let place = vec![0u8; length as usize].into_boxed_slice();
    Box::leak(place).as_mut_ptr() as i32
}

/// Gives back a place that `alloc` or `run` handed out.
///
/// # Safety
///
/// `pointer` and `length` are as they were handed out, and the place is given back once.
#[no_mangle]
pub unsafe extern "C" fn dealloc(pointer: i32, length: i32) {
    let place = std::ptr::slice_from_raw_parts_mut(pointer as *mut u8, length as usize);
    drop(Box::from_raw(place));
}

/// Answers the input of `length` bytes at `pointer`. The result has the output's place in its upper
/// half and its length in the lower.
///
/// # Safety
///
/// `pointer` and `length` are a place that `alloc` handed out and that has been written to.
#[no_mangle]
pub unsafe extern "C" fn run(pointer: i32, length: i32) -> i64 {
    let input = std::slice::from_raw_parts(pointer as *const u8, length as usize);
    let output = echo(input).into_bytes().into_boxed_slice();
    let length = output.len() as u64;
    let pointer = Box::leak(output).as_ptr() as u32;
    (u64::from(pointer) << 32 | length) as i64
}

fn echo(input: &[u8]) -> String {
    match serde_json::from_slice::<&RawValue>(input) {
        Ok(value) => envelope(value.get()),
        Err(reason) => {
            let error = format!("invalid JSON input: {reason}");
            // A string always has a JSON form.
            envelope(&format!(r#"{{"error":{}}}"#, serde_json::to_string(&error).unwrap()))
        }
    }
}

fn envelope(value: &str) -> String {
    format!(r#"{{"ok":true,"echo":{value},"mode":"pure-v1"}}"#)
}
