//! Schemas and texts to check by them: no panic, no check without end, a place that is there. The
//! schema ends at the first line break.
#![no_main]

use at_functions::lexicon::{CheckError, Schema};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let (schema, json) = (&bytes[..end], &bytes[end + 1..]);
    let Ok(schema) = serde_json::from_slice::<Value>(schema) else { return };
    let Ok(schema) = Schema::compile(&schema) else { return };
    let checked = schema.check(json);
    if let Some(briefly) = schema.check_briefly(json) {
        assert_eq!(briefly.is_ok(), checked.is_ok());
    }
    if let Err(CheckError::Mismatch(mismatch)) = checked {
        let value: Value = serde_json::from_slice(json).expect("JSON, as it was checked");
        assert!(value.pointer(&mismatch.path).is_some());
    }
});
