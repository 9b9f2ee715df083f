//! What guests read, kept for a while and fetched once however many of one author's functions want it at
//! the same time.
//!
//! What was found is everybody's. A fetch under way is not: it stands in the queues of the author for
//! whom it began, and fails where that author has used up what is theirs, which is nobody else's affair.
//!
//! A fetch lives as long as somebody waits for it: the runs that wait end at deadlines of their own,
//! and a host that takes its time must not hold a connection for runs that are over.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::identity::Did;

use super::cache::Ttl;
use super::{RegistryError, Trouble};
use crate::telemetry;

type Found<V> = Result<V, RegistryError>;

/// A bounded memory of what was found under a name. Cheap to clone.
pub(super) struct Kept<K: Name, V: Thing>(Arc<Shelves<K, V>>);

/// What a thing is kept under.
pub(super) trait Name: Clone + Eq + Hash + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Send + Sync + 'static> Name for T {}

/// What is kept.
pub(super) trait Thing: Clone + Send + Sync + 'static {
    /// About how many bytes it takes in memory.
    fn weight(&self) -> usize;
}

struct Shelves<K: Name, V: Thing> {
    /// What is kept here, in the metrics.
    what: &'static str,
    found: Cache<K, Found<V>>,
    under_way: Mutex<UnderWay<K, V>>,
}

/// The fetches for each author.
type UnderWay<K, V> = HashMap<(Did, K), Weak<Flight<K, V>>>;

/// A fetch under way. Whoever waits for it holds it; it ends with the last of them.
struct Flight<K: Name, V: Thing> {
    landing: watch::Receiver<Option<Found<V>>>,
    task: AbortHandle,
    name: (Did, K),
    shelves: Weak<Shelves<K, V>>,
}

impl<K: Name, V: Thing> Kept<K, V> {
    /// Keeps things for `ttl`, and failures briefly, in `max_bytes` all together. `what` they are, in one
    /// word, is for the metrics.
    pub(super) fn new(what: &'static str, max_bytes: u64, ttl: Duration) -> Kept<K, V> {
        let found = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, found: &Found<V>| {
                // A name has a DID of up to 2 KiB and a cursor of one.
                (4096 + found.as_ref().map_or(0, V::weight)).try_into().unwrap_or(u32::MAX)
            })
            .expire_after(Ttl { success: ttl })
            .build();
        Kept(Arc::new(Shelves { what, found, under_way: Mutex::default() }))
    }

    /// What is kept under `name`, if anything.
    pub(super) async fn known(&self, name: &K) -> Option<Found<V>> {
        let found = self.0.found.get(name).await?;
        telemetry::count_read(self.0.what, "memory");
        Some(found)
    }

    /// What is kept under `name`, or what `fetch` brings; one that is under way for the same author is
    /// shared.
    pub(super) async fn get<F>(&self, name: K, for_author: &Did, fetch: impl FnOnce() -> F) -> Found<V>
    where
        F: Future<Output = Found<V>> + Send + 'static,
    {
        if let Some(found) = self.known(&name).await {
            return found;
        }
        let flight = self.join((for_author.clone(), name), fetch);
        let mut landing = flight.landing.clone();
        let landed = landing.wait_for(Option::is_some).await;
        // Closed without an answer if the fetch panicked.
        landed
            .ok()
            .and_then(|found| found.clone())
            .unwrap_or(Err(RegistryError::Unreachable(Trouble::Internal)))
    }

    fn join<F>(&self, name: (Did, K), fetch: impl FnOnce() -> F) -> Arc<Flight<K, V>>
    where
        F: Future<Output = Found<V>> + Send + 'static,
    {
        let mut under_way = self.0.under_way();
        let what = self.0.what;
        if let Some(flight) = under_way.get(&name).and_then(Weak::upgrade) {
            telemetry::count_read(what, "shared");
            return flight;
        }
        let (sender, landing) = watch::channel(None);
        let (fetch, found, key) = (fetch(), self.0.found.clone(), name.1.clone());
        let task = tokio::spawn(async move {
            // Another fetch may have landed since whoever asks looked.
            let (outcome, from) = match found.get(&key).await {
                Some(outcome) => (outcome, "memory"),
                None => (fetch.await, "network"),
            };
            telemetry::count_read(what, from);
            found.insert(key, outcome.clone()).await;
            sender.send_replace(Some(outcome));
        });
        let (task, shelves) = (task.abort_handle(), Arc::downgrade(&self.0));
        let flight = Arc::new(Flight { landing, task, name: name.clone(), shelves });
        under_way.insert(name, Arc::downgrade(&flight));
        flight
    }

    #[cfg(test)]
    fn flights(&self) -> usize {
        self.0.under_way().len()
    }
}

impl<K: Name, V: Thing> Clone for Kept<K, V> {
    fn clone(&self) -> Kept<K, V> {
        Kept(Arc::clone(&self.0))
    }
}

impl<K: Name, V: Thing> Shelves<K, V> {
    fn under_way(&self) -> MutexGuard<'_, UnderWay<K, V>> {
        // The map is whole after every statement.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Name, V: Thing> Drop for Flight<K, V> {
    fn drop(&mut self) {
        self.task.abort();
        let Some(shelves) = self.shelves.upgrade() else { return };
        let mut under_way = shelves.under_way();
        // By now another flight may go under this name.
        if under_way.get(&self.name).is_some_and(|flight| flight.strong_count() == 0) {
            under_way.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    impl Thing for u8 {
        fn weight(&self) -> usize {
            1
        }
    }

    fn author(name: &str) -> Did {
        Did::parse(&format!("did:web:{name}.com")).unwrap()
    }

    const SOON: Duration = Duration::from_millis(20);
    /// More than anything takes that comes at all.
    const LONG: Duration = Duration::from_secs(60);

    fn kept() -> Kept<&'static str, u8> {
        Kept::new("record", 1 << 20, Duration::from_secs(60))
    }

    /// Counts the fetches that begin and those that are dropped.
    #[derive(Clone, Default)]
    struct Host {
        begun: Arc<AtomicUsize>,
        gone: Arc<AtomicUsize>,
        ready: Arc<Notify>,
    }

    impl Host {
        async fn fetch(self) -> Found<u8> {
            struct Gone(Arc<AtomicUsize>);
            impl Drop for Gone {
                fn drop(&mut self) {
                    self.0.fetch_add(1, Ordering::SeqCst);
                }
            }
            self.begun.fetch_add(1, Ordering::SeqCst);
            let _gone = Gone(Arc::clone(&self.gone));
            self.ready.notified().await;
            Ok(7)
        }

        async fn until_begun(&self, count: usize) {
            while self.begun.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        }

        async fn until_gone(&self, count: usize) {
            while self.gone.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn all_who_ask_at_once_share_a_fetch_and_later_ones_what_it_brought() {
        let (kept, host) = (kept(), Host::default());
        let asking: Vec<_> = (0..200)
            .map(|_| {
                let (kept, host) = (kept.clone(), host.clone());
                tokio::spawn(async move { kept.get("a", &author("a"), || host.fetch()).await })
            })
            .collect();
        host.until_begun(1).await;
        host.ready.notify_waiters();
        for asked in asking {
            assert!(matches!(asked.await.unwrap(), Ok(7)));
        }
        assert!(matches!(kept.get("a", &author("a"), || host.clone().fetch()).await, Ok(7)));
        assert_eq!(host.begun.load(Ordering::SeqCst), 1);
        assert_eq!(kept.flights(), 0);
    }

    #[tokio::test]
    async fn a_fetch_goes_on_for_the_others_and_ends_with_the_last_who_waits() {
        let (kept, host) = (kept(), Host::default());
        let waiting = |patience| {
            let (kept, host) = (kept.clone(), host.clone());
            tokio::spawn(async move { timeout(patience, kept.get("a", &author("a"), || host.fetch())).await })
        };
        let (first, second) = (waiting(SOON), waiting(LONG));
        host.until_begun(1).await;
        assert!(first.await.unwrap().is_err());
        tokio::time::sleep(SOON).await;
        assert_eq!(host.gone.load(Ordering::SeqCst), 0);
        host.ready.notify_waiters();
        assert!(matches!(second.await.unwrap(), Ok(Ok(7))));

        let (kept, host) = (self::kept(), Host::default());
        let author_a = author("a");
        tokio::select! {
            _ = kept.get("a", &author_a, || host.clone().fetch()) => panic!("nothing was answered"),
            () = host.until_begun(1) => {}
        }
        timeout(LONG, host.until_gone(1)).await.unwrap();
        assert_eq!(kept.flights(), 0);
        // Whoever comes after has a fetch of their own.
        let again = kept.get("a", &author("a"), || async { Ok(8) }).await;
        assert!(matches!(again, Ok(8)));
    }

    #[tokio::test]
    async fn a_fetch_that_panics_is_an_error_and_is_over() {
        let kept = kept();
        let broken = kept.get("a", &author("a"), || async { panic!("a fetch of a test") }).await;
        assert!(matches!(broken, Err(RegistryError::Unreachable(Trouble::Internal))));
        assert!(matches!(kept.get("a", &author("a"), || async { Ok(7) }).await, Ok(7)));
    }

    #[tokio::test]
    async fn a_failure_is_kept_and_our_own_load_is_not() {
        let kept = kept();
        let refused = kept.get("a", &author("a"), || async { Err(RegistryError::Timeout) }).await;
        assert!(matches!(refused, Err(RegistryError::Timeout)));
        assert!(matches!(kept.get("a", &author("a"), || async { Ok(7) }).await, Err(RegistryError::Timeout)));
        let ours = [RegistryError::Overloaded(SOON), RegistryError::NoThread, RegistryError::Store];
        for (name, ours) in ["b", "c", "d"].into_iter().zip(ours) {
            let expected = ours.to_string();
            let failed = kept.get(name, &author("a"), || async { Err(ours) }).await;
            assert_eq!(failed.unwrap_err().to_string(), expected);
            assert!(matches!(kept.get(name, &author("a"), || async { Ok(7) }).await, Ok(7)), "{expected}");
        }
    }

    #[tokio::test]
    async fn nobody_waits_in_another_authors_queue_nor_fails_with_it() {
        let (kept, stuck) = (kept(), Host::default());
        let of_a = {
            let (kept, stuck) = (kept.clone(), stuck.clone());
            tokio::spawn(async move { kept.get("a", &author("a"), || stuck.fetch()).await })
        };
        stuck.until_begun(1).await;
        let of_b = timeout(LONG, kept.get("a", &author("b"), || async { Ok(9) })).await;
        assert!(matches!(of_b, Ok(Ok(9))));
        // What was found is there for all, also for those whose own fetch goes on.
        let again = kept.get("a", &author("a"), || async { panic!("a second fetch") }).await;
        assert!(matches!(again, Ok(9)));
        stuck.ready.notify_waiters();
        assert!(matches!(of_a.await.unwrap(), Ok(7)));
        assert_eq!(kept.flights(), 0);
    }
}
