//! at-uris: no panic, and what is read is written as it was read, up to the case of a handle.
#![no_main]

use at_functions::lexicon::AtUri;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(uri) = AtUri::parse(text) {
        let written = uri.to_string();
        assert!(written.eq_ignore_ascii_case(text), "{text:?} became {written:?}");
        assert_eq!(AtUri::parse(&written), Ok(uri));
    }
});
