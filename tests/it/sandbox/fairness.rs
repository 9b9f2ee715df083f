//! Guests beside each other.

use std::time::Instant;

use super::*;

fn seven() -> String {
    module_with(
        "(memory (export \"memory\") 1) (data (i32.const 8) \"7\")",
        "i32.const 1024",
        &output_at(8, 1),
    )
}

#[test]
fn short_runs_end_soon_beside_many_that_never_end() {
    let harness = harness(2, 64);
    let short = harness.wat(&seven());
    let spinner = harness.wat(&module("(loop $forever (br $forever)) unreachable"));
    let spinners: Vec<_> = (0..30 * 2)
        .map(|_| harness.runtime.spawn(harness.sandbox.run(job(&spinner, "{}", ENDLESS), Lease::none())))
        .collect();
    until(|| harness.sandbox.load().instances == spinners.len());
    // A tick until a thread is free, and the run; a rotation of all spinners would be thirty ticks.
    within(Duration::from_millis(20), || {
        let mut waits: Vec<Duration> = (0..25)
            .map(|_| {
                let began = Instant::now();
                assert_eq!(harness.run(&short, "{}", WIDE).result, Ok(Bytes::from("7")));
                began.elapsed()
            })
            .collect();
        waits.sort();
        waits[12]
    });
    for run in spinners {
        run.abort();
    }
}

#[test]
fn a_flood_of_short_runs_does_not_stop_a_long_one() {
    let harness = harness(1, 32);
    let short = harness.wat(&seven());
    // Counts far enough to need several turns.
    let long = harness.wat(&module(&format!(
        "(local $i i32) (loop $count (local.set $i (i32.add (local.get $i) (i32.const 1))) \
           (br_if $count (i32.lt_u (local.get $i) (i32.const 20000000)))) \
         (i32.store8 (i32.const 8) (i32.const 0x37)) {}",
        output_at(8, 1)
    )));
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let (sandbox, short) = (Arc::clone(&harness.sandbox), short.clone());
            harness.runtime.spawn(async move {
                loop {
                    sandbox.run(job(&short, "{}", WIDE), Lease::none()).await.unwrap();
                }
            })
        })
        .collect();
    let completion = harness.run(&long, "{}", WIDE);
    assert_eq!(completion.result, Ok(Bytes::from("7")));
    for run in flood {
        run.abort();
    }
}

#[test]
fn every_slot_is_free_again_after_runs_of_every_kind() {
    let harness = harness(2, 8);
    let page = "(memory (export \"memory\") 1)";
    let kinds = [
        (seven(), Outcome::Ok),
        (module("unreachable"), Outcome::Trap),
        (module("(loop br 0) unreachable"), Outcome::Timeout),
        (module("(drop (memory.grow (i32.const 65535))) unreachable"), Outcome::MemoryExceeded),
        (module(&output_at(0, 0)), Outcome::OutputInvalid),
        (module(&output_at(0, 60_000)), Outcome::OutputTooLarge),
        (
            module_with(&format!("{page} (data (i32.const 65536) \"a\")"), "i32.const 8", "i64.const 0"),
            Outcome::Trap,
        ),
        (
            module_with(&format!("{page} (func $s unreachable) (start $s)"), "i32.const 8", "i64.const 0"),
            Outcome::Trap,
        ),
        (
            module_with("(memory (export \"memory\") 1000)", "i32.const 8", "i64.const 0"),
            Outcome::MemoryExceeded,
        ),
    ]
    .map(|(text, outcome)| (harness.wat(&text), outcome));
    let limits = |outcome| match outcome {
        Outcome::Timeout => Limits { duration: Duration::from_millis(5), ..WIDE },
        _ => Limits { output_bytes: 1000, ..WIDE },
    };
    for _ in 0..20 {
        for chunk in kinds.chunks(8) {
            let runs: Vec<_> = chunk
                .iter()
                .map(|(artifact, outcome)| {
                    (harness.sandbox.run(job(artifact, "{}", limits(*outcome)), Lease::none()), *outcome)
                })
                .map(|(run, outcome)| (harness.runtime.spawn(run), outcome))
                .collect();
            for (run, outcome) in runs {
                assert_eq!(harness.runtime.block_on(run).unwrap().unwrap().outcome(), outcome);
            }
        }
    }
    let load = harness.sandbox.load();
    assert_eq!((load.instances, load.stacks, load.ready, load.slots), (0, 0, 0, 8));
}

#[test]
fn one_run_more_than_there_are_slots_is_lost_and_not_a_failure_of_the_guest() {
    let harness = harness(1, 4);
    let spinner = harness.wat(&module("(loop $forever (br $forever)) unreachable"));
    let spinners: Vec<_> = (0..4)
        .map(|_| harness.runtime.spawn(harness.sandbox.run(job(&spinner, "{}", ENDLESS), Lease::none())))
        .collect();
    until(|| harness.sandbox.load().instances == 4);
    let lost = harness.runtime.block_on(harness.sandbox.run(job(&spinner, "{}", ENDLESS), Lease::none()));
    assert_eq!(lost, Err(at_functions::sandbox::Lost::NoSlot));
    for run in spinners {
        run.abort();
    }
}
