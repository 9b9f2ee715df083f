//! The example of `pure-v1` that is built from source in this repository.

use std::fs;
use std::path::Path;

use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust");

#[test]
fn the_example_answers_with_its_input() {
    let harness = shared();
    let code = fs::read(Path::new(FOLDER).join("echo.wasm")).unwrap();
    assert!(code.len() < 40_000, "{} bytes: small modules start sooner", code.len());
    let artifact = harness.compile(code).unwrap();
    let cases = [
        (
            "{\"hello\":[1,2.5,null,\"w\\u00f6rld\"]}",
            "{\"ok\":true,\"echo\":{\"hello\":[1,2.5,null,\"w\\u00f6rld\"]},\"mode\":\"pure-v1\"}",
        ),
        ("null", "{\"ok\":true,\"echo\":null,\"mode\":\"pure-v1\"}"),
        (
            "[1,",
            "{\"ok\":true,\"echo\":{\"error\":\"invalid JSON input: EOF while parsing a value at line 1 column 3\"},\"mode\":\"pure-v1\"}",
        ),
        (
            "\"\t\"",
            "{\"ok\":true,\"echo\":{\"error\":\"invalid JSON input: control character (\\\\u0000-\\\\u001F) found while parsing a string at line 1 column 1\"},\"mode\":\"pure-v1\"}",
        ),
    ];
    for (input, output) in cases {
        let completion = harness.run(&artifact, input, WIDE);
        assert_eq!(completion.result, Ok(Bytes::from(output)));
        assert_eq!(completion.usage.input_bytes, input.len() as u64);
        assert_eq!(completion.usage.output_bytes, output.len() as u64);
        assert_eq!(completion.usage.host_calls, 0);
        assert!(completion.usage.peak_memory_bytes >= 65_536);
    }
}

#[test]
fn a_megabyte_goes_through_the_example() {
    let harness = shared();
    let artifact = harness.compile(fs::read(Path::new(FOLDER).join("echo.wasm")).unwrap()).unwrap();
    let input = format!("\"{}\"", "a".repeat(1024 * 1024 - 64));
    let completion = harness.run(&artifact, &input, WIDE);
    let output = completion.result.unwrap();
    assert_eq!(output.len(), input.len() + "{\"ok\":true,\"echo\":,\"mode\":\"pure-v1\"}".len());
}
