//! Guests that wait for the host: no longer than they may, and in nobody's way.

use std::time::Instant;

use super::door::{Silent, Slow, asking};
use super::*;

const RECORD: &str = r#"{"atUri":"at://did:plc:a/b.c.d/e"}"#;
const SLACK: Duration = Duration::from_millis(100);

#[test]
fn a_door_that_never_answers_ends_the_run_at_its_deadline() {
    let harness = shared();
    let artifact = harness.wat_as(Mode::HostV1, &asking("read_record"));
    for millis in [1, 60] {
        let duration = Duration::from_millis(millis);
        let door = Arc::new(Silent::default());
        let limits = Limits { duration, ..WIDE };
        let began = Instant::now();
        let completion = harness.run_job(Job { door: door.clone(), ..job(&artifact, RECORD, limits) });
        let message = format!("the function did not finish within {millis} ms (maxDurationMs)");
        assert_eq!(completion.result, Err(Failure { outcome: Outcome::Timeout, message }));
        assert!(completion.wall >= duration && completion.wall < duration + SLACK, "{:?}", completion.wall);
        assert!(began.elapsed() < duration + 3 * SLACK);
        // The call was dropped before the answer was given, and it knew how long it had.
        assert_eq!(door.waiting(), 0);
        assert!(door.time_left().is_some_and(|left| left <= duration));
        assert!(completion.usage.cpu < Duration::from_millis(50), "{:?}", completion.usage.cpu);
    }
}

#[test]
fn a_run_that_is_canceled_while_it_waits_drops_its_call() {
    let harness = harness(1, 16);
    let artifact = harness.wat_as(Mode::HostV1, &asking("read_record"));
    let limits = Limits { duration: Duration::from_secs(60), ..WIDE };
    let door = Arc::new(Silent::default());
    let (gone, all_gone) = std::sync::mpsc::channel::<()>();
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let job = Job { door: door.clone(), ..job(&artifact, RECORD, limits) };
            harness.runtime.spawn(harness.sandbox.run(job, Lease::holding(gone.clone())))
        })
        .collect();
    drop(gone);
    let began = Instant::now();
    while door.waiting() < 8 {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::yield_now();
    }
    let began = Instant::now();
    runs.iter().for_each(tokio::task::JoinHandle::abort);
    let end = all_gone.recv_timeout(Duration::from_secs(5));
    assert_eq!(end, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    assert!(began.elapsed() < 5 * SLACK, "{:?}", began.elapsed());
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
    let began = Instant::now();
    let runs: Vec<_> = (0..20)
        .map(|_| {
            let job = Job { door: door.clone(), ..job(&artifact, RECORD, WIDE) };
            harness.runtime.spawn(harness.sandbox.run(job, Lease::none()))
        })
        .collect();
    for run in runs {
        let completion = harness.runtime.block_on(run).unwrap().unwrap();
        assert_eq!(completion.result, Ok(Bytes::from(r#"{"error":"late","ok":false}"#)));
        // Between asking and waiting a worker may be off the processor, which is not the guest's time.
        let waited = completion.wall;
        assert!(waited > after - SLACK / 10 && waited < after + 3 * SLACK, "{waited:?}");
    }
    // One after the other they would take three seconds.
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
}

#[test]
fn closing_the_sandbox_ends_runs_that_wait() {
    let Harness { sandbox, runtime } =
        harness(1, 16);
    let code = wat::parse_str(asking("read_record")).unwrap();
    let compiled = runtime.block_on(sandbox.compile(Mode::HostV1, code.into())).unwrap();
    let artifact = sandbox.install(&compiled).unwrap();
    let limits = Limits { duration: Duration::from_millis(500), ..WIDE };
    let door = Arc::new(Silent::default());
    let job = Job { door: door.clone(), ..job(&artifact, RECORD, limits) };
    let run = runtime.spawn(sandbox.run(job, Lease::none()));
    let began = Instant::now();
    while door.waiting() == 0 {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::yield_now();
    }
    drop(sandbox);
    match runtime.block_on(run).unwrap() {
        Ok(completion) => assert_eq!(completion.outcome(), Outcome::Canceled),
        Err(lost) => assert_eq!(lost, at_functions::sandbox::Lost::Closed),
    }
    // A turn that was under way ends a little later.
    let began = Instant::now();
    while door.waiting() > 0 {
        assert!(began.elapsed() < limits.duration);
        std::thread::yield_now();
    }
}
