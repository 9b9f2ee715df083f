//! Work that many may wait for and that is done once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Work under way, by key. Each piece runs as a task of its own, so it goes on when whoever asked for
/// it is gone.
pub(super) struct Flights<K, V>(Arc<Mutex<UnderWay<K, V>>>);

type UnderWay<K, V> = HashMap<K, watch::Receiver<Option<V>>>;

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Flights<K, V> {
        Flights(Arc::default())
    }

    /// Joins the work of this key, or starts it. What `start` makes must look first whether the work
    /// has been done in the meantime.
    pub(super) fn join<F>(&self, key: K, start: impl FnOnce() -> F) -> Flight<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut flights = lock(&self.0);
        if let Some(flight) = flights.get(&key) {
            return Flight(flight.clone());
        }
        let (sender, flight) = watch::channel(None);
        flights.insert(key.clone(), flight.clone());
        drop(flights);
        let landing = Landing { flights: Arc::clone(&self.0), key };
        let work = start();
        tokio::spawn(async move {
            let value = work.await;
            drop(landing);
            sender.send_replace(Some(value));
        });
        Flight(flight)
    }

    /// The work of this key, if it is under way.
    pub(super) fn get(&self, key: &K) -> Option<Flight<V>> {
        lock(&self.0).get(key).cloned().map(Flight)
    }
}

/// Work under way, for those who wait for it.
pub(super) struct Flight<V>(watch::Receiver<Option<V>>);

impl<V: Clone> Flight<V> {
    /// The result; `None` if the work panicked.
    pub(super) async fn landed(mut self) -> Option<V> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|value| value.clone())
    }
}

/// Takes the work off the list when it is done, or when it panics.
struct Landing<K: Eq + Hash, V> {
    flights: Arc<Mutex<UnderWay<K, V>>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        lock(&self.flights).remove(&self.key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The map is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
