//! Records of functions, and the schemas in them.

use at_functions::lexicon::{CheckError, FunctionMetadata, Schema};
use ipld_core::ipld::Ipld;
use serde_json::Value;

/// Records as functions: no panic, and limits that hold. The decoder here is looser than the service's
/// own, so all that the service can hand on is among what this hands on.
pub fn metadata(bytes: &[u8]) {
    let Ok(record) = serde_ipld_dagcbor::from_slice::<Ipld>(bytes) else { return };
    if let Ok(metadata) = FunctionMetadata::from_record(&record) {
        assert!((1..=256).contains(&metadata.max_memory_mb));
        assert!((1..=5000).contains(&metadata.max_duration_ms));
        assert!(metadata.name.len() <= 128 && metadata.version.len() <= 32);
        assert_eq!(FunctionMetadata::from_record(&record), Ok(metadata));
    }
}

/// Schemas and texts to check by them: no panic, no check without end, a place that is there. The
/// schema ends at the first line break.
pub fn schema(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let (schema, json) = (&bytes[..end], &bytes[end + 1..]);
    let Ok(schema) = serde_json::from_slice::<Value>(schema) else { return };
    let Ok(schema) = Schema::compile(&schema) else { return };
    let checked = schema.check(json);
    if let Some(briefly) = schema.check_briefly(json) {
        assert_eq!(briefly, checked);
    }
    if let Err(CheckError::Mismatch(mismatch)) = checked {
        // serde_json takes an object of one member with a name of its own making for something else.
        if json.windows(7).any(|window| window == b"private") {
            return;
        }
        let value: Value = serde_json::from_slice(json).expect("JSON, as it was checked");
        assert!(value.pointer(&mismatch.path).is_some());
    }
}
