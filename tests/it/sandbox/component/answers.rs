//! What components answer.

use super::*;

#[test]
fn an_answer_that_is_json_passes_as_it_is_and_any_other_is_a_string() {
    let cases = [
        ("{\"a\" : 1}", "{\"a\" : 1}"),
        (" [1]\n", "[1]"),
        ("plain", "\"plain\""),
        ("", "\"\""),
        ("\"quoted\"", "\"quoted\""),
        ("{\"a\":", "\"{\\\"a\\\":\""),
        ("NaN", "\"NaN\""),
        ("h\u{e9}\n", "\"h\u{e9}\\n\""),
    ];
    for (text, output) in cases {
        let completion = run(&answering(0, text), "{}", WIDE);
        assert_eq!(completion.result, Ok(Bytes::from(output)), "{text}");
        assert_eq!(completion.usage.output_bytes, text.len() as u64);
    }
}

#[test]
fn the_input_comes_through() {
    let run = "(i32.store (i32.const 16) (i32.const 0)) (i32.store (i32.const 20) (local.get $pointer)) \
               (i32.store (i32.const 24) (local.get $length)) (i32.const 16)";
    let echo = Program { run, ..Program::default() }.text();
    let long = format!("\"{}\"", "\u{e9}".repeat(500_000));
    for input in ["{\"hello\":[1,2.5,null]}", "null", &long] {
        let completion = super::run(&echo, input, WIDE);
        assert_eq!(completion.result, Ok(Bytes::from(input.to_owned())));
        assert_eq!(completion.usage.input_bytes, input.len() as u64);
    }
}

#[test]
fn an_error_is_the_guests_own() {
    let completion = run(&answering(1, "no such thing:\n\"x\""), "{}", WIDE);
    assert_eq!(
        completion.result,
        Err(Failure { outcome: Outcome::GuestError, message: "no such thing:\\n\"x\"".into() })
    );
}

#[test]
fn an_answer_beyond_the_limit_is_too_large_however_much_larger() {
    let limits = Limits { output_bytes: 1000, memory_bytes: 64 * MIB, ..WIDE };
    let spaces = |length: u32| {
        let run = format!(
            "(local $place i32) (local.set $place (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const {length}))) \
             (memory.fill (local.get $place) (i32.const 0x31) (i32.const {length})) \
             (i32.store (i32.const 20) (local.get $place)) (i32.store (i32.const 24) (i32.const {length})) (i32.const 16)"
        );
        Program { run: &run, ..Program::default() }.text()
    };
    // A number of 300 digits is one.
    assert_eq!(super::run(&spaces(300), "{}", limits).result, Ok(Bytes::from("1".repeat(300))));
    for length in [1001, 4096, 1 << 20, 2 << 20, (2 << 20) + 1, 3 << 20, 32 << 20] {
        let completion = run(&spaces(length), "{}", limits);
        assert_eq!(completion.outcome(), Outcome::OutputTooLarge, "{length}: {:?}", completion.result);
        assert!(failed(&completion).message.ends_with("at most 1000 are allowed"), "{length}");
    }
    // As a JSON string it is longer than it was.
    let limits = Limits { output_bytes: 1, ..limits };
    assert_eq!(run(&answering(0, "x"), "{}", limits).outcome(), Outcome::OutputTooLarge);
}

#[test]
fn an_answer_in_another_encoding_is_the_same() {
    for (encoding, text, length) in [
        ("string-encoding=utf16", "\\e9\\00\\3d\\d8\\00\\de", 3),
        ("string-encoding=latin1+utf16", "\\e9", 1),
    ] {
        let fields = format!("(data (i32.const 1024) \"{text}\")");
        let run = result(0, 1024, length);
        let text = Program { fields: &fields, run: &run, options: encoding, ..Program::default() }.text();
        let output = if length == 3 { "\"\u{e9}\u{1f600}\"" } else { "\"\u{e9}\"" };
        assert_eq!(super::run(&text, "{}", WIDE).result, Ok(Bytes::from(output)), "{encoding}");
    }
}

#[test]
fn post_return_comes_after_the_answer_was_read() {
    // It wipes the answer.
    let fields = "(data (i32.const 1024) \"[7]\") (func (export \"after\") (param i32) \
                    (memory.fill (i32.const 0) (i32.const 0) (i32.const 4096)))";
    let text = Program {
        fields,
        run: &result(0, 1024, 3),
        options: "(post-return (core func $program \"after\"))",
        ..Program::default()
    };
    assert_eq!(run(&text.text(), "{}", WIDE).result, Ok(Bytes::from("[7]")));
}
