//! Any bytes as a CAR: no panic, and nothing is proved but what was signed.
#![no_main]

use at_functions_fuzz::{truth, verify};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = verify(bytes) {
        // The author signed other records too, but one repo only.
        assert_eq!(&proof, truth());
    }
});
