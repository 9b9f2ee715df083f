//! Guests that do not end by themselves.

use std::time::Instant;

use super::*;

#[test]
fn a_guest_that_does_not_end_is_stopped_wherever_it_is() {
    let spin = "(loop $forever (br $forever))";
    let page = "(memory (export \"memory\") 1)";
    let start = format!("{page} (func $spin {spin}) (start $spin)");
    let filler = "(memory (export \"memory\") 32)";
    let cases = [
        ("in run", module(&format!("{spin} unreachable"))),
        ("in alloc", module_with(page, &format!("{spin} unreachable"), "i64.const 0")),
        ("in its start function", module_with(&start, "i32.const 1024", "i64.const 0")),
        (
            "in recursion that never gets deep",
            module_with(
                &format!("{page} (func $leaf)"),
                "i32.const 1024",
                "(loop $forever (call $leaf) (br $forever)) unreachable",
            ),
        ),
        (
            "in bulk operations",
            module_with(
                filler,
                "i32.const 1024",
                "(loop $forever (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x100000)) (br $forever)) unreachable",
            ),
        ),
        (
            "in growing by nothing",
            module("(loop $forever (drop (memory.grow (i32.const 0))) (br $forever)) unreachable"),
        ),
    ];
    let harness = shared();
    for (name, text) in cases {
        let artifact = harness.wat(&text);
        for millis in [1, 20] {
            let duration = Duration::from_millis(millis);
            let message = format!("the function did not finish within {millis} ms (maxDurationMs)");
            let timeout = Failure { outcome: Outcome::Timeout, message };
            within(duration + SLACK, || {
                let completion = harness.run(&artifact, "{}", Limits { duration, ..WIDE });
                assert_eq!(completion.result.as_ref(), Err(&timeout), "{name}");
                assert!(completion.wall >= duration, "{name}: {:?} of {duration:?}", completion.wall);
                completion.wall
            });
        }
    }
}

#[test]
fn an_output_that_comes_too_late_is_none() {
    // One bulk operation is not interrupted; this many bytes take longer than the limit.
    let fill = "(memory.fill (i32.const 0) (i32.const 0x31) (i32.const 0x3ff0000))";
    let text = module_with(
        "(memory (export \"memory\") 1024)",
        "i32.const 1024",
        &format!("{fill} {}", output_at(0, 1)),
    );
    let limits = Limits { memory_bytes: 64 * MIB, duration: Duration::from_millis(1), ..WIDE };
    assert_eq!(outcome_of(&text, limits), Outcome::Timeout);
    assert_eq!(outcome_of(&text, Limits { duration: WIDE.duration, ..limits }), Outcome::Ok);
}

#[test]
fn time_in_which_others_run_does_not_count() {
    // Eight that need 30 ms each on one thread: each is ready for some 240 ms, and none times out.
    let harness = harness(1, 16);
    let spinner = harness.wat(&module("(loop $forever (br $forever)) unreachable"));
    let limits = Limits { duration: Duration::from_millis(30), ..WIDE };
    within(limits.duration + SLACK, || {
        let began = Instant::now();
        let runs: Vec<_> = (0..8)
            .map(|_| harness.runtime.spawn(harness.sandbox.run(job(&spinner, "{}", limits), Lease::none())))
            .collect();
        let ended = runs.into_iter().map(|run| harness.runtime.block_on(run).unwrap().unwrap());
        let longest = ended.map(|completion| {
            assert_eq!(completion.outcome(), Outcome::Timeout);
            assert!(completion.usage.cpu <= completion.wall);
            completion.wall
        });
        let longest = longest.max().unwrap();
        assert!(began.elapsed() >= 8 * limits.duration);
        longest
    });
}

#[test]
fn a_run_whose_future_is_dropped_stops_and_returns_what_it_held() {
    let harness = harness(2, 16);
    let spinner = harness.wat(&module("(loop $forever (br $forever)) unreachable"));
    let (gone, all_gone) = std::sync::mpsc::channel::<()>();
    // More than there are threads, so that some are dropped in the queue and some on a thread.
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let run = harness.sandbox.run(job(&spinner, "{}", ENDLESS), Lease::holding(gone.clone()));
            harness.runtime.spawn(run)
        })
        .collect();
    drop(gone);
    until(|| harness.sandbox.load().instances == 8);
    for run in runs {
        run.abort();
    }
    // Every lease is dropped, and only when its instance is gone.
    let end = all_gone.recv_timeout(SOON);
    assert_eq!(end, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(harness.sandbox.load().instances, 0);
    assert_eq!(harness.sandbox.load().stacks, 0);
}

#[test]
fn a_run_that_is_dropped_before_it_is_polled_does_not_run() {
    let harness = shared();
    let spinner = harness.wat(&module("(loop $forever (br $forever)) unreachable"));
    let (gone, all_gone) = std::sync::mpsc::channel::<()>();
    drop(harness.sandbox.run(job(&spinner, "{}", ENDLESS), Lease::holding(gone)));
    let end = all_gone.recv_timeout(SOON);
    assert_eq!(end, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn closing_the_sandbox_ends_its_runs() {
    let Harness { sandbox, runtime } =
        harness(1, 16);
    let code = wat::parse_str(module("(loop $forever (br $forever)) unreachable")).unwrap();
    let spinner = runtime.block_on(sandbox.compile(Mode::PureV1, code.into())).unwrap();
    let spinner = sandbox.install(&spinner).unwrap();
    let runs: Vec<_> =
        (0..3).map(|_| runtime.spawn(sandbox.run(job(&spinner, "{}", ENDLESS), Lease::none()))).collect();
    drop(sandbox);
    for run in runs {
        match runtime.block_on(run).unwrap() {
            Ok(completion) => assert_eq!(completion.outcome(), Outcome::Canceled),
            Err(lost) => assert_eq!(lost, at_functions::sandbox::Lost::Closed),
        }
    }
}
