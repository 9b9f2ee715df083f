//! How often something may be done for each of many: a burst, and a rate after that.

use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Those that are remembered. One is forgotten when all of its burst has come back.
const MAX_KNOWN: u64 = 10_000;

/// The budgets of all.
pub(crate) struct Budgets<K> {
    burst: u32,
    interval: Duration,
    known: moka::sync::Cache<K, Arc<Budget>>,
}

/// When a burst will be whole again: each use moves it on by one interval.
#[derive(Default)]
struct Budget(Mutex<Duration>);

impl<K: Eq + Hash + Send + Sync + 'static> Budgets<K> {
    /// Budgets of `burst` uses at once, of which one comes back each `interval`.
    pub(crate) fn new(burst: u32, interval: Duration) -> Budgets<K> {
        let known =
            moka::sync::Cache::builder().max_capacity(MAX_KNOWN).time_to_idle(interval * burst).build();
        Budgets { burst, interval, known }
    }

    /// Takes one use from the budget of `whom`, or tells when there is one again. `now` counts from any
    /// moment, the same for all uses.
    pub(crate) fn take(&self, whom: K, now: Duration) -> Result<(), Duration> {
        let budget = self.known.get_with(whom, Arc::default);
        // A lock that nothing panics under.
        let mut whole_at = budget.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back must not make anybody wait for what it shows no more.
        let latest = now + self.interval * self.burst;
        *whole_at = (*whole_at).clamp(now, latest);
        let next = *whole_at + self.interval;
        if next > latest {
            return Err(next - latest);
        }
        *whole_at = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(200);

    #[test]
    fn a_burst_and_then_a_rate_each() {
        let budgets = Budgets::new(3, INTERVAL);
        let take = |whom: char, count: usize, now: Duration| {
            (0..count).map(|_| budgets.take(whom, now)).collect::<Vec<_>>()
        };
        let now = Duration::from_secs(100);
        assert_eq!(take('a', 4, now), [Ok(()), Ok(()), Ok(()), Err(INTERVAL)]);
        assert_eq!(take('b', 1, now), [Ok(())]);
        assert_eq!(take('a', 3, now + INTERVAL * 2), [Ok(()), Ok(()), Err(INTERVAL)]);
        assert_eq!(take('a', 4, now + INTERVAL * 30), [Ok(()), Ok(()), Ok(()), Err(INTERVAL)]);
    }

    #[test]
    fn a_clock_that_was_set_back_shuts_nobody_out_for_longer_than_a_burst() {
        let (budgets, now) = (Budgets::new(3, INTERVAL), Duration::from_secs(1_700_000_000));
        (0..3).for_each(|_| budgets.take('a', now).unwrap());
        let before = now - Duration::from_secs(3600);
        assert_eq!(budgets.take('a', before), Err(INTERVAL));
        assert_eq!(budgets.take('a', before + INTERVAL), Ok(()));
    }
}
