//! Functions that take time.

use super::*;

/// What a run may take beyond its limit as the answer tells it: two ticks of a millisecond, and some
/// for a machine that is busy with other tests.
const SLACK_MS: u64 = 150;

fn millis_of(answer: &Answer) -> u64 {
    answer.body["durationMs"].as_u64().unwrap()
}

fn timed_out(answer: &Answer, millis: u64) {
    failed(answer, "timeout");
    let took = millis_of(answer);
    assert!(took >= millis && took <= millis + SLACK_MS, "{took} of {millis} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_in_run_ends_at_its_limit() {
    let arena = Arena::start().await;
    let text = run("(loop $forever (br $forever)) unreachable");
    for millis in [1, 100, 700] {
        timed_out(&arena.attack(&text, Allowed { millis, ..USUAL }).await, millis);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_in_the_start_function_ends_at_its_limit() {
    let arena = Arena::start().await;
    let text = module(
        "(memory (export \"memory\") 1) (func $spin (loop $forever (br $forever))) (start $spin)",
        "i32.const 1024",
        "i64.const 0",
    );
    for millis in [1, 100] {
        timed_out(&arena.attack(&text, Allowed { millis, ..USUAL }).await, millis);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_in_alloc_ends_at_its_limit() {
    let arena = Arena::start().await;
    let text =
        module("(memory (export \"memory\") 1)", "(loop $forever (br $forever)) unreachable", "i64.const 0");
    timed_out(&arena.attack(&text, USUAL).await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_in_dealloc_is_never_entered() {
    let arena = Arena::start().await;
    let text = module(
        "(memory (export \"memory\") 1) (data (i32.const 8) \"[7]\")
         (func (export \"dealloc\") (param i32 i32) (loop $forever (br $forever)))",
        "i32.const 1024",
        &output_at(8, 3),
    );
    assert_eq!(arena.attack(&text, USUAL).await.output(), &json!([7]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_spin_at_once_leave_a_fast_one_its_turn() {
    let settings = Settings { guest_threads: Some(2), ..Settings::default() };
    let arena = Arena::start_with(settings).await;
    let spinner = arena
        .publish(&wasm(&run("(loop $forever (br $forever)) unreachable")), Allowed { millis: 500, ..USUAL });
    // The bystander's own limit is 100 ms, in which it is done many times over while they spin.
    let spinners = arena.attack_at_once(&spinner, 8);
    let fast = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut busy = 0;
        for _ in 0..10 {
            busy = busy.max(arena.world.stats().sandbox.instances);
            arena.bystander_is_served().await;
        }
        busy
    };
    let (answers, busy) = tokio::join!(spinners, fast);
    assert!(busy >= 8, "{busy}");
    for answer in &answers {
        failed(answer, "timeout");
        assert!(millis_of(answer) <= 500 + SLACK_MS, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_operations_run_over_by_one_of_them_at_most() {
    let arena = Arena::start().await;
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
    let (took, fill) = (millis_of(&answer), millis_of(&one));
    assert!(took >= 50 && took <= 50 + 2 * fill + SLACK_MS, "{took} ms, where a fill takes {fill}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_recursion_is_a_trap() {
    let arena = Arena::start().await;
    let text = r#"(module (memory (export "memory") 1)
        (func (export "alloc") (param i32) (result i32) i32.const 1024)
        (func $f (export "run") (param i32 i32) (result i64) (call $f (local.get 0) (local.get 1))))"#;
    for _ in 0..3 {
        let answer = arena.attack(text, LONG).await;
        failed(&answer, "trap");
        assert!(answer.body["error"].as_str().unwrap().starts_with("call stack exhausted"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_recursion_through_a_table_is_a_trap() {
    let arena = Arena::start().await;
    let text = r#"(module (memory (export "memory") 1) (table funcref (elem $a $b))
        (type $t (func (param i32 i32) (result i64)))
        (func (export "alloc") (param i32) (result i32) i32.const 1024)
        (func $a (export "run") (param i32 i32) (result i64)
          (call_indirect (type $t) (local.get 0) (local.get 1) (i32.const 1)))
        (func $b (param i32 i32) (result i64)
          (call_indirect (type $t) (local.get 0) (local.get 1) (i32.const 0))))"#;
    failed(&arena.attack(text, LONG).await, "trap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heavy_start_function_does_not_fit_into_a_millisecond() {
    let arena = Arena::start().await;
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
    timed_out(&arena.attack(&text, Allowed { millis: 1, ..USUAL }).await, 1);
}
