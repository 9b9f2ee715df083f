//! Functions that take memory, or look for what others left in it.

use std::time::Duration;

use at_functions::dev::Published;
use serde_json::json;

use crate::arena::*;
use crate::modules::*;

const MIB: u64 = 1 << 20;
/// Runs that leave a secret behind, and runs that look for it, all together.
const RUNS: usize = 10_000;

pub(crate) async fn all_the_memory_there_is_at_the_start_is_refused(arena: &Arena) {
    let text = module("(memory (export \"memory\") 65536)", "i32.const 1024", "i64.const 0");
    let reason = arena.refusal(&wasm(&text)).await;
    assert!(reason.contains("65536 pages of initial memory; at most 4096 are allowed"), "{reason}");
}

pub(crate) async fn more_at_the_start_than_the_record_allows_does_not_start(arena: &Arena) {
    // Its start function would run into its time limit.
    let text = module(
        "(memory (export \"memory\") 33) (func $spin (loop br 0)) (start $spin)",
        "i32.const 1024",
        "i64.const 0",
    );
    let answer = arena.attack(&text, Allowed { memory_mb: 2, ..USUAL }).await;
    failed(&answer, "memoryExceeded");
    assert_eq!((answer.body["durationMs"].as_u64(), peak(&answer)), (Some(0), 0));
}

pub(crate) async fn growing_forever_is_refused_at_the_limit(arena: &Arena) {
    // One page at a time until refused, and then a thousand times more.
    let grow = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
                (loop $again
                  (drop (memory.grow (i32.const 1))) (drop (memory.grow (i32.const 0xffff)))
                  (local.set $length (i32.add (local.get $length) (i32.const 1)))
                  (br_if $again (i32.lt_u (local.get $length) (i32.const 1000))))";
    let told = run(&format!("{grow} (i32.store8 (i32.const 8) (i32.const 0x37)) {}", output_at(8, 1)));
    let answer = arena.attack(&told, LONG).await;
    assert_eq!((answer.output(), peak(&answer)), (&json!(7), 32 * MIB));
    let trapped = arena.attack(&run(&format!("{grow} unreachable")), LONG).await;
    failed(&trapped, "memoryExceeded");
    assert_eq!(peak(&trapped), 32 * MIB);
}

pub(crate) async fn memory_grows_to_exactly_its_limit(arena: &Arena) {
    // 64 pages are 4 MiB, of which there is one at the start. The answer: 1 for grown, 9 for refused.
    for (pages, told, most) in [(63, 1, 4 * MIB), (64, 9, MIB / 16)] {
        let text = run(&format!(
            "(i32.store8 (i32.const 8) (select (i32.const 0x39) (i32.const 0x31)
               (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)))) {}",
            output_at(8, 1)
        ));
        let answer = arena.attack(&text, Allowed { memory_mb: 4, ..LONG }).await;
        assert_eq!((answer.output(), peak(&answer)), (&json!(told), most), "{pages} more pages");
    }
}

pub(crate) async fn two_hundred_that_touch_all_they_may_wait_for_the_budget(arena: &Arena) {
    // Each grows to 32 MiB and writes into every page.
    let text = run(&format!(
        "(local $at i32)
         (if (i32.eq (memory.grow (i32.const 511)) (i32.const -1)) (then unreachable))
         (loop $pages
           (i32.store (local.get $at) (i32.const 0x37))
           (local.set $at (i32.add (local.get $at) (i32.const 4096)))
           (br_if $pages (i32.lt_u (local.get $at) (i32.const 0x2000000))))
         {}",
        output_at(0x1ff_f000, 1)
    ));
    let function = arena.publish(&wasm(&text), LONG);
    let most_reserved = async {
        let mut most = 0;
        for _ in 0..50 {
            most = most.max(arena.service.metric("at_functions_memory_reserved_bytes"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        most
    };
    let (answers, most_reserved) = tokio::join!(arena.attack_at_once(&function, 200), most_reserved);
    assert!((32 * MIB..=512 * MIB).contains(&most_reserved), "{most_reserved}");
    let mut ran = 0;
    for answer in &answers {
        match answer.status {
            200 => {
                assert_eq!((answer.output(), peak(answer)), (&json!(7), 32 * MIB));
                ran += 1;
            }
            // Those that would have been too late.
            _ => assert_eq!(answer.error(), (503, "NotEnoughResources"), "{answer:?}"),
        }
    }
    assert!(ran >= 20, "{ran}");
}

pub(crate) async fn a_table_of_ten_million_is_refused(arena: &Arena) {
    let text =
        module("(memory (export \"memory\") 1) (table 10000000 funcref)", "i32.const 0", "i64.const 0");
    let reason = arena.refusal(&wasm(&text)).await;
    assert!(reason.contains("10000000 initial table elements; at most 20000 are allowed"), "{reason}");
}

pub(crate) async fn a_table_that_grows_forever_is_refused_more(arena: &Arena) {
    let text = module(
        "(memory (export \"memory\") 1) (table $t 1 funcref)",
        "i32.const 1024",
        &format!(
            "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1)) (i32.const -1))))
             (if (i32.ne (table.grow $t (ref.null func) (i32.const -1)) (i32.const -1)) (then unreachable))
             (i32.store8 (i32.const 8) (i32.const 0x37)) {}",
            output_at(8, 1)
        ),
    );
    let answer = arena.attack(&text, LONG).await;
    assert_eq!(answer.output(), &json!(7));
    assert!(peak(&answer) < MIB, "{answer:?}");
}

pub(crate) async fn memories_of_other_kinds_are_refused_by_name(arena: &Arena) {
    let of = |memory: &str| wasm(&module(memory, "i32.const 1024", "i64.const 0"));
    let hundred = format!("(memory (export \"memory\") 1) {}", "(memory 1)".repeat(99));
    let cases = [
        (of(&hundred), "100 memories; at most 1 are allowed"),
        (of("(memory (export \"memory\") i64 1)"), "64-bit memories"),
        (of("(memory (export \"memory\") 1 1 shared)"), "threads"),
        (of("(memory (export \"memory\") 1 (pagesize 1))"), "custom page sizes"),
    ];
    for (code, feature) in cases {
        let reason = arena.refusal(&code).await;
        assert!(reason.contains(feature), "{feature}: {reason}");
    }
}

pub(crate) async fn what_one_writes_nobody_finds(arena: &Arena) {
    // Memory that is wiped by hand, and memory that is given back to the kernel; with data of its own and
    // without, which the engine makes of different images. Each shape has one that fills all of its memory
    // with a secret, and one that looks for it.
    let pairs: Vec<[Published; 2]> = [(1, ""), (2, "(data (i32.const 40000) \"own\")"), (8, "")]
        .into_iter()
        .map(|(pages, data)| {
            let bytes = pages * 65_536;
            let memory = format!("(memory (export \"memory\") {pages}) {data}");
            let fills = format!(
                "(memory.fill (i32.const 0) (i32.const 0x37) (i32.const {bytes})) {}",
                output_at(8, 1)
            );
            // All but its input and its own data.
            let looks = format!(
                "(local $at i32) (local $found i64)
                 (memory.fill (i32.const 1024) (i32.const 0) (local.get $length))
                 (i32.store (i32.const 40000) (i32.const 0))
                 (loop $words
                   (local.set $found (i64.or (local.get $found) (i64.load (local.get $at))))
                   (local.set $at (i32.add (local.get $at) (i32.const 8)))
                   (br_if $words (i32.lt_u (local.get $at) (i32.const {bytes}))))
                 (i32.store8 (i32.const 8) (select (i32.const 0x30) (i32.const 0x31)
                   (i64.eqz (local.get $found))))
                 {}",
                output_at(8, 1)
            );
            [fills, looks].map(|body| arena.publish(&wasm(&module(&memory, "i32.const 1024", &body)), LONG))
        })
        .collect();
    for function in pairs.iter().flatten() {
        arena.call(function).await;
    }
    arena.makes_at_once(16);
    for round in 0..RUNS / 16 {
        let calls = (0..16).map(|n| arena.call(&pairs[(round + n / 2) % pairs.len()][n % 2]));
        for (n, answer) in futures_util::future::join_all(calls).await.iter().enumerate() {
            assert_eq!(answer.output(), [7, 0][n % 2], "in round {round}");
        }
    }
}

pub(crate) async fn segments_out_of_bounds_are_a_trap_and_leave_nothing(arena: &Arena) {
    let page = "(memory (export \"memory\") 1)";
    let cases = [
        format!("{page} (data (i32.const 0) \"before\") (data (i32.const 65535) \"ab\")"),
        format!("{page} (data (i32.const 0xfffffff) \"ab\")"),
        format!("{page} (table 1 funcref) (func $f) (elem (i32.const 1) $f)"),
    ];
    for fields in cases {
        let function = arena.publish(&wasm(&module(&fields, "i32.const 1024", "i64.const 0")), LONG);
        for answer in arena.attack_at_once(&function, 20).await {
            failed(&answer, "trap");
        }
    }
}
