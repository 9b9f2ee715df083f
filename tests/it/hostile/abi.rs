//! Functions whose exports, pointers and outputs are not what they should be.

use serde_json::{Value, json};

use crate::arena::*;
use crate::modules::*;

/// What `run` answers for these fields and this body, or the outcome it has.
async fn told(arena: &Arena, text: &str) -> Result<Value, String> {
    let answer = arena.attack(text, LONG).await;
    match answer.body["ok"] == true {
        true => Ok(answer.output().clone()),
        false => {
            tells_nothing_of_the_host(&answer.body);
            Err(answer.outcome().to_owned())
        }
    }
}

pub(crate) async fn exports_that_are_missing_or_something_else_are_named(arena: &Arena) {
    let alloc = "(func (export \"alloc\") (param i32) (result i32) i32.const 0)";
    let run = "(func (export \"run\") (param i32 i32) (result i64) i64.const 0)";
    let cases = [
        (format!("(module {alloc} {run})"), "does not export `memory`"),
        (format!("(module {PAGE} {run})"), "does not export `alloc`"),
        (format!("(module {PAGE} {alloc})"), "does not export `run`"),
        (format!("(module {PAGE} {alloc} (global (export \"run\") i64 (i64.const 0)))"), "but is a global"),
        (format!("(module {PAGE} {alloc} (table (export \"run\") 1 funcref))"), "but is a table"),
        (
            format!("(module {PAGE} {alloc} (func (export \"run\") (param i32) (result i64) i64.const 0))"),
            "but is a function (i32) -> (i64)",
        ),
        (
            format!("(module {PAGE} {run} (func (export \"alloc\") (param i64) (result i32) i32.const 0))"),
            "but is a function (i64) -> (i32)",
        ),
        (format!("(module (func (export \"memory\")) {alloc} {run})"), "must be a memory, but is a function"),
    ];
    for (text, part) in cases {
        let reason = arena.refusal(&wasm(&text)).await;
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

pub(crate) async fn imports_are_refused_by_name(arena: &Arena) {
    let cases = [
        ("(import \"env\" \"memory\" (memory 1))", "a memory `env.memory`"),
        ("(import \"env\" \"whatever\" (func))", "a function `env.whatever`"),
        (
            "(import \"host\" \"host_read_record\" (func (param i32 i32) (result i64)))",
            "`host.host_read_record`",
        ),
        (
            "(import \"wasi_snapshot_preview1\" \"clock_time_get\" (func))",
            "`wasi_snapshot_preview1.clock_time_get`",
        ),
        ("(import \"wasi_snapshot_preview1\" \"random_get\" (func))", "`wasi_snapshot_preview1.random_get`"),
        ("(import \"env\" \"t\" (table 1 funcref))", "a table `env.t`"),
        ("(import \"env\" \"g\" (global (mut i32)))", "a global `env.g`"),
    ];
    for (import, name) in cases {
        let reason = arena.refusal(&wasm(&format!("(module {import})"))).await;
        assert!(reason.contains(name), "{name}: {reason}");
    }
}

pub(crate) async fn the_input_goes_where_alloc_says_or_nowhere(arena: &Arena) {
    // Answers its input.
    let back = "(i64.or (i64.shl (i64.extend_i32_u (local.get $pointer)) (i64.const 32))
                        (i64.extend_i32_u (local.get $length)))";
    let sound = || Ok(json!({}));
    let none = || Err("outputInvalid".to_owned());
    let cases = [
        ("unaligned", "i32.const 4097", sound()),
        ("inside its data", "i32.const 16", sound()),
        ("the last two bytes", "i32.const 65534", sound()),
        ("in memory that it has just grown", "(drop (memory.grow (i32.const 1))) i32.const 65536", sound()),
        ("null", "i32.const 0", none()),
        ("minus one", "i32.const -1", none()),
        ("one byte short", "i32.const 65535", none()),
        ("the end", "i32.const 65536", none()),
        ("beyond 2 GiB", "i32.const 0x80000000", none()),
    ];
    for (what, alloc, expected) in cases {
        let text = module(&format!("{PAGE} (data (i32.const 16) \"static\")"), alloc, back);
        assert_eq!(told(arena, &text).await, expected, "{what}");
    }
}

pub(crate) async fn the_output_is_read_within_the_memory_or_not_at_all(arena: &Arena) {
    let none = || Err("outputInvalid".to_owned());
    let last = "(data (i32.const 65533) \"[7]\")";
    let cases = [
        ("up to the last byte", last, output_at(65_533, 3), Ok(json!([7]))),
        ("one byte beyond", last, output_at(65_533, 4), none()),
        ("from the end on", "", output_at(65_536, 1), none()),
        ("beyond 2 GiB, where there is nothing", "", output_at(0x8000_0000, 3), none()),
        ("past 4 GiB", "", output_at(0xffff_ffff, 0xffff_ffff), none()),
        ("4 GiB of it", "", output_at(8, 0xffff_ffff), none()),
        ("nothing", "", output_at(8, 0), none()),
        ("over its own input", "", "i64.const 0x400_00000002".into(), Ok(json!({}))),
    ];
    for (what, data, result, expected) in cases {
        let text = module(&format!("{PAGE} {data}"), "i32.const 1024", &result);
        assert_eq!(told(arena, &text).await, expected, "{what}");
    }
}

pub(crate) async fn an_output_one_byte_over_the_cap_is_too_large(arena: &Arena) {
    // Digits, which are one number.
    let of = |length: u32| {
        module(
            "(memory (export \"memory\") 17)",
            "i32.const 8",
            &format!(
                "(memory.fill (i32.const 0) (i32.const 0x20) (i32.const {length}))
                 (i32.store8 (i32.const {}) (i32.const 0x37)) {}",
                length - 1,
                output_at(0, length)
            ),
        )
    };
    assert_eq!(told(arena, &of(1 << 20)).await, Ok(json!(7)));
    assert_eq!(told(arena, &of((1 << 20) + 1)).await, Err("outputTooLarge".into()));
}

pub(crate) async fn what_is_no_json_is_no_output_each_time_anew(arena: &Arena) {
    let cases = [
        r"\ff\fe",
        r#"\22\ff\22"#,
        "[1,2",
        "1 2",
        "NaN",
        "Infinity",
        "-Infinity",
        "nul",
        "'7'",
        "{'a':1}",
        "01",
        ".5",
        "[1,]",
        r#"\22\\ud800"#,
        r#"\22\0a\22"#,
        "[7]\\00",
        "\\ef\\bb\\bf[7]",
    ];
    for text in cases {
        let data = format!("{PAGE} (data (i32.const 8) \"{text}\")");
        let length = wasm_text_length(text);
        let module = module(&data, "i32.const 1024", &output_at(8, length));
        let function = arena.publish(&wasm(&module), LONG);
        let answers = arena.attack_at_once(&function, 3).await;
        for answer in &answers {
            failed(answer, "outputInvalid");
            assert_eq!(answer.body["error"], answers[0].body["error"], "{text}");
        }
    }
    // Nested deeper than any reader would follow.
    let nested = "(memory.fill (i32.const 8) (i32.const 0x5b) (i32.const 10000))";
    let text = run(&format!("{nested} {}", output_at(8, 10_000)));
    assert_eq!(told(arena, &text).await, Err("outputInvalid".into()));
}

/// How many bytes a string of the text format stands for, of which `\xx` is one.
fn wasm_text_length(text: &str) -> u32 {
    let mut bytes = 0;
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'\\', [b'\\', ..]) => &tail[1..],
            (b'\\', _) => &tail[2..],
            _ => tail,
        };
        bytes += 1;
    }
    bytes
}

pub(crate) async fn an_output_beside_its_schema_fails_where_the_record_is_strict(arena: &Arena) {
    for (strict, schema) in [(true, "string"), (false, "string"), (true, "integer")] {
        let function = arena.publish_record(&wasm(&seven()), |record| {
            record["outputSchema"] = json!({ "type": schema });
            record["strictOutput"] = strict.into();
        });
        let answer = arena.call(&function).await;
        if strict && schema == "string" {
            failed(&answer, "outputInvalid");
        } else {
            assert_eq!(answer.output(), &json!(7));
            assert_eq!(answer.body.get("outputSchemaMismatch").is_some(), schema == "string", "{answer:?}");
        }
    }
}
