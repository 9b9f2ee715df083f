//! Guests that wait for the host: no longer than they may, and in nobody's way.

use std::time::Instant;

use super::door::{Silent, Slow, asking};
use super::*;

const RECORD: &str = r#"{"atUri":"at://did:plc:a/b.c.d/e"}"#;

#[test]
fn a_door_that_never_answers_ends_the_run_at_its_deadline() {
    let harness = shared();
    let artifact = harness.wat_as(Mode::HostV1, &asking("read_record"));
    for millis in [1, 100] {
        let duration = Duration::from_millis(millis);
        let limits = Limits { duration, ..WIDE };
        within(duration + SLACK, || {
            let door = Arc::new(Silent::default());
            let began = Instant::now();
            let completion = harness.run_job(Job { door: door.clone(), ..job(&artifact, RECORD, limits) });
            let message = format!("the function did not finish within {millis} ms (maxDurationMs)");
            assert_eq!(completion.result, Err(Failure { outcome: Outcome::Timeout, message }));
            assert!(completion.wall >= duration, "{:?}", completion.wall);
            // The call was dropped before the answer was given, and it knew how long it had. In the
            // shortest time a run may not come to ask at all.
            assert_eq!(door.waiting(), 0);
            let told = door.time_left();
            assert!(told.map_or(millis == 1, |left| left <= duration), "{told:?}");
            assert!(completion.usage.cpu < Duration::from_millis(50), "{:?}", completion.usage.cpu);
            began.elapsed().max(completion.wall)
        });
    }
}

#[test]
fn a_run_that_is_canceled_while_it_waits_drops_its_call() {
    let harness = harness(1, 16);
    let artifact = harness.wat_as(Mode::HostV1, &asking("read_record"));
    let door = Arc::new(Silent::default());
    let (gone, all_gone) = std::sync::mpsc::channel::<()>();
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let job = Job { door: door.clone(), ..job(&artifact, RECORD, ENDLESS) };
            harness.runtime.spawn(harness.sandbox.run(job, Lease::holding(gone.clone())))
        })
        .collect();
    drop(gone);
    until(|| door.waiting() == 8);
    runs.iter().for_each(tokio::task::JoinHandle::abort);
    let end = all_gone.recv_timeout(SOON);
    assert_eq!(end, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    assert_eq!(door.waiting(), 0);
    let load = harness.sandbox.load();
    assert_eq!((load.instances, load.stacks), (0, 0));
}

#[test]
fn guests_that_wait_leave_their_thread_to_others() {
    let harness = harness(1, 64);
    let artifact = harness.wat_as(Mode::HostV1, &asking("read_record"));
    let after = Duration::from_millis(150);
    let door = Arc::new(Slow { runtime: harness.runtime.handle().clone(), after });
    // One after the other they would take six seconds.
    within(Duration::from_millis(1_500), || {
        let began = Instant::now();
        let runs: Vec<_> = (0..40)
            .map(|_| {
                let job = Job { door: door.clone(), ..job(&artifact, RECORD, WIDE) };
                harness.runtime.spawn(harness.sandbox.run(job, Lease::none()))
            })
            .collect();
        for run in runs {
            let completion = harness.runtime.block_on(run).unwrap().unwrap();
            assert_eq!(completion.result, Ok(Bytes::from(r#"{"error":"late","ok":false}"#)));
            // Between asking and waiting a worker may be off the processor, which is not the guest's time.
            assert!(completion.wall > completion.usage.cpu + after / 10, "{completion:?}");
        }
        began.elapsed()
    });
}

#[test]
fn closing_the_sandbox_ends_runs_that_wait() {
    let Harness { sandbox, runtime } =
        harness(1, 16);
    let code = wat::parse_str(asking("read_record")).unwrap();
    let compiled = runtime.block_on(sandbox.compile(Mode::HostV1, code.into())).unwrap();
    let artifact = sandbox.install(&compiled).unwrap();
    let door = Arc::new(Silent::default());
    let job = Job { door: door.clone(), ..job(&artifact, RECORD, ENDLESS) };
    let run = runtime.spawn(sandbox.run(job, Lease::none()));
    until(|| door.waiting() == 1);
    drop(sandbox);
    match runtime.block_on(run).unwrap() {
        Ok(completion) => assert_eq!(completion.outcome(), Outcome::Canceled),
        Err(lost) => assert_eq!(lost, at_functions::sandbox::Lost::Closed),
    }
    // A turn that was under way ends a little later.
    until(|| door.waiting() == 0);
}
