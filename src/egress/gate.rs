//! A gate with few places and a bounded queue that is fair between lanes.
//!
//! Whoever enters names a lane (an author, a site). Free places go round the lanes in turn, so a
//! lane with a hundred waiting delays another's first by one turn, not by a hundred. No lane may
//! hold all places or fill the whole queue.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How much a gate lets through and lets wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateLimits {
    /// Places in all.
    pub(crate) places: usize,
    /// Places that one lane may hold.
    pub(crate) lane_places: usize,
    /// How many may wait in all.
    pub(crate) queue: usize,
    /// How many may wait in one lane.
    pub(crate) lane_queue: usize,
}

/// The gate. A [`Place`] is given back by dropping it.
pub(crate) struct Gate<K: Eq + Hash + Clone> {
    limits: GateLimits,
    state: Mutex<State<K>>,
}

struct State<K: Eq + Hash + Clone> {
    taken: usize,
    waiting: usize,
    lanes: HashMap<K, Lane<K>>,
    /// Lanes that have somebody waiting, the next one first.
    turns: VecDeque<K>,
}

struct Lane<K: Eq + Hash + Clone> {
    taken: usize,
    waiting: VecDeque<oneshot::Sender<Place<K>>>,
}

/// Why nobody was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue, or this lane's share of it, is full.
    Full,
    /// The queue was cleared while this one waited.
    SentAway,
}

impl<K: Eq + Hash + Clone> Gate<K> {
    /// An empty gate.
    pub(crate) fn new(limits: GateLimits) -> Arc<Gate<K>> {
        let state = State { taken: 0, waiting: 0, lanes: HashMap::new(), turns: VecDeque::new() };
        Arc::new(Gate { limits, state: Mutex::new(state) })
    }

    /// Waits for a place. Dropping the future gives up the wait, or the place if it just came.
    pub(crate) async fn enter(self: &Arc<Self>, lane: K) -> Result<Place<K>, Refused> {
        let turn = {
            let mut guard = self.lock();
            let state = &mut *guard;
            if state.has_place_for(&lane, &self.limits) {
                state.taken += 1;
                state.lanes.entry(lane.clone()).or_default().taken += 1;
                return Ok(Place { gate: Arc::clone(self), lane, held: true });
            }
            state.make_room_for(&lane, &self.limits)?;
            let (sender, receiver) = oneshot::channel();
            let entry = state.lanes.entry(lane.clone()).or_default();
            if entry.waiting.is_empty() {
                state.turns.push_back(lane);
            }
            entry.waiting.push_back(sender);
            state.waiting += 1;
            receiver
        };
        turn.await.map_err(|_| Refused::SentAway)
    }

    /// Sends away all who wait.
    pub(crate) fn clear_queue(&self) {
        let mut state = self.lock();
        state.waiting = 0;
        state.turns.clear();
        state.lanes.retain(|_, lane| {
            lane.waiting.clear();
            lane.taken > 0
        });
    }

    fn leave(self: &Arc<Self>, lane: &K) {
        let mut state = self.lock();
        state.taken -= 1;
        if let Some(entry) = state.lanes.get_mut(lane) {
            entry.taken -= 1;
        }
        state.forget_if_empty(lane);
        while state.taken < self.limits.places {
            let Some((next, sender)) = state.next_turn(&self.limits) else { break };
            state.taken += 1;
            state.lanes.entry(next.clone()).or_default().taken += 1;
            let place = Place { gate: Arc::clone(self), lane: next.clone(), held: true };
            if let Err(mut place) = sender.send(place) {
                // It gave up waiting. Its place goes on to the next, and must not come back here by being dropped.
                place.held = false;
                state.taken -= 1;
                if let Some(entry) = state.lanes.get_mut(&next) {
                    entry.taken -= 1;
                }
                state.forget_if_empty(&next);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Nothing panics while the lock is held; counts would still be whole if it did.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn counts(&self) -> (usize, usize, usize) {
        let state = self.lock();
        (state.taken, state.waiting, state.lanes.len())
    }
}

impl<K: Eq + Hash + Clone> State<K> {
    /// Whoever waits while places are free waits for its own lane, so a newcomer of another lane
    /// overtakes nobody.
    fn has_place_for(&self, lane: &K, limits: &GateLimits) -> bool {
        let lane_is_free =
            self.lanes.get(lane).is_none_or(|l| l.taken < limits.lane_places && l.waiting.is_empty());
        self.taken < limits.places && lane_is_free
    }

    /// Checks that one more may wait; those who gave up are swept out only when it matters.
    fn make_room_for(&mut self, lane: &K, limits: &GateLimits) -> Result<(), Refused> {
        let full = |state: &State<K>| {
            let in_lane = state.lanes.get(lane).map_or(0, |l| l.waiting.len());
            state.waiting >= limits.queue || in_lane >= limits.lane_queue
        };
        if full(self) {
            self.sweep();
        }
        if full(self) { Err(Refused::Full) } else { Ok(()) }
    }

    fn sweep(&mut self) {
        self.lanes.retain(|_, lane| {
            lane.waiting.retain(|sender| !sender.is_closed());
            lane.taken > 0 || !lane.waiting.is_empty()
        });
        let lanes = &self.lanes;
        self.turns.retain(|lane| lanes.get(lane).is_some_and(|l| !l.waiting.is_empty()));
        self.waiting = self.lanes.values().map(|lane| lane.waiting.len()).sum();
    }

    /// The first who waits in the next lane that may take a place; that lane goes to the end.
    fn next_turn(&mut self, limits: &GateLimits) -> Option<(K, oneshot::Sender<Place<K>>)> {
        for _ in 0..self.turns.len() {
            let key = self.turns.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            if lane.taken >= limits.lane_places {
                self.turns.push_back(key);
                continue;
            }
            let Some(sender) = lane.waiting.pop_front() else { continue };
            self.waiting -= 1;
            if !lane.waiting.is_empty() {
                self.turns.push_back(key.clone());
            }
            return Some((key, sender));
        }
        None
    }

    fn forget_if_empty(&mut self, key: &K) {
        if self.lanes.get(key).is_some_and(|lane| lane.taken == 0 && lane.waiting.is_empty()) {
            self.lanes.remove(key);
        }
    }
}

impl<K: Eq + Hash + Clone> Default for Lane<K> {
    fn default() -> Lane<K> {
        Lane { taken: 0, waiting: VecDeque::new() }
    }
}

/// A place behind the gate.
pub(crate) struct Place<K: Eq + Hash + Clone> {
    gate: Arc<Gate<K>>,
    lane: K,
    held: bool,
}

impl<K: Eq + Hash + Clone> Drop for Place<K> {
    fn drop(&mut self) {
        if self.held {
            self.gate.leave(&self.lane);
        }
    }
}

impl<K: Eq + Hash + Clone> std::fmt::Debug for Place<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;

    use super::*;

    type Entering = Pin<Box<dyn Future<Output = Result<Place<char>, Refused>>>>;

    fn gate(places: usize, lane_places: usize, queue: usize, lane_queue: usize) -> Arc<Gate<char>> {
        Gate::new(GateLimits { places, lane_places, queue, lane_queue })
    }

    fn enter(gate: &Arc<Gate<char>>, lane: char) -> Entering {
        let gate = Arc::clone(gate);
        let mut entering: Entering = Box::pin(async move { gate.enter(lane).await });
        assert!(poll(&mut entering).is_none(), "{lane} was not to be let in or refused at once");
        entering
    }

    fn enter_now(gate: &Arc<Gate<char>>, lane: char) -> Result<Place<char>, Refused> {
        let gate = Arc::clone(gate);
        let mut entering: Entering = Box::pin(async move { gate.enter(lane).await });
        poll(&mut entering).expect("decided at once")
    }

    fn poll(entering: &mut Entering) -> Option<Result<Place<char>, Refused>> {
        match entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    #[test]
    fn places_go_round_the_lanes_in_turn() {
        let gate = gate(1, 1, 10, 10);
        let mut place = Some(enter_now(&gate, 'a').unwrap());
        let mut waiting: Vec<(char, Entering)> =
            ['a', 'a', 'a', 'b', 'c', 'b'].map(|lane| (lane, enter(&gate, lane))).into();
        let mut order = String::new();
        while !waiting.is_empty() {
            drop(place.take());
            let (index, let_in) = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(index, (_, entering))| poll(entering).map(|outcome| (index, outcome)))
                .expect("a free place goes to somebody");
            place = Some(let_in.unwrap());
            order.push(waiting.remove(index).0);
        }
        assert_eq!(order, "abcaba");
        drop(place);
        assert_eq!(gate.counts(), (0, 0, 0));
    }

    #[test]
    fn no_lane_takes_all_places_or_the_whole_queue() {
        let gate = gate(3, 2, 3, 2);
        let _a = [enter_now(&gate, 'a').unwrap(), enter_now(&gate, 'a').unwrap()];
        let _waiting = [enter(&gate, 'a'), enter(&gate, 'a')];
        assert_eq!(enter_now(&gate, 'a').unwrap_err(), Refused::Full);
        let _b = enter_now(&gate, 'b').unwrap();
        let _b_waits = enter(&gate, 'b');
        assert_eq!(enter_now(&gate, 'c').unwrap_err(), Refused::Full);
    }

    #[test]
    fn a_freed_place_is_not_given_to_a_lane_that_has_its_share() {
        let gate = gate(2, 1, 9, 9);
        let a = enter_now(&gate, 'a').unwrap();
        let b = enter_now(&gate, 'b').unwrap();
        let mut a_waits = enter(&gate, 'a');
        let mut c_waits = enter(&gate, 'c');
        drop(b);
        assert!(poll(&mut a_waits).is_none());
        assert!(matches!(poll(&mut c_waits), Some(Ok(_))));
        drop(a);
        assert!(matches!(poll(&mut a_waits), Some(Ok(_))));
    }

    #[test]
    fn one_who_gave_up_leaves_no_trace() {
        let gate = gate(1, 1, 2, 2);
        let place = enter_now(&gate, 'a').unwrap();
        drop((enter(&gate, 'a'), enter(&gate, 'b')));
        let mut c = enter(&gate, 'c');
        drop(place);
        let place = poll(&mut c).unwrap().unwrap();
        assert_eq!(gate.counts(), (1, 0, 1));

        // The place arrives and is dropped unseen: it goes on to the next.
        let unseen = enter(&gate, 'a');
        let mut next = enter(&gate, 'b');
        drop(place);
        assert!(poll(&mut next).is_none());
        drop(unseen);
        assert!(matches!(poll(&mut next), Some(Ok(_))));
        drop(next);
        assert_eq!(gate.counts(), (0, 0, 0));
    }

    #[test]
    fn a_cleared_queue_sends_all_who_wait_away() {
        let gate = gate(1, 1, 9, 9);
        let place = enter_now(&gate, 'a').unwrap();
        let mut waiting = [enter(&gate, 'a'), enter(&gate, 'b')];
        gate.clear_queue();
        for entering in &mut waiting {
            assert_eq!(poll(entering).unwrap().unwrap_err(), Refused::SentAway);
        }
        drop(place);
        assert_eq!(gate.counts(), (0, 0, 0));
    }

    proptest! {
        /// Any order of coming, giving up, leaving and clearing keeps the counts right, and a place is
        /// never free while somebody waits whose lane may take it.
        #[test]
        fn counts_stay_right(steps in prop::collection::vec((0u8..9, 0u8..4, 0usize..8), 1..200)) {
            let limits = GateLimits { places: 3, lane_places: 2, queue: 6, lane_queue: 3 };
            let gate: Arc<Gate<u8>> = Gate::new(limits);
            let mut inside = Vec::new();
            let mut waiting = Vec::new();
            for (action, lane, index) in steps {
                match action {
                    0..=4 => {
                        let entering_gate = Arc::clone(&gate);
                        let mut entering = Box::pin(async move { entering_gate.enter(lane).await });
                        match entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                            Poll::Ready(Ok(place)) => inside.push(place),
                            Poll::Ready(Err(refused)) => prop_assert_eq!(refused, Refused::Full),
                            Poll::Pending => waiting.push((lane, entering)),
                        }
                    }
                    5 | 6 if index < inside.len() => drop(inside.remove(index)),
                    7 if index < waiting.len() => drop(waiting.remove(index)),
                    8 if index == 0 => gate.clear_queue(),
                    _ => {}
                }
                let mut still = Vec::new();
                for (lane, mut entering) in waiting {
                    match entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(Ok(place)) => inside.push(place),
                        Poll::Ready(Err(refused)) => prop_assert_eq!(refused, Refused::SentAway),
                        Poll::Pending => still.push((lane, entering)),
                    }
                }
                waiting = still;
                prop_assert_eq!(gate.counts().0, inside.len());
                prop_assert!(inside.len() <= limits.places);
                for (lane, _) in &waiting {
                    let held = inside.iter().filter(|place| place.lane == *lane).count();
                    prop_assert!(inside.len() == limits.places || held == limits.lane_places);
                }
            }
            drop((inside, waiting));
            let anew = enter_all(&gate, limits.places);
            prop_assert_eq!(anew, limits.places);
            prop_assert_eq!(gate.counts().0, 0);
        }
    }

    fn enter_all(gate: &Arc<Gate<u8>>, places: usize) -> usize {
        let mut inside = Vec::new();
        for lane in 0..places as u8 {
            let mut entering = Box::pin(gate.enter(100 + lane));
            if let Poll::Ready(Ok(place)) = entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                inside.push(place);
            }
        }
        inside.len()
    }
}
