//! What guests get of memory.

use super::*;

/// Grows by `pages` and answers with the result as a digit, or with "9" for refused.
fn grow(initial: u32, pages: u32) -> String {
    module_with(
        &format!("(memory (export \"memory\") {initial})"),
        "i32.const 1024",
        &format!(
            "(i32.store8 (i32.const 8) (select (i32.const 0x39) (i32.const 0x31) \
               (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)))) {}",
            output_at(8, 1)
        ),
    )
}

#[test]
fn memory_grows_to_exactly_its_limit() {
    let harness = shared();
    let limits = Limits { memory_bytes: 4 * MIB, ..WIDE };
    let cases = [(1, 63, "1", 64), (1, 64, "9", 1), (64, 0, "1", 64), (64, 1, "9", 64), (1, 65_535, "9", 1)];
    for (initial, pages, answer, peak) in cases {
        let completion = harness.run(&harness.wat(&grow(initial, pages)), "{}", limits);
        assert_eq!(completion.result, Ok(Bytes::from(answer)), "{initial} + {pages}");
        assert_eq!(completion.usage.peak_memory_bytes, peak * 65_536, "{initial} + {pages}");
    }
}

#[test]
fn growing_forever_ends_at_the_limit() {
    let harness = shared();
    // Until refused, then again some thousand times, in bits that cannot be represented too.
    let text = module(&format!(
        "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) \
         (loop $again \
           (drop (memory.grow (i32.const 0xffff))) (drop (memory.grow (i32.const -1))) \
           (local.set $length (i32.add (local.get $length) (i32.const 1))) \
           (br_if $again (i32.lt_u (local.get $length) (i32.const 5000)))) \
         (i32.store8 (i32.const 8) (i32.const 0x31)) {}",
        output_at(8, 1)
    ));
    let completion = harness.run(&harness.wat(&text), "{}", Limits { memory_bytes: 8 * MIB, ..WIDE });
    assert_eq!(completion.result, Ok(Bytes::from("1")));
    assert_eq!(completion.usage.peak_memory_bytes, 8 * MIB);
}

#[test]
fn a_growth_too_large_for_any_memory_frees_nothing() {
    let harness = shared();
    // One page at a time, with an impossible growth after each: what is in use must stay counted.
    let text = module(&format!(
        "(loop $more (drop (memory.grow (i32.const -1))) \
           (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) \
         (i32.store8 (i32.const 8) (i32.const 0x31)) {}",
        output_at(8, 1)
    ));
    let completion = harness.run(&harness.wat(&text), "{}", Limits { memory_bytes: 2 * MIB, ..WIDE });
    assert_eq!(completion.result, Ok(Bytes::from("1")));
    assert_eq!(completion.usage.peak_memory_bytes, 2 * MIB);
}

#[test]
fn tables_count_as_memory() {
    let harness = shared();
    let text = |elements: u32| {
        module_with(
            "(memory (export \"memory\") 1) (table $t 1 funcref)",
            "i32.const 1024",
            &format!(
                "(i32.store8 (i32.const 8) (select (i32.const 0x39) (i32.const 0x31) \
                   (i32.eq (table.grow $t (ref.null func) (i32.const {elements})) (i32.const -1)))) {}",
                output_at(8, 1)
            ),
        )
    };
    // 64 KiB of memory and as much again: 8192 elements of 8 bytes.
    let limits = Limits { memory_bytes: 2 * 65_536, ..WIDE };
    for (elements, answer) in [(8191, "1"), (8192, "9"), (0x7fff_ffff, "9"), (u32::MAX, "9")] {
        let completion = harness.run(&harness.wat(&text(elements)), "{}", limits);
        assert_eq!(completion.result, Ok(Bytes::from(answer)), "{elements}");
    }
}

#[test]
fn growing_a_table_forever_ends() {
    let text = module_with(
        "(memory (export \"memory\") 1) (table $t 1 funcref)",
        "i32.const 1024",
        &format!(
            "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1)) (i32.const -1)))) \
             (i32.store8 (i32.const 8) (i32.const 0x31)) {}",
            output_at(8, 1)
        ),
    );
    assert_eq!(outcome_of(&text, WIDE), Outcome::Ok);
}

#[test]
fn a_trap_after_a_refused_growth_is_memory_exceeded() {
    let harness = shared();
    let limits = Limits { memory_bytes: 2 * MIB, ..WIDE };
    let grow_and_trap = |fields: &str, grow: &str| {
        module_with(fields, "i32.const 1024", &format!("(drop {grow}) unreachable"))
    };
    let page = "(memory (export \"memory\") 1)";
    let cases = [
        ("refused", grow_and_trap(page, "(memory.grow (i32.const 100))"), Outcome::MemoryExceeded),
        ("not refused", grow_and_trap(page, "(memory.grow (i32.const 10))"), Outcome::Trap),
        (
            "beyond its own maximum",
            grow_and_trap("(memory (export \"memory\") 1 2)", "(memory.grow (i32.const 2))"),
            Outcome::MemoryExceeded,
        ),
        (
            "in the start function",
            module_with(
                &format!("{page} (func $s (drop (memory.grow (i32.const 100))) unreachable) (start $s)"),
                "i32.const 1024",
                "i64.const 0",
            ),
            Outcome::MemoryExceeded,
        ),
        (
            "an allocator that gives up",
            module_with(page, "(drop (memory.grow (i32.const 100))) i32.const 0", "i64.const 0"),
            Outcome::MemoryExceeded,
        ),
    ];
    for (name, text, outcome) in cases {
        let completion = harness.run(&harness.wat(&text), "{}", limits);
        assert_eq!(completion.outcome(), outcome, "{name}");
        if outcome == Outcome::MemoryExceeded {
            let message = &failed(&completion).message;
            assert!(
                message.starts_with("the function asked for more than its 2 MiB of memory (maxMemoryMb): "),
                "{message}"
            );
        }
    }
}

#[test]
fn a_module_that_starts_with_more_than_its_limit_does_not_start() {
    let harness = shared();
    // Its start function would run into its time limit, so it has not run.
    let text = module_with(
        "(memory (export \"memory\") 33) (func $s (loop br 0)) (start $s)",
        "i32.const 1024",
        "i64.const 0",
    );
    let completion = harness.run(&harness.wat(&text), "{}", Limits { memory_bytes: 2 * MIB, ..WIDE });
    let message =
        "the function asked for more than its 2 MiB of memory (maxMemoryMb): it starts with 2112 KiB";
    assert_eq!(completion.result, Err(Failure { outcome: Outcome::MemoryExceeded, message: message.into() }));
    assert_eq!(completion.wall, Duration::ZERO);
    assert_eq!(completion.usage.cpu, Duration::ZERO);
}

#[test]
fn the_widest_memory_there_is_can_be_used_and_is_returned() {
    let harness = shared();
    let text = module_with(
        "(memory (export \"memory\") 4096)",
        "i32.const 1024",
        &format!("(i32.store8 (i32.const 0xfffffff) (i32.const 0x37)) {}", output_at(0x0fff_ffff, 1)),
    );
    let completion = harness.run(&harness.wat(&text), "{}", Limits { memory_bytes: 256 * MIB, ..WIDE });
    assert_eq!(completion.result, Ok(Bytes::from("7")));
    assert_eq!(completion.usage.peak_memory_bytes, 256 * MIB);
}

#[test]
fn segments_out_of_bounds_are_a_trap_before_anything_runs() {
    let harness = shared();
    let page = "(memory (export \"memory\") 1)";
    let cases = [
        ("data", format!("{page} (data (i32.const 65535) \"ab\")")),
        ("data far out", format!("{page} (data (i32.const 0xfffffff) \"ab\")")),
        ("elements", format!("{page} (table 1 funcref) (func $f) (elem (i32.const 1) $f)")),
    ];
    for (name, fields) in cases {
        let artifact = harness.wat(&module_with(&fields, "i32.const 1024", "i64.const 0"));
        // Again and again, so that a slot that is not cleared would show.
        for _ in 0..20 {
            assert_eq!(harness.run(&artifact, "{}", WIDE).outcome(), Outcome::Trap, "{name}");
        }
    }
}

#[test]
fn nothing_of_a_run_is_left_for_the_next() {
    // One slot's worth of parallelism, so that the next run gets the memory of the one before.
    let harness = harness(1, 4);
    // Fills its memory, its table and its global, ...
    let writer = harness.wat(&module_with(
        "(memory (export \"memory\") 8) (global $g (mut i32) (i32.const 0)) (table $t 100 funcref) (func $f) (elem declare func $f)",
        "i32.const 1024",
        &format!(
            "(memory.fill (i32.const 0) (i32.const 0x39) (i32.const 0x80000)) (global.set $g (i32.const 1)) \
             (table.fill $t (i32.const 0) (ref.func $f) (i32.const 100)) {}",
            output_at(8, 1)
        ),
    ));
    // ... and answers "1" if it finds anything but zeros, nulls and its own data.
    let reader_fields = |pages: u32| {
        format!(
            "(memory (export \"memory\") {pages}) (data (i32.const 70000) \"\\05\") (global $g (mut i32) (i32.const 0)) \
             (table $t 100 funcref)"
        )
    };
    let reader_body = |pages: u32| {
        format!(
            "(local $i i32) (local $found i32) \
             (memory.fill (i32.const 1024) (i32.const 0) (local.get $length)) \
             (loop $bytes \
               (local.set $found (i32.add (local.get $found) (i32.load8_u (local.get $i)))) \
               (local.set $i (i32.add (local.get $i) (i32.const 1))) \
               (br_if $bytes (i32.lt_u (local.get $i) (i32.const {})))) \
             (local.set $found (i32.add (local.get $found) (global.get $g))) \
             (local.set $i (i32.const 0)) \
             (loop $elements \
               (local.set $found (i32.add (local.get $found) \
                 (i32.eqz (ref.is_null (table.get $t (local.get $i)))))) \
               (local.set $i (i32.add (local.get $i) (i32.const 1))) \
               (br_if $elements (i32.lt_u (local.get $i) (i32.const 100)))) \
             (i32.store8 (i32.const 8) (i32.add (i32.const 0x30) (i32.ne (local.get $found) (i32.const 5)))) {}",
            pages * 65_536,
            output_at(8, 1)
        )
    };
    let readers = [2, 8]
        .map(|pages| harness.wat(&module_with(&reader_fields(pages), "i32.const 1024", &reader_body(pages))));
    for _ in 0..50 {
        assert_eq!(harness.run(&writer, "{}", WIDE).result, Ok(Bytes::from("9")));
        for reader in &readers {
            assert_eq!(harness.run(reader, "{}", WIDE).result, Ok(Bytes::from("0")));
        }
    }
}
