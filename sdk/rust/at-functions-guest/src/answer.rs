//! From the bytes of an input to those of an output.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Runs a function; what went wrong is an error.
#[doc(hidden)]
pub fn as_result<I, O, E>(input: &[u8], run: fn(I) -> Result<O, E>) -> Result<Vec<u8>, String>
where
    I: DeserializeOwned,
    O: Serialize,
    E: Display,
{
    let input = serde_json::from_slice(input).map_err(|error| format!("input: {error}"))?;
    let output = run(input).map_err(|error| error.to_string())?;
    serde_json::to_vec(&output).map_err(|error| format!("output: {error}"))
}

/// Runs a function; what went wrong is an output `{"error": "..."}`.
#[doc(hidden)]
pub fn as_bytes<I, O, E>(input: &[u8], run: fn(I) -> Result<O, E>) -> Vec<u8>
where
    I: DeserializeOwned,
    O: Serialize,
    E: Display,
{
    as_result(input, run).unwrap_or_else(|error| {
        #[derive(Serialize)]
        struct Failed {
            error: String,
        }
        // A string always has a JSON form.
        serde_json::to_vec(&Failed { error }).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn half(n: u32) -> Result<Value, &'static str> {
        if n % 2 == 0 { Ok(json!({ "half": n / 2 })) } else { Err("n: it is odd") }
    }

    fn bytes(input: &str) -> Value {
        serde_json::from_slice(&as_bytes(input.as_bytes(), half)).unwrap()
    }

    #[test]
    fn an_output_is_answered_as_it_is() {
        assert_eq!(bytes("4"), json!({ "half": 2 }));
        assert_eq!(as_result(b"4", half).unwrap(), br#"{"half":2}"#);
    }

    #[test]
    fn what_went_wrong_is_told() {
        assert_eq!(bytes("3"), json!({ "error": "n: it is odd" }));
        assert_eq!(as_result(b"3", half).unwrap_err(), "n: it is odd");
        let told = as_result(b"\"x\"", half).unwrap_err();
        assert!(told.starts_with("input: invalid type: string \"x\", expected u32"), "{told}");
        assert!(bytes("")["error"].as_str().unwrap().starts_with("input: EOF"));
    }
}
