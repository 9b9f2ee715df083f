//! Too much of anything.

use super::*;

#[test]
fn too_much_of_anything_is_refused_before_it_is_compiled() {
    let repeat = |text: &str, times: usize| text.repeat(times);
    let names =
        |times: usize| -> String { (0..times).map(|i| format!("(export \"e{i}\" (func 0))")).collect() };
    let limit = Bound::limit;
    let cases = [
        (Bound::Memories, format!("(module {MEMORY} {} {ALLOC} {RUN})", repeat("(memory 1)", 99)), 100),
        (Bound::Tables, with(&repeat("(table 1 funcref)", 2)), 2),
        (Bound::InitialPages, format!(r#"(module (memory (export "memory") 4097) {ALLOC} {RUN})"#), 4_097),
        (Bound::InitialPages, format!(r#"(module (memory (export "memory") 65536) {ALLOC} {RUN})"#), 65_536),
        (Bound::TableElements, with("(table 10000000 funcref)"), 10_000_000),
        (Bound::Functions, with(&repeat("(func)", limit(Bound::Functions))), limit(Bound::Functions) + 2),
        (Bound::Types, with(&types(limit(Bound::Types))), limit(Bound::Types) + 2),
        (Bound::Signature, with(&format!("(type (func (param {})))", repeat("i32 ", 101))), 101),
        (Bound::Signatures, with(&wide_types(101)), 10_001),
        (
            Bound::Globals,
            with(&repeat("(global i32 (i32.const 0))", limit(Bound::Globals) + 1)),
            limit(Bound::Globals) + 1,
        ),
        (Bound::Exports, with(&names(limit(Bound::Exports))), limit(Bound::Exports) + 3),
        (
            Bound::DataSegments,
            with(&repeat("(data (i32.const 0) \"\")", limit(Bound::DataSegments) + 1)),
            limit(Bound::DataSegments) + 1,
        ),
        (
            Bound::ElementEntries,
            with(&format!("(elem func {})", repeat("0 ", limit(Bound::ElementEntries)))),
            limit(Bound::ElementEntries) + 1,
        ),
        (Bound::Locals, body(&repeat("(local i32)", limit(Bound::Locals) + 1)), limit(Bound::Locals) + 1),
        (
            Bound::TotalLocals,
            with(&repeat(&format!("(func (local {}))", repeat("i32 ", 4_000)), 51)),
            204_000,
        ),
        (Bound::BodyBytes, body(&repeat("nop ", 262_144)), 262_146),
        (Bound::Nesting, body(&format!("{}{}", repeat("block ", 1_024), repeat("end ", 1_024))), 1_025),
        (Bound::ControlFlow, body(&repeat("loop end ", 6_667)), 20_001 * 20_001),
        (
            Bound::ControlFlow,
            with(&repeat(&format!("(func {})", repeat("loop end ", 1_000)), 45)),
            405_000_000,
        ),
        (Bound::ControlFlow, body(&repeat("(if (i32.const 0) (then))", 20_001)), 20_001 * 20_001),
        (Bound::ControlFlow, body(&repeat("(block (br_if 0 (i32.const 0)))", 20_001)), 20_001 * 20_001),
        (
            Bound::ControlFlow,
            body(&format!("(br_table {} (i32.const 0))", repeat("0 ", 20_001))),
            20_001 * 20_001,
        ),
        (
            Bound::ControlFlow,
            body(&format!(
                "(local {}) {} {}",
                repeat("i32 ", 4_000),
                repeat("loop ", 100),
                repeat("end ", 100)
            )),
            300 * 300 + 400_000 * (400_000 / 200),
        ),
    ];
    for (bound, text, found) in cases {
        assert_eq!(judge(&text), Err(Refusal::TooMuch { bound, found }));
    }
    let refusal = judge(&with("(table 10000000 funcref)")).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the module has 10000000 initial table elements; at most 20000 are allowed"
    );
}

fn types(count: usize) -> String {
    // All different, or the text format would fold them into one.
    (0..count)
        .map(|n| {
            let params: String = (0..11).map(|bit| if n >> bit & 1 == 1 { "i32 " } else { "i64 " }).collect();
            format!("(type (func (param {params})))")
        })
        .collect()
}

fn wide_types(count: usize) -> String {
    (0..count)
        .map(|n| {
            let bits: String = (0..8).map(|bit| if n >> bit & 1 == 1 { "i32 " } else { "i64 " }).collect();
            format!("(type (func (param {bits} {})))", "i32 ".repeat(91))
        })
        .collect()
}

#[test]
fn locals_by_the_billion_are_refused_without_counting_over() {
    // Two groups of 4,294,967,295 locals each, which no text format writes down.
    let mut code = wat::parse_str(body("(local i32) (local i64)")).unwrap();
    let groups = [2, 1, 0x7f, 1, 0x7e];
    let at = code.windows(5).rposition(|window| window == groups).unwrap();
    let many = [2, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7e];
    code.splice(at..at + 5, many);
    // The lengths around it grow by as much: the body's, just before, and the section's.
    code[at - 1] += 8;
    let section = code.windows(2).position(|window| window[0] == 10 && window[1] < 40).unwrap();
    code[section + 1] += 8;
    assert_eq!(
        admit(Mode::PureV1, &code),
        Err(Refusal::Malformed { reason: "too many locals".into(), offset: at + 12 })
    );
}

#[test]
fn imports_are_counted() {
    let log = r#"(import "host" "host_log" (func (param i32 i32 i32)))"#;
    let text = |count: usize| format!("(module {} {MEMORY} {ALLOC} {RUN})", log.repeat(count));
    assert_eq!(judge_as(Mode::HostV1, &text(1_000)), Ok(Admitted { initial_bytes: 65_536 }));
    assert_eq!(
        judge_as(Mode::HostV1, &text(1_001)),
        Err(Refusal::TooMuch { bound: Bound::Imports, found: 1_001 })
    );
}
