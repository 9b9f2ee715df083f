//! Functions of AT Functions in Rust: a function from input to output, and nothing of pointers.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Input {
//!     text: String,
//! }
//!
//! #[derive(Serialize)]
//! struct Output {
//!     words: usize,
//! }
//!
//! #[at_functions::function]
//! fn run(input: Input) -> Result<Output, at_functions::Error> {
//!     Ok(Output { words: input.text.split_whitespace().count() })
//! }
//!
//! assert_eq!(run(Input { text: "one two".into() }).unwrap().words, 2);
//! ```
//!
//! Built as a `cdylib` for `wasm32-unknown-unknown`, that is a whole function. Input and output are whatever
//! [`serde`] reads and writes, the error whatever has a [`Display`](std::fmt::Display).
//!
//! # Modes
//!
//! | feature | mode of the function | reads, context, log | an error is |
//! |---|---|---|---|
//! | none | `pure-v1` | no | the output `{"error": "..."}`, since this mode has no other way |
//! | `host` | `host-v1` | yes | the same |
//! | `component` | `component-v1` | yes | an error: outcome `guestError` with its text |
//!
//! An input that is not what the function takes is such an error too, and begins with `input: `. With `host` or
//! `component`, the message of a panic is in the log.
//!
//! With the feature `schema`, [`schema`] makes JSON Schemas of the types.
//!
//! # Tests
//!
//! A function is a function: call it. On the machine that you work at, [`testing`] plays the host.

#![warn(missing_docs)]

mod answer;
mod error;

#[cfg(not(feature = "component"))]
#[doc(hidden)]
pub mod abi;
#[cfg(feature = "component")]
#[doc(hidden)]
pub mod component;

#[cfg(any(feature = "host", feature = "component"))]
mod base64;
#[cfg(any(feature = "host", feature = "component"))]
mod context;
#[cfg(any(feature = "host", feature = "component"))]
pub mod log;
#[cfg(any(feature = "host", feature = "component"))]
mod panics;
#[cfg(any(feature = "host", feature = "component"))]
mod raw;
#[cfg(any(feature = "host", feature = "component"))]
mod reads;
#[cfg(feature = "schema")]
pub mod schema;
#[cfg(all(any(feature = "host", feature = "component"), not(target_arch = "wasm32")))]
pub mod testing;

pub use at_functions_guest_macros::function;

#[doc(hidden)]
pub use answer::{as_bytes, as_result};
#[cfg(any(feature = "host", feature = "component"))]
pub use context::{Context, context, remaining_ms};
pub use error::Error;
#[cfg(any(feature = "host", feature = "component"))]
pub use reads::{Entry, Listing, Page, Records, list_collection, read_blob, read_record, records};

/// Exports a function; what `#[function]` ends with.
#[cfg(not(feature = "component"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($run:ident) => {
        const _: () = {
            #[cfg(target_arch = "wasm32")]
            #[unsafe(export_name = "alloc")]
            extern "C" fn __at_functions_alloc(length: usize) -> *mut u8 {
                $crate::abi::alloc(length)
            }

            #[cfg(target_arch = "wasm32")]
            #[unsafe(export_name = "run")]
            unsafe extern "C" fn __at_functions_run(place: *mut u8, length: usize) -> u64 {
                // SAFETY: the host calls it with a place that it got from `alloc` for this length.
                unsafe { $crate::abi::run(place, length, $run) }
            }

            // So that the types are checked on every machine.
            #[cfg(not(target_arch = "wasm32"))]
            #[allow(dead_code)]
            fn __at_functions_run(input: &[u8]) -> Vec<u8> {
                $crate::as_bytes(input, $run)
            }
        };
    };
}

/// Exports a function; what `#[function]` ends with.
#[cfg(feature = "component")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($run:ident) => {
        const _: () = {
            #[allow(dead_code)]
            struct Function;

            impl $crate::component::Guest for Function {
                fn run(input: String) -> Result<String, String> {
                    $crate::component::answer(&input, $run)
                }
            }

            #[cfg(target_arch = "wasm32")]
    $crate::component::__export_function!(Function with_types_in $crate::component);
        };
    };
}
