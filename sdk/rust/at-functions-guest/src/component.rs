//! `component-v1`: the bindings of `atfunc:runtime/at-function@0.2.0`.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[allow(missing_docs, unsafe_op_in_unsafe_fn)]
mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "at-function",
        pub_export_macro: true,
        export_macro_name: "__export_function",
    });
}

pub use bindings::*;

/// Runs a function on the text of its input.
pub fn answer<I, O, E>(input: &str, run: fn(I) -> Result<O, E>) -> Result<String, String>
where
    I: DeserializeOwned,
    O: Serialize,
    E: Display,
{
    crate::panics::are_logged();
    let output = crate::answer::as_result(input.as_bytes(), run)?;
    String::from_utf8(output).map_err(|error| format!("output: {error}"))
}
