//! What runs, for whom, and for how long.

use super::*;

#[tokio::test]
async fn a_hundred_calls_of_one_name_run_once() {
    let directory = tempfile::tempdir().unwrap();
    let calls = Calls::in_directory(directory.path());
    calls.waits.store(true, Ordering::SeqCst);
    let waiting: Vec<_> = (0..100).map(|_| calls.spawn("k")).collect();
    until(|| calls.runs() == 1).await;
    // Another input under this name is told at once.
    assert_eq!(calls.call("k", "2").await, not_given(NotGiven::Reused));
    calls.ready.notify_one();
    let mut from = Vec::new();
    for call in waiting {
        let Given { answer: got, from: source } = call.await.unwrap().unwrap();
        assert_eq!(got, answer(Outcome::Ok, "run 1"));
        from.push(source);
    }
    assert_eq!(from.iter().filter(|source| **source == Source::Run).count(), 1);
    assert_eq!(calls.call("k", "1").await, given("run 1", Source::Kept));
    assert_eq!(calls.call("k", "2").await, not_given(NotGiven::Reused));
    assert_eq!(calls.runs(), 1);
    assert_eq!(calls.idempotency.flights.under_way(), 0);
    // What they are for somebody else is somebody else's.
    calls.waits.store(false, Ordering::SeqCst);
    assert_eq!(calls.run(named_by("b", "k", "2"), Ok(Outcome::Ok)).await, given("run 2", Source::Run));
    assert_eq!(calls.call("other", "1").await, given("run 3", Source::Run));
}

#[tokio::test]
async fn a_run_goes_on_for_the_others_and_ends_with_the_last_who_waits() {
    let directory = tempfile::tempdir().unwrap();
    let calls = Calls::in_directory(directory.path());
    calls.waits.store(true, Ordering::SeqCst);
    let first = calls.spawn("k");
    until(|| calls.runs() == 1).await;
    let second = calls.spawn("k");
    // It waits by the time another is refused.
    tokio::task::yield_now().await;
    assert_eq!(calls.call("k", "2").await, not_given(NotGiven::Reused));
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    calls.ready.notify_one();
    assert_eq!(second.await.unwrap(), given("run 1", Source::Shared));

    let alone = calls.spawn("another");
    until(|| calls.runs() == 2).await;
    assert_eq!(calls.gone.load(Ordering::SeqCst), 1);
    alone.abort();
    until(|| calls.gone.load(Ordering::SeqCst) == 2).await;
    assert_eq!(calls.idempotency.flights.under_way(), 0);
    // Nothing was kept of it, and whoever comes after has a run of their own.
    calls.waits.store(false, Ordering::SeqCst);
    assert_eq!(calls.call("another", "1").await, given("run 3", Source::Run));
}

#[tokio::test]
async fn what_the_same_call_would_have_again_is_kept_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let calls = Calls::in_directory(directory.path());
    let kept = [
        Outcome::Ok,
        Outcome::GuestError,
        Outcome::Trap,
        Outcome::MemoryExceeded,
        Outcome::OutputInvalid,
        Outcome::OutputTooLarge,
    ];
    for outcome in Outcome::ALL {
        let before = calls.runs();
        let call = named(outcome.as_str(), "1");
        let first = calls.run(call.clone(), Ok(outcome)).await.unwrap();
        let second = calls.run(call, Ok(outcome)).await.unwrap();
        assert_eq!(first.answer.outcome, outcome);
        let ran = calls.runs() - before;
        match kept.contains(&outcome) {
            true => {
                assert_eq!((ran, second.answer, second.from), (1, first.answer, Source::Kept), "{outcome}")
            }
            false => assert_eq!((ran, second.from), (2, Source::Run), "{outcome}"),
        }
    }
    let before = calls.runs();
    for _ in 0..2 {
        let refused = calls.run(named("refused", "1"), Err(NoAnswer::Refused)).await;
        assert_eq!(refused, Err(NoAnswer::Refused));
    }
    assert_eq!(calls.runs() - before, 2);
}

#[tokio::test]
async fn a_run_that_panics_is_lost_and_over() {
    let directory = tempfile::tempdir().unwrap();
    let calls = Calls::in_directory(directory.path());
    let broken = || async { panic!("a run of a test") };
    let lost = calls.idempotency.answer(&named("k", "1"), Instant::now() + LONG, broken).await;
    assert_eq!(lost, not_given(NotGiven::Lost));
    assert_eq!(calls.call("k", "1").await, given("run 1", Source::Run));
}

#[tokio::test]
async fn who_has_no_time_left_does_not_wait_for_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let calls = Calls::in_directory(directory.path());
    calls.waits.store(true, Ordering::SeqCst);
    let first = calls.spawn("k");
    until(|| calls.runs() == 1).await;
    let unused = || async { panic!("a second run") };
    let late = calls.idempotency.answer(&named("k", "1"), Instant::now(), unused).await;
    assert_eq!(late, not_given(NotGiven::UnderWay));
    calls.ready.notify_one();
    assert_eq!(first.await.unwrap(), given("run 1", Source::Run));
}
