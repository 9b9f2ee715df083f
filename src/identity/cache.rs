//! Answers kept for a while, asked for once however many want them.
//!
//! A fresh answer is given as it is. An older one is still given while one fetch behind it tries for
//! a newer. Without one, all who ask wait for a single fetch, which goes on when they give up.
//! Failures are remembered for seconds only, in a cache of their own, so that a flood of unknown names
//! cannot push known ones out.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::IdentityError;
use crate::clock::Clock;
use crate::telemetry;

/// Fetches under way for one cache. Each costs a task and, sooner or later, a place in a bounded queue.
const MAX_FLIGHTS: usize = 2048;
/// How many failures are remembered, of at most some 300 bytes each.
const MAX_FAILURES: u64 = 20_000;

/// For how long answers count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    /// Given without a second thought.
    pub(super) fresh: Duration,
    /// Given while a newer one is fetched.
    pub(super) stale: Duration,
    /// How long a "there is none" or "that is no valid one" is believed.
    pub(super) refused: Duration,
    /// How long trouble of the network is remembered.
    pub(super) trouble: Duration,
    /// The least time between two fetches that are forced.
    pub(super) between_refreshes: Duration,
}

/// The cache. Cheap to clone; clones share all they hold.
pub(super) struct Cache<K, V>(Arc<Shared<K, V>>);

struct Shared<K, V> {
    /// What is kept here, in the metrics.
    what: &'static str,
    good: moka::future::Cache<K, At<V>>,
    failed: moka::future::Cache<K, At<IdentityError>>,
    flights: Mutex<HashMap<K, Landing<V>>>,
    clock: Clock,
    ages: Ages,
}

/// Something, and when it was learned.
#[derive(Clone)]
struct At<T> {
    what: T,
    when: Duration,
}

type Outcome<V> = Result<V, IdentityError>;
/// Where the outcome of a fetch appears. Closed without one if the fetch panicked.
type Landing<V> = watch::Receiver<Option<Outcome<V>>>;

/// How much newness is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// What is known, if it is not too old.
    Known,
    /// Something newer than what is known.
    Newer,
}

enum Verdict<V> {
    Answer(Outcome<V>),
    AnswerAndFetch(V),
    Fetch,
}

impl<K, V> Cache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// An empty cache of at most `max_bytes`, as `weigh` counts them. `what` is kept in it, in one word, is
    /// for the metrics.
    pub(super) fn new(
        what: &'static str,
        max_bytes: u64,
        weigh: fn(&K, &V) -> usize,
        ages: Ages,
        clock: Clock,
    ) -> Cache<K, V> {
        let weigher = move |key: &K, at: &At<V>| u32::try_from(weigh(key, &at.what)).unwrap_or(u32::MAX);
        // Ages are judged by `clock`. The cache's own time only sees to it that nothing stays for good,
        // even when the machine's time of day is set back.
        let good = moka::future::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(weigher)
            .time_to_live(ages.stale)
            .build();
        let failed = moka::future::Cache::builder()
            .max_capacity(MAX_FAILURES)
            .time_to_live(ages.refused.max(ages.trouble))
            .build();
        Cache(Arc::new(Shared { what, good, failed, flights: Mutex::default(), clock, ages }))
    }

    /// What is known of `key`, or what `fetch` brings.
    pub(super) async fn get<F>(&self, key: &K, want: Want, fetch: F) -> Outcome<V>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        let verdict = self.0.judge(key, want).await;
        telemetry::count_lookup(self.0.what, !matches!(verdict, Verdict::Fetch));
        match verdict {
            Verdict::Answer(outcome) => outcome,
            Verdict::AnswerAndFetch(value) => {
                // Nobody waits for it, so it does not matter that there is no room for it.
                let _ = self.join(key, want, fetch);
                Ok(value)
            }
            Verdict::Fetch => {
                let mut landing = self.join(key, want, fetch)?;
                let outcome = landing.wait_for(Option::is_some).await;
                outcome.ok().and_then(|outcome| outcome.clone()).unwrap_or(Err(IdentityError::Busy))
            }
        }
    }

    /// Whether [`Want::Known`] would be answered without a fetch.
    pub(super) async fn knows(&self, key: &K) -> bool {
        matches!(self.0.judge(key, Want::Known).await, Verdict::Answer(_))
    }

    #[cfg(test)]
    pub(super) fn is_fetching(&self) -> bool {
        !self.0.flights().is_empty()
    }

    /// The fetch for `key` that is under way, or a new one.
    fn join<F>(&self, key: &K, want: Want, fetch: F) -> Result<Landing<V>, IdentityError>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        let mut flights = self.0.flights();
        if let Some(landing) = flights.get(key) {
            return Ok(landing.clone());
        }
        if flights.len() >= MAX_FLIGHTS {
            return Err(IdentityError::Busy);
        }
        let (sender, landing) = watch::channel(None);
        flights.insert(key.clone(), landing.clone());
        let flight = Flight { shared: Arc::clone(&self.0), key: key.clone() };
        tokio::spawn(async move {
            let outcome = flight.shared.fetch(&flight.key, want, fetch).await;
            // Off the list before it is told: whoever asks from now on finds the answer in the cache.
            drop(flight);
            sender.send_replace(Some(outcome));
        });
        Ok(landing)
    }
}

impl<K, V> Shared<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    async fn judge(&self, key: &K, want: Want) -> Verdict<V> {
        let now = self.clock.since_epoch();
        let good = self.good.get(key).await.filter(|good| good.age(now) < self.ages.stale);
        let failed = self.failed.get(key).await.filter(|failed| failed.age(now) < self.life_of(&failed.what));
        match want {
            Want::Known => match (good, failed) {
                (Some(good), _) if good.age(now) < self.ages.fresh => Verdict::Answer(Ok(good.what)),
                (Some(good), Some(_)) => Verdict::Answer(Ok(good.what)),
                (Some(good), None) => Verdict::AnswerAndFetch(good.what),
                (None, Some(failed)) => Verdict::Answer(Err(failed.what)),
                (None, None) => Verdict::Fetch,
            },
            Want::Newer => {
                let recent = |when: Duration| now.saturating_sub(when) < self.ages.between_refreshes;
                match (failed.filter(|failed| recent(failed.when)), good.filter(|good| recent(good.when))) {
                    (Some(failed), _) => Verdict::Answer(Err(failed.what)),
                    (None, Some(good)) => Verdict::Answer(Ok(good.what)),
                    (None, None) => Verdict::Fetch,
                }
            }
        }
    }

    /// Fetches, unless another fetch landed between the asker's look into the cache and now.
    async fn fetch<F>(&self, key: &K, want: Want, fetch: F) -> Outcome<V>
    where
        F: Future<Output = Outcome<V>> + Send + 'static,
    {
        if let Verdict::Answer(outcome) = self.judge(key, want).await {
            return outcome;
        }
        let outcome = fetch.await;
        let when = self.clock.since_epoch();
        match &outcome {
            Ok(value) => {
                self.good.insert(key.clone(), At { what: value.clone(), when }).await;
                self.failed.invalidate(key).await;
            }
            // It is about us, not about the key.
            Err(IdentityError::Busy) => {}
            Err(error) => {
                self.failed.insert(key.clone(), At { what: error.clone(), when }).await;
                // Gone is gone. In any other trouble what was known stands until it is too old.
                if *error == IdentityError::NotFound {
                    self.good.invalidate(key).await;
                }
            }
        }
        outcome
    }

    fn life_of(&self, error: &IdentityError) -> Duration {
        if error.is_trouble() { self.ages.trouble } else { self.ages.refused }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<K, Landing<V>>> {
        // Nothing panics while the lock is held.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> At<T> {
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.when)
    }
}

/// A fetch under way, on the list until it ends in whatever way.
struct Flight<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    shared: Arc<Shared<K, V>>,
    key: K,
}

impl<K, V> Drop for Flight<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.shared.flights().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: Ages = Ages {
        fresh: Duration::from_secs(60),
        stale: Duration::from_secs(600),
        refused: Duration::from_secs(30),
        trouble: Duration::from_secs(10),
        between_refreshes: Duration::from_secs(10),
    };

    fn cache() -> Cache<u8, u8> {
        Cache::new("document", 1000, |_, _| 1, AGES, Clock::manual(1_700_000_000))
    }

    #[tokio::test]
    async fn a_fetch_that_starts_after_another_landed_uses_what_that_one_brought() {
        let cache = cache();
        assert!(!cache.knows(&1).await);
        assert_eq!(cache.get(&1, Want::Known, async { Ok(7) }).await, Ok(7));
        assert!(cache.knows(&1).await);
        // Whoever looked before the first landed, and asks for a fetch after.
        let mut late = cache.join(&1, Want::Known, async { Ok(8) }).unwrap();
        assert_eq!(*late.wait_for(Option::is_some).await.unwrap(), Some(Ok(7)));
    }

    #[tokio::test]
    async fn a_fetch_that_panics_is_over() {
        let cache = cache();
        let broken = cache.get(&1, Want::Known, async { panic!("a fetch of a test") }).await;
        assert_eq!(broken, Err(IdentityError::Busy));
        assert_eq!(cache.get(&1, Want::Known, async { Ok(7) }).await, Ok(7));
    }

    #[tokio::test]
    async fn being_busy_is_not_remembered() {
        let cache = cache();
        let busy = cache.get(&1, Want::Known, async { Err(IdentityError::Busy) }).await;
        assert_eq!(busy, Err(IdentityError::Busy));
        assert_eq!(cache.get(&1, Want::Known, async { Ok(7) }).await, Ok(7));
    }

    #[tokio::test]
    async fn fetches_under_way_are_bounded_and_known_answers_are_still_given() {
        let cache: Cache<usize, u8> =
            Cache::new("document", 1000, |_, _| 1, AGES, Clock::manual(1_700_000_000));
        assert_eq!(cache.get(&0, Want::Known, async { Ok(7) }).await, Ok(7));
        for key in 1..=MAX_FLIGHTS {
            cache.join(&key, Want::Known, std::future::pending()).unwrap();
        }
        let over = cache.get(&(MAX_FLIGHTS + 1), Want::Known, async { Ok(8) }).await;
        assert_eq!(over, Err(IdentityError::Busy));
        assert_eq!(cache.get(&0, Want::Known, async { Ok(8) }).await, Ok(7));
    }

    #[tokio::test]
    async fn a_flood_of_failures_does_not_push_out_what_is_known() {
        let cache: Cache<usize, u8> = Cache::new("document", 2, |_, _| 1, AGES, Clock::manual(1_700_000_000));
        assert_eq!(cache.get(&0, Want::Known, async { Ok(7) }).await, Ok(7));
        for key in 1..500 {
            let none = cache.get(&key, Want::Known, async { Err(IdentityError::NotFound) }).await;
            assert_eq!(none, Err(IdentityError::NotFound));
        }
        assert_eq!(cache.get(&0, Want::Known, async { Ok(8) }).await, Ok(7));
    }
}
