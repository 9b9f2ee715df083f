//! Guests of `cstr-v1`: text that ends with a NUL.

use super::*;

fn module_of(memory: &str, alloc: &str, execute: &str) -> String {
    format!(
        r#"(module {memory}
             (func (export "alloc") (param $length i32) (result i32) {alloc})
             (func (export "execute") (param $pointer i32) (result i32) {execute}))"#
    )
}

fn run(text: &str, input: &str, limits: Limits) -> Completion {
    let harness = shared();
    harness.run(&harness.wat_as(Mode::CstrV1, text), input, limits)
}

const PAGE: &str = "(memory (export \"memory\") 1)";

#[test]
fn the_input_ends_with_a_nul_and_comes_back() {
    // Where the input goes was not zero before.
    let fill = "(memory.fill (i32.const 0) (i32.const 0x78) (i32.const 65536)) i32.const 1024";
    let echo = run(&module_of(PAGE, fill, "local.get $pointer"), r#"{"a":"\u0000é"}"#, WIDE);
    assert_eq!(echo.result, Ok(Bytes::from(r#"{"a":"\u0000é"}"#)));
    assert_eq!((echo.usage.input_bytes, echo.usage.output_bytes), (16, 16));
}

#[test]
fn alloc_is_asked_for_the_nul_too_and_malloc_does_as_well() {
    // Answers with the length that the allocator was asked for.
    let text = |names: &str| {
        format!(
            r#"(module {PAGE} (global $asked (mut i32) (i32.const 0))
                 (func {names} (param $length i32) (result i32) (global.set $asked (local.get $length)) i32.const 1024)
                 (func (export "execute") (param i32) (result i32)
                   (i32.store (i32.const 8) (i32.add (global.get $asked) (i32.const 0x30))) i32.const 8))"#
        )
    };
    for names in ["(export \"alloc\")", "(export \"malloc\")", "(export \"alloc\") (export \"malloc\")"] {
        assert_eq!(run(&text(names), "[1]", WIDE).result, Ok(Bytes::from("4")), "{names}");
    }
    let both = text("(export \"alloc\")").replace(
        "(func (export \"execute\")",
        "(func (export \"malloc\") (param i32) (result i32) unreachable) (func (export \"execute\")",
    );
    assert_eq!(run(&both, "[1]", WIDE).result, Ok(Bytes::from("4")));
}

#[test]
fn the_output_is_read_to_its_nul_and_no_further() {
    use Outcome::{Ok, OutputInvalid, OutputTooLarge};
    let with = |data: &str, execute: &str| module_of(&format!("{PAGE} {data}"), "i32.const 1024", execute);
    let full = "(memory.fill (i32.const 0) (i32.const 0x31) (i32.const 65536))";
    let cases = [
        ("one value", with("(data (i32.const 8) \"[7]\\00[8]\")", "i32.const 8"), Ok, ""),
        (
            "with its NUL in the last byte",
            with("(data (i32.const 65532) \"[7]\\00\")", "i32.const 65532"),
            Ok,
            "",
        ),
        (
            "cut off by the memory's end",
            with("(data (i32.const 65533) \"[7]\")", "i32.const 65533"),
            OutputInvalid,
            "the output at 65533 does not end: no NUL follows in the 65536 bytes of memory",
        ),
        (
            "empty",
            with("", "i32.const 8"),
            OutputInvalid,
            "the output is empty, where one JSON value is expected",
        ),
        (
            "null",
            with("", "i32.const 0"),
            OutputInvalid,
            "`execute` returned 0, a null pointer, where the output is expected",
        ),
        (
            "the memory's end",
            with("", "i32.const 65536"),
            OutputInvalid,
            "the output at 65536 does not end: no NUL follows in the 65536 bytes of memory",
        ),
        (
            "outside",
            with("", "i32.const 65537"),
            OutputInvalid,
            "`execute` returned 65537, which is not within the 65536 bytes of memory",
        ),
        (
            "far outside",
            with("", "i32.const -1"),
            OutputInvalid,
            "`execute` returned 4294967295, which is not within the 65536 bytes of memory",
        ),
        (
            "not UTF-8",
            with("(data (i32.const 8) \"\\22\\ff\\22\")", "i32.const 8"),
            OutputInvalid,
            "the output is not UTF-8",
        ),
        (
            "longer than allowed",
            with("", &format!("{full} i32.const 1")),
            OutputTooLarge,
            "the output has more than 1000 bytes, which are allowed",
        ),
        (
            "longer than allowed up to the memory's end",
            with("", &format!("{full} i32.const 64535")),
            OutputTooLarge,
            "the output has more than 1000 bytes, which are allowed",
        ),
        (
            "as long as allowed, but without an end",
            with("", &format!("{full} i32.const 64536")),
            OutputInvalid,
            "the output at 64536 does not end: no NUL follows in the 65536 bytes of memory",
        ),
        (
            "as long as allowed",
            with(
                "",
                "(memory.fill (i32.const 8) (i32.const 0x20) (i32.const 999)) (i32.store8 (i32.const 1007) (i32.const 0x31)) i32.const 8",
            ),
            Ok,
            "",
        ),
        (
            "one byte longer than that",
            with("", "(memory.fill (i32.const 8) (i32.const 0x31) (i32.const 1001)) i32.const 8"),
            OutputTooLarge,
            "the output has more than 1000 bytes, which are allowed",
        ),
    ];
    for (name, text, outcome, message) in cases {
        let completion = run(&text, "{}", Limits { output_bytes: 1_000, ..WIDE });
        assert_eq!(completion.outcome(), outcome, "{name}");
        if outcome != Ok {
            assert_eq!(failed(&completion).message, message, "{name}");
        }
    }
}

#[test]
fn the_input_goes_where_the_allocator_says_and_nowhere_else() {
    let cases = [
        ("i32.const 65533", None),
        ("(drop (memory.grow (i32.const 1))) i32.const 65536", None),
        (
            "i32.const 65534",
            Some("`alloc(3)` returned 65534, which is no place for the input in 65536 bytes of memory"),
        ),
        (
            "i32.const 0",
            Some("`alloc(3)` returned 0, which is no place for the input in 65536 bytes of memory"),
        ),
        (
            "i32.const -1",
            Some("`alloc(3)` returned 4294967295, which is no place for the input in 65536 bytes of memory"),
        ),
    ];
    for (alloc, refusal) in cases {
        let completion = run(&module_of(PAGE, alloc, "local.get $pointer"), "{}", WIDE);
        match refusal {
            None => assert_eq!(completion.result, Ok(Bytes::from("{}")), "{alloc}"),
            Some(message) => assert_eq!(
                completion.result,
                Err(Failure { outcome: Outcome::OutputInvalid, message: message.into() })
            ),
        }
    }
    let small = Limits { memory_bytes: MIB, ..WIDE };
    let text = module_of(PAGE, "(drop (memory.grow (i32.const 16))) i32.const 0", "local.get $pointer");
    assert_eq!(
        failed(&run(&text, "{}", small)).message,
        "the function asked for more than its 1 MiB of memory (maxMemoryMb): `alloc` found no room for the input"
    );
}

#[test]
fn traps_and_loops_end_it() {
    let quick = Limits { duration: Duration::from_millis(20), ..WIDE };
    let cases = [
        (module_of(PAGE, "unreachable", "i32.const 8"), Outcome::Trap),
        (module_of(PAGE, "i32.const 8", "unreachable"), Outcome::Trap),
        (module_of(PAGE, "(loop $l (br $l)) unreachable", "i32.const 8"), Outcome::Timeout),
        (module_of(PAGE, "i32.const 8", "(loop $l (br $l)) unreachable"), Outcome::Timeout),
    ];
    for (text, outcome) in cases {
        let limits = if outcome == Outcome::Timeout { quick } else { WIDE };
        assert_eq!(run(&text, "{}", limits).outcome(), outcome, "{text}");
    }
}

#[test]
fn an_input_that_would_end_early_is_not_handed_over() {
    let harness = shared();
    let artifact = harness.wat_as(Mode::CstrV1, &module_of(PAGE, "i32.const 1024", "local.get $pointer"));
    let run = harness.sandbox.run(job(&artifact, "{}\0{}", WIDE), Lease::none());
    let lost = at_functions::sandbox::Lost::Internal("the input holds a NUL, so it is not JSON".into());
    assert_eq!(harness.runtime.block_on(run), Err(lost));
}
