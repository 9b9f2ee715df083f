//! Records as functions: no panic, and limits that hold. The decoder here is looser than the service's
//! own, so all that the service can hand on is among what this hands on.
#![no_main]

use at_functions::lexicon::FunctionMetadata;
use ipld_core::ipld::Ipld;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = serde_ipld_dagcbor::from_slice::<Ipld>(bytes) else { return };
    if let Ok(metadata) = FunctionMetadata::from_record(&record) {
        assert!((1..=256).contains(&metadata.max_memory_mb));
        assert!((1..=5000).contains(&metadata.max_duration_ms));
        assert!(metadata.name.len() <= 128 && metadata.version.len() <= 32);
        assert_eq!(FunctionMetadata::from_record(&record), Ok(metadata));
    }
});
