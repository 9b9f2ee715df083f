//! Time in tests, on a machine that is busy with something else.
//!
//! In: what is measured or waited for, and a bound. Out: a verdict that another program's load does not
//! change: a busy machine makes anything slow now and then, and nothing fast. Never: an upper bound that one
//! measurement alone has to keep, unless what it tells from takes ten times as long.

use std::time::{Duration, Instant};

/// How long a test waits for what has to come: more than it takes anywhere, and less than forever.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often something may be measured until it was short enough.
const ATTEMPTS: usize = 10;

/// How often something that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Fails unless one of ten measurements is below `bound`. The first that is ends it.
pub fn within(bound: Duration, mut measured: impl FnMut() -> Duration) {
    let mut seen = Vec::new();
    while goes_on(bound, &seen) {
        seen.push(measured());
    }
}

/// The same for what is measured in a runtime.
pub async fn soon_within(bound: Duration, mut measured: impl AsyncFnMut() -> Duration) {
    let mut seen = Vec::new();
    while goes_on(bound, &seen) {
        seen.push(measured().await);
    }
}

fn goes_on(bound: Duration, seen: &[Duration]) -> bool {
    let below = seen.last().is_some_and(|took| *took < bound);
    assert!(below || seen.len() < ATTEMPTS, "never below {bound:?}: {seen:?}");
    !below
}

/// Waits until something is so, and fails if it does not come to be.
pub fn until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it did not come to be");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The same in a runtime.
pub async fn soon(mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "it did not come to be");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[test]
fn one_short_measurement_is_enough_and_none_is_a_failure() {
    let mut measurements = [9, 7, 2, 1].map(Duration::from_millis).into_iter();
    within(Duration::from_millis(5), || measurements.next().unwrap());
    assert_eq!(measurements.next(), Some(Duration::from_millis(1)));
    let mut count = 0;
    let none = std::panic::AssertUnwindSafe(|| {
        within(Duration::from_millis(5), || {
            count += 1;
            Duration::from_millis(5)
        })
    });
    assert!(std::panic::catch_unwind(none).is_err());
    assert_eq!(count, ATTEMPTS);
}
