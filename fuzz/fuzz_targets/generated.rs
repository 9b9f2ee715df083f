#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| at_functions_fuzz::generated(bytes));
