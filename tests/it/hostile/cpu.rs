//! Functions that take time.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::arena::*;
use crate::modules::*;

/// What a run may take beyond its limit: two ticks of a millisecond, the turns of others, and a little.
const SLACK: Duration = Duration::from_millis(30);

/// Calls the module of this text, which runs into its limit.
async fn timed_out(arena: &Arena, text: &str, millis: u64) {
    let answer = arena.attack(text, Allowed { millis, ..USUAL }).await;
    failed(&answer, "timeout");
    let (took, limit) = (duration(&answer), Duration::from_millis(millis));
    assert!(took >= limit, "{took:?} of {limit:?}");
    arena.within("a run beyond its limit", took - limit, SLACK);
}

pub(crate) async fn a_loop_in_run_ends_at_its_limit(arena: &Arena) {
    let text = run(SPIN);
    for millis in [1, 100, 700] {
        timed_out(arena, &text, millis).await;
    }
}

pub(crate) async fn a_loop_in_the_start_function_ends_at_its_limit(arena: &Arena) {
    let text = module(
        "(memory (export \"memory\") 1) (func $spin (loop $forever (br $forever))) (start $spin)",
        "i32.const 1024",
        "i64.const 0",
    );
    for millis in [1, 100] {
        timed_out(arena, &text, millis).await;
    }
}

pub(crate) async fn a_loop_in_alloc_ends_at_its_limit(arena: &Arena) {
    let text =
        module("(memory (export \"memory\") 1)", "(loop $forever (br $forever)) unreachable", "i64.const 0");
    timed_out(arena, &text, 100).await;
}

pub(crate) async fn a_loop_in_dealloc_is_never_entered(arena: &Arena) {
    let text = module(
        "(memory (export \"memory\") 1) (data (i32.const 8) \"[7]\")
         (func (export \"dealloc\") (param i32 i32) (loop $forever (br $forever)))",
        "i32.const 1024",
        &output_at(8, 3),
    );
    assert_eq!(arena.attack(&text, LONG).await.output(), &json!([7]));
}

pub(crate) async fn many_that_spin_at_once_leave_a_fast_one_its_turn(arena: &Arena) {
    let spinner = arena.publish(&wasm(&run(SPIN)), Allowed { millis: 300, ..USUAL });
    // Four for each thread that runs guests. The bystander's own limit is 100 ms.
    let spinners = arena.attack_at_once(&spinner, 8);
    let fast = async {
        arena.until(RUNS, |now| now == 8).await;
        for _ in 0..10 {
            let began = Instant::now();
            arena.bystander_is_served().await;
            arena.within("a fast function beside spinners", began.elapsed(), Duration::from_millis(100));
        }
    };
    let (answers, ()) = tokio::join!(spinners, fast);
    for answer in &answers {
        failed(answer, "timeout");
    }
}

pub(crate) async fn bulk_operations_run_over_by_one_of_them_at_most(arena: &Arena) {
    // Nearly all of 256 MiB, which the first fill makes the kernel hand out.
    let fill = "(memory.fill (i32.const 0) (i32.const 7) (i32.const 0x0ff00000))";
    let memory = "(memory (export \"memory\") 4096) (data (i32.const 0x0ffffff0) \"7\")";
    let most = Allowed { memory_mb: 256, millis: 5_000 };
    let once = module(memory, "i32.const 1024", &format!("{fill} {}", output_at(0x0fff_fff0, 1)));
    let one = arena.attack(&once, most).await;
    assert_eq!(one.output(), &json!(7));
    let forever =
        module(memory, "i32.const 1024", &format!("(loop $forever {fill} (br $forever)) unreachable"));
    let answer = arena.attack(&forever, Allowed { millis: 50, ..most }).await;
    failed(&answer, "timeout");
    let (took, limit) = (duration(&answer), Duration::from_millis(50));
    assert!(took >= limit, "{took:?}");
    arena.within("a fill beyond the limit", took - limit, duration(&one) + Duration::from_millis(50));
}

pub(crate) async fn endless_recursion_is_a_trap(arena: &Arena) {
    let text = r#"(module (memory (export "memory") 1)
        (func (export "alloc") (param i32) (result i32) i32.const 1024)
        (func $f (export "run") (param i32 i32) (result i64) (call $f (local.get 0) (local.get 1))))"#;
    for _ in 0..3 {
        let answer = arena.attack(text, LONG).await;
        failed(&answer, "trap");
        assert!(answer.body["error"].as_str().unwrap().starts_with("call stack exhausted"), "{answer:?}");
    }
}

pub(crate) async fn endless_recursion_through_a_table_is_a_trap(arena: &Arena) {
    let text = r#"(module (memory (export "memory") 1) (table funcref (elem $a $b))
        (type $t (func (param i32 i32) (result i64)))
        (func (export "alloc") (param i32) (result i32) i32.const 1024)
        (func $a (export "run") (param i32 i32) (result i64)
          (call_indirect (type $t) (local.get 0) (local.get 1) (i32.const 1)))
        (func $b (param i32 i32) (result i64)
          (call_indirect (type $t) (local.get 0) (local.get 1) (i32.const 0))))"#;
    failed(&arena.attack(text, LONG).await, "trap");
}

pub(crate) async fn a_heavy_start_function_does_not_fit_into_a_millisecond(arena: &Arena) {
    // Some billions of additions, unless it is stopped.
    let text = module(
        "(memory (export \"memory\") 1) (global $n (mut i32) (i32.const 0))
         (func $heavy (loop $more
           (global.set $n (i32.add (global.get $n) (i32.const 1)))
           (br_if $more (i32.ne (global.get $n) (i32.const -1)))))
         (start $heavy)",
        "i32.const 1024",
        "i64.const 0",
    );
    timed_out(arena, &text, 1).await;
}
