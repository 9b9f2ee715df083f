//! What a guest's pointers may say.

use super::*;

#[test]
fn outputs_are_read_where_the_guest_says_and_nowhere_else() {
    use Outcome::{Ok, OutputInvalid, OutputTooLarge};
    const END: u32 = 65_536;
    let one_page = |data: &str, result: String| {
        module_with(&format!("(memory (export \"memory\") 1) {data}"), "i32.const 1024", &result)
    };
    let two_gib = 1 << 31;
    let cases = [
        ("in the middle", one_page("(data (i32.const 8) \"[7]\")", output_at(8, 3)), Ok),
        ("at address zero", one_page("(data (i32.const 0) \"[7]\")", output_at(0, 3)), Ok),
        ("up to the last byte", one_page("(data (i32.const 65533) \"[7]\")", output_at(END - 3, 3)), Ok),
        (
            "one byte beyond",
            one_page("(data (i32.const 65533) \"[7]\")", output_at(END - 3, 4)),
            OutputInvalid,
        ),
        ("from the end on", one_page("", output_at(END, 1)), OutputInvalid),
        ("beyond 2 GiB, where there is nothing", one_page("", output_at(two_gib, 1)), OutputInvalid),
        ("pointer and length beyond 4 GiB", one_page("", output_at(u32::MAX, u32::MAX)), OutputInvalid),
        ("longer than the memory", one_page("", output_at(8, u32::MAX)), OutputInvalid),
        ("nothing", one_page("", output_at(8, 0)), OutputInvalid),
        ("nothing, just behind the end", one_page("", output_at(END, 0)), OutputInvalid),
        ("over its own input", module("i64.const 0x400_00000002"), Ok),
        ("not JSON", one_page("(data (i32.const 8) \"nope\")", output_at(8, 4)), OutputInvalid),
        ("two values", one_page("(data (i32.const 8) \"1 2\")", output_at(8, 3)), OutputInvalid),
        ("not UTF-8", one_page("(data (i32.const 8) \"\\22\\ff\\22\")", output_at(8, 3)), OutputInvalid),
        ("zeros after the value", one_page("(data (i32.const 8) \"[7]\")", output_at(8, 4)), OutputInvalid),
        (
            "nested ten thousand deep",
            one_page(
                "",
                format!(
                    "(memory.fill (i32.const 8) (i32.const 0x5b) (i32.const 10000)) {}",
                    output_at(8, 10_000)
                ),
            ),
            OutputInvalid,
        ),
        ("longer than allowed", one_page("", output_at(0, 1001)), OutputTooLarge),
    ];
    let limits = Limits { output_bytes: 1000, ..WIDE };
    for (name, text, outcome) in cases {
        let limits = if name.starts_with("nested") { WIDE } else { limits };
        assert_eq!(outcome_of(&text, limits), outcome, "{name}");
    }
}

#[test]
fn an_output_of_exactly_the_allowed_length_passes() {
    let text = module(&format!(
        "(memory.fill (i32.const 0) (i32.const 0x31) (i32.const 300)) {}",
        output_at(0, 300)
    ));
    assert_eq!(outcome_of(&text, Limits { output_bytes: 300, ..WIDE }), Outcome::Ok);
    assert_eq!(outcome_of(&text, Limits { output_bytes: 299, ..WIDE }), Outcome::OutputTooLarge);
}

#[test]
fn pointers_above_two_gibibytes_are_unsigned() {
    // A result that is negative as a signed number, in a memory that is not that large.
    let harness = shared();
    let text = module(&output_at(0x8000_0000, 3));
    let completion = harness.run(&harness.wat(&text), "{}", WIDE);
    assert_eq!(
        failed(&completion).message,
        "`run` returned 3 bytes at 2147483648, which is not within the 65536 bytes of memory"
    );
}

#[test]
fn the_input_goes_where_alloc_says_and_nowhere_else() {
    use Outcome::{Ok, OutputInvalid};
    let answer_input = "(i64.or (i64.shl (i64.extend_i32_u (local.get $pointer)) (i64.const 32)) \
                        (i64.extend_i32_u (local.get $length)))";
    let page = "(memory (export \"memory\") 1)";
    let cases = [
        ("a fair place", "i32.const 4096", Ok),
        ("unaligned", "i32.const 4097", Ok),
        ("within static data", "i32.const 16", Ok),
        ("the last bytes", "i32.const 65534", Ok),
        ("one byte short", "i32.const 65535", OutputInvalid),
        ("nowhere", "i32.const 0", OutputInvalid),
        ("minus one", "i32.const -1", OutputInvalid),
        ("beyond 2 GiB", "i32.const 0x80000000", OutputInvalid),
        ("the end", "i32.const 65536", OutputInvalid),
        ("in memory that it has just grown", "(drop (memory.grow (i32.const 1))) i32.const 65536", Ok),
    ];
    for (name, alloc, outcome) in cases {
        let text = module_with(&format!("{page} (data (i32.const 16) \"static\")"), alloc, answer_input);
        let harness = shared();
        let completion = harness.run(&harness.wat(&text), "{}", WIDE);
        assert_eq!(completion.outcome(), outcome, "{name}");
        if outcome == Ok {
            assert_eq!(completion.result, std::result::Result::Ok(Bytes::from("{}")), "{name}");
        }
    }
}

#[test]
fn whitespace_around_the_output_is_cut_and_the_rest_is_verbatim() {
    let harness = shared();
    let text = module_with(
        "(memory (export \"memory\") 1) (data (i32.const 8) \" \\n{ \\22a\\22 : 1.50 , \\22a\\22:2}\\t\")",
        "i32.const 1024",
        &output_at(8, 24),
    );
    let completion = harness.run(&harness.wat(&text), "{}", WIDE);
    assert_eq!(completion.result, Ok(Bytes::from("{ \"a\" : 1.50 , \"a\":2}")));
    assert_eq!(completion.usage.output_bytes, 24);
}

#[test]
fn traps_are_told_with_the_guests_functions_and_nothing_of_the_host() {
    let harness = shared();
    let deep = |body: &str| {
        format!(
            r#"(module (memory (export "memory") 1)
                 (table 1 funcref)
                 (func (export "alloc") (param i32) (result i32) i32.const 1024)
                 (func $inner (param i32) (result i32) {body})
                 (func $run (export "run") (param i32 i32) (result i64)
                   (i64.extend_i32_u (call $inner (i32.const 0)))))"#
        )
    };
    let cases = [
        ("unreachable", "wasm `unreachable` instruction executed, in inner < run"),
        ("(i32.load (i32.const 65536))", "out of bounds memory access, in inner < run"),
        ("(i32.load offset=0xffffffff (i32.const -1))", "out of bounds memory access, in inner < run"),
        ("(i32.div_s (i32.const 1) (local.get 0))", "integer divide by zero, in inner < run"),
        ("(i32.div_s (i32.const 0x80000000) (i32.const -1))", "integer overflow, in inner < run"),
        ("(i32.trunc_f32_s (f32.const nan))", "invalid conversion to integer, in inner < run"),
        ("(call_indirect (result i32) (i32.const 0))", "uninitialized element, in inner < run"),
        (
            "(call_indirect (result i32) (i32.const 1))",
            "undefined element: out of bounds table access, in inner < run",
        ),
        (
            "(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2)) i32.const 0",
            "out of bounds memory access, in inner < run",
        ),
    ];
    for (body, message) in cases {
        let completion = harness.run(&harness.wat(&deep(body)), "{}", WIDE);
        assert_eq!(
            completion.result,
            Err(Failure { outcome: Outcome::Trap, message: message.into() }),
            "{body}"
        );
    }
}

#[test]
fn names_in_a_trap_are_readable_short_and_printable() {
    let harness = shared();
    let name = format!("evil\\1b[31m\\n{}", "x".repeat(500));
    let text = format!(
        r#"(module (memory (export "memory") 1)
             (func (export "alloc") (param i32) (result i32) i32.const 1024)
             (func $r (@name "{name}") (export "run") (param i32 i32) (result i64) unreachable))"#
    );
    let completion = harness.run(&harness.wat(&text), "{}", WIDE);
    let message = &failed(&completion).message;
    assert!(
        message.starts_with("wasm `unreachable` instruction executed, in evil\\u{1b}[31m\\nxxx"),
        "{message}"
    );
    assert!(message.len() < 160, "{message}");

    let rust = r#"(module (memory (export "memory") 1)
             (func (export "alloc") (param i32) (result i32) i32.const 1024)
             (func $r (@name "_ZN4core9panicking5panic17h0123456789abcdefE") (export "run") (param i32 i32) (result i64) unreachable))"#;
    let completion = harness.run(&harness.wat(rust), "{}", WIDE);
    assert_eq!(
        failed(&completion).message,
        "wasm `unreachable` instruction executed, in core::panicking::panic"
    );
}

#[test]
fn endless_recursion_ends_in_a_trap_and_leaves_the_host_its_stack() {
    let direct = r#"(module (memory (export "memory") 1)
        (func (export "alloc") (param i32) (result i32) i32.const 1024)
        (func $f (export "run") (param i32 i32) (result i64) (call $f (local.get 0) (local.get 1))))"#;
    let in_turns = r#"(module (memory (export "memory") 1) (table funcref (elem $a $b))
        (type $t (func (param i32 i32) (result i64)))
        (func (export "alloc") (param i32) (result i32) i32.const 1024)
        (func $a (export "run") (param i32 i32) (result i64) (call_indirect (type $t) (local.get 0) (local.get 1) (i32.const 1)))
        (func $b (param i32 i32) (result i64) (call_indirect (type $t) (local.get 0) (local.get 1) (i32.const 0))))"#;
    let in_start = r#"(module (memory (export "memory") 1)
        (func (export "alloc") (param i32) (result i32) i32.const 1024)
        (func (export "run") (param i32 i32) (result i64) i64.const 0)
        (func $f call $f) (start $f))"#;
    let harness = shared();
    for text in [direct, in_turns, in_start] {
        let artifact = harness.wat(text);
        for _ in 0..3 {
            let completion = harness.run(&artifact, "{}", WIDE);
            assert_eq!(completion.outcome(), Outcome::Trap);
            let message = &failed(&completion).message;
            assert!(message.starts_with("call stack exhausted, in "), "{message}");
        }
    }
}

#[test]
fn dealloc_is_never_called() {
    let harness = shared();
    let text = r#"(module (memory (export "memory") 1) (data (i32.const 8) "[7]")
        (func (export "alloc") (param i32) (result i32) i32.const 1024)
        (func (export "dealloc") (param i32 i32) (loop br 0))
        (func (export "run") (param i32 i32) (result i64) i64.const 0x8_00000003))"#;
    assert_eq!(harness.run(&harness.wat(text), "{}", WIDE).result, Ok(Bytes::from("[7]")));
}
