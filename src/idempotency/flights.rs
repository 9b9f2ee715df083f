//! Runs under way, each owned by all who wait for it.
//!
//! A run is a task of its own: it does not end with the caller for whom it began, but with the last who
//! waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::Instrument as _;

use super::NotGiven;
use super::key::{Call, Id, Payload};

type UnderWay<V> = Mutex<HashMap<Id, Weak<Flight<V>>>>;

/// The runs under way.
pub(super) struct Flights<V>(Arc<UnderWay<V>>);

/// A run under way. Whoever waits for it holds it.
pub(super) struct Flight<V> {
    landing: watch::Receiver<Option<V>>,
    task: AbortHandle,
    id: Id,
    payload: Payload,
    flights: Weak<UnderWay<V>>,
}

impl<V> Default for Flights<V> {
    fn default() -> Flights<V> {
        Flights(Arc::default())
    }
}

impl<V: Clone + Send + Sync + 'static> Flights<V> {
    /// Joins the run of this call, or starts it. `start` looks first whether there is an answer by now: a
    /// run lands only after its answer can be found.
    pub(super) fn join<F>(
        &self,
        call: &Call,
        start: impl FnOnce() -> Result<F, NotGiven>,
    ) -> Result<(Arc<Flight<V>>, Role), NotGiven>
    where
        F: Future<Output = V> + Send + 'static,
    {
        // Dropped after the lock: the last who holds a flight takes it off the list.
        let mut _over = None;
        let mut under_way = lock(&self.0);
        if let Some(flight) = under_way.get(&call.id).and_then(Weak::upgrade) {
            if flight.landing.borrow().is_none() {
                drop(under_way);
                let same = flight.payload == call.payload;
                return if same { Ok((flight, Role::Joined)) } else { Err(NotGiven::Reused) };
            }
            // What it came to is found, or was not to be kept.
            _over = Some(flight);
        }
        let work = start()?;
        let (sender, landing) = watch::channel(None);
        let work = async move {
            let value = work.await;
            sender.send_replace(Some(value));
        };
        let flight = Arc::new(Flight {
            landing,
            task: tokio::spawn(work.in_current_span()).abort_handle(),
            id: call.id,
            payload: call.payload,
            flights: Arc::downgrade(&self.0),
        });
        under_way.insert(call.id, Arc::downgrade(&flight));
        Ok((flight, Role::Started))
    }

    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        lock(&self.0).len()
    }
}

/// What somebody has to do with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Joined,
    Started,
}

impl<V: Clone> Flight<V> {
    /// What the run came to; `None` if it panicked.
    pub(super) async fn landed(&self) -> Option<V> {
        let mut landing = self.landing.clone();
        landing.wait_for(Option::is_some).await.ok().and_then(|value| value.clone())
    }
}

impl<V> Drop for Flight<V> {
    fn drop(&mut self) {
        self.task.abort();
        let Some(flights) = self.flights.upgrade() else { return };
        let mut under_way = lock(&flights);
        // By now another flight may go under this name.
        if under_way.get(&self.id).is_some_and(|flight| flight.strong_count() == 0) {
            under_way.remove(&self.id);
        }
    }
}

fn lock<V>(flights: &UnderWay<V>) -> MutexGuard<'_, HashMap<Id, Weak<Flight<V>>>> {
    // The map is whole after every statement.
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}
