//! Who sits where: which worker gets a run of an author's function.
//!
//! A guest that broke out of the first wall reads and forges what its worker holds, so a worker is
//! given to one author and ends with that author's turn; it is not wiped and passed on. Only where
//! every worker that there may be is busy do public functions share one, and never one that had a
//! private function in it. A private function waits for a worker that had nobody else's in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sandbox::Owner;

/// How many there may be, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Workers.
    pub(super) workers: usize,
    /// Runs in a worker at once.
    pub(super) slots: usize,
    /// Runs after which a worker is replaced.
    pub(super) runs: u64,
    /// How long a worker waits for its author's next run.
    pub(super) idle: Duration,
}

/// All workers. `W` is a worker's handle.
#[derive(Debug)]
pub(super) struct Roster<W> {
    bounds: Bounds,
    entries: Vec<Entry<W>>,
    /// Workers on their way.
    starting: usize,
    next: u64,
}

#[derive(Debug)]
struct Entry<W> {
    number: u64,
    worker: W,
    /// Whose runs it has had; none if it is fresh.
    author: Option<Arc<str>>,
    /// It has had runs of others too.
    shared: bool,
    /// It has had runs of a private function.
    private: bool,
    in_flight: usize,
    runs: u64,
    /// It gets no more runs, and ends with its last.
    leaving: bool,
    idle_since: Instant,
}

/// Where a run goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<W> {
    /// To this worker, which [`Roster::leave`] is to be told of when the run is gone.
    At { number: u64, worker: W },
    /// Nowhere yet. Another worker has become possible and is to be started, if it says so; this one
    /// is to be ended for it, if there is one.
    Wait { start: bool, end: Option<W> },
}

impl<W: Clone> Roster<W> {
    pub(super) fn new(bounds: Bounds) -> Roster<W> {
        Roster { bounds, entries: Vec::new(), starting: 0, next: 0 }
    }

    /// Finds a place for a run, or makes room for it. `waiting` says how many wait already, this one
    /// among them.
    ///
    /// A run that is to be `alone` gets a fresh worker, which ends with it.
    pub(super) fn place(&mut self, owner: &Owner, alone: bool, waiting: usize) -> Place<W> {
        if let Some(entry) = self.find(owner, alone) {
            entry.leaving |= alone;
            entry.shared |= entry.author.as_ref().is_some_and(|author| *author != owner.name);
            entry.author.get_or_insert_with(|| Arc::clone(&owner.name));
            entry.private |= !owner.public;
            entry.in_flight += 1;
            entry.runs += 1;
            return Place::At { number: entry.number, worker: entry.worker.clone() };
        }
        if self.starting >= waiting {
            return Place::Wait { start: false, end: None };
        }
        if self.entries.len() + self.starting < self.bounds.workers {
            self.starting += 1;
            return Place::Wait { start: true, end: None };
        }
        match self.make_room(waiting) {
            Some(end) => {
                self.starting += 1;
                Place::Wait { start: true, end: Some(end) }
            }
            None => Place::Wait { start: false, end: None },
        }
    }

    /// A worker that may take the run now: the author's own, a fresh one, or, where there is nothing
    /// else to be had, one that is shared.
    fn find(&mut self, owner: &Owner, alone: bool) -> Option<&mut Entry<W>> {
        let (slots, full) = (self.bounds.slots, self.is_full());
        let rank = |entry: &Entry<W>| {
            let own = entry.author.as_ref() == Some(&owner.name);
            match entry {
                entry if entry.leaving || entry.in_flight >= slots => None,
                Entry { author: None, .. } => Some(1),
                _ if alone => None,
                Entry { shared: false, .. } if own => Some(0),
                Entry { private: false, .. } if owner.public && (own || full) => Some(2),
                _ => None,
            }
        };
        let ranked = self.entries.iter_mut().filter_map(|entry| Some((rank(entry)?, entry)));
        ranked.min_by_key(|(rank, entry)| (*rank, entry.in_flight)).map(|(_, entry)| entry)
    }

    /// Whether there can be no worker more, and none of those there are can be done without.
    fn is_full(&self) -> bool {
        self.starting == 0
            && self.entries.len() >= self.bounds.workers
            && self.entries.iter().all(|entry| entry.in_flight > 0)
    }

    /// Takes an idle worker off the list, the one that has been idle longest. Without any, sees to it
    /// that one of the busy ones becomes idle, for each who waits.
    fn make_room(&mut self, waiting: usize) -> Option<W> {
        let idle = self.entries.iter().enumerate().filter(|(_, entry)| entry.in_flight == 0);
        if let Some((index, _)) = idle.min_by_key(|(_, entry)| entry.idle_since) {
            return Some(self.entries.swap_remove(index).worker);
        }
        if self.entries.iter().filter(|entry| entry.leaving).count() < waiting {
            let staying = self.entries.iter_mut().filter(|entry| !entry.leaving);
            if let Some(entry) = staying.min_by_key(|entry| entry.in_flight) {
                entry.leaving = true;
            }
        }
        None
    }

    /// A run is gone. Gives back a worker that has nothing left to do and is to be ended.
    pub(super) fn leave(&mut self, number: u64, now: Instant) -> Option<W> {
        let index = self.entries.iter().position(|entry| entry.number == number)?;
        let entry = &mut self.entries[index];
        entry.in_flight = entry.in_flight.saturating_sub(1);
        entry.idle_since = now;
        entry.leaving |= entry.runs >= self.bounds.runs;
        (entry.leaving && entry.in_flight == 0).then(|| self.entries.swap_remove(index).worker)
    }

    /// Whether one more should be started, to be there before it is needed: there is always a fresh
    /// one, or one on its way, as long as there may be more.
    pub(super) fn wants_spare(&mut self) -> bool {
        let fresh = self.entries.iter().any(|entry| entry.author.is_none());
        let wants = !fresh && self.starting == 0 && self.entries.len() < self.bounds.workers;
        self.starting += usize::from(wants);
        wants
    }

    /// A worker has started.
    pub(super) fn started(&mut self, worker: W, now: Instant) -> u64 {
        self.starting -= 1;
        let number = self.next;
        self.next += 1;
        self.entries.push(Entry {
            number,
            worker,
            author: None,
            shared: false,
            private: false,
            in_flight: 0,
            runs: 0,
            leaving: false,
            idle_since: now,
        });
        number
    }

    /// A worker could not be started.
    pub(super) fn not_started(&mut self) {
        self.starting -= 1;
    }

    /// A worker is gone. Says whether it was on the list still.
    pub(super) fn gone(&mut self, number: u64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.number != number);
        self.entries.len() < before
    }

    /// Takes those off the list whose author has not come back; fresh ones wait for any.
    pub(super) fn take_idle(&mut self, now: Instant) -> Vec<W> {
        let idle = self.bounds.idle;
        let is_idle = |entry: &mut Entry<W>| {
            entry.author.is_some() && entry.in_flight == 0 && now.duration_since(entry.idle_since) >= idle
        };
        self.entries.extract_if(.., is_idle).map(|entry| entry.worker).collect()
    }

    /// Takes all of them off the list.
    pub(super) fn take_all(&mut self) -> Vec<W> {
        self.entries.drain(..).map(|entry| entry.worker).collect()
    }

    /// Their handles.
    pub(super) fn handles(&self) -> impl Iterator<Item = &W> {
        self.entries.iter().map(|entry| &entry.worker)
    }

    /// Workers that stand.
    pub(super) fn workers(&self) -> usize {
        self.entries.len()
    }

    /// Workers on their way.
    pub(super) fn starting(&self) -> usize {
        self.starting
    }

    /// Runs that are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.entries.iter().map(|entry| entry.in_flight).sum()
    }

    /// Workers that hold runs of more than one author.
    pub(super) fn shared(&self) -> usize {
        self.entries.iter().filter(|entry| entry.shared).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { workers: 2, slots: 2, runs: 100, idle: Duration::from_secs(30) };

    fn public(name: &str) -> Owner {
        Owner { name: name.into(), public: true }
    }

    fn private(name: &str) -> Owner {
        Owner { name: name.into(), public: false }
    }

    /// A roster with workers 0, 1, ... whose handles are their numbers.
    fn roster(bounds: Bounds, workers: u64) -> Roster<u64> {
        let mut roster = Roster::new(bounds);
        for number in 0..workers {
            roster.starting += 1;
            roster.started(number, Instant::now());
        }
        roster
    }

    fn at(number: u64) -> Place<u64> {
        Place::At { number, worker: number }
    }

    const WAIT: Place<u64> = Place::Wait { start: false, end: None };

    #[test]
    fn an_author_keeps_a_worker_and_another_gets_another() {
        let mut roster = roster(BOUNDS, 2);
        assert_eq!(roster.place(&public("a"), false, 1), at(0));
        assert_eq!(roster.place(&public("b"), false, 1), at(1));
        assert_eq!(roster.place(&private("a"), false, 1), at(0));
        assert_eq!(roster.place(&public("b"), false, 1), at(1));
    }

    #[test]
    fn an_author_whose_worker_is_full_gets_a_second_one() {
        let mut roster = roster(BOUNDS, 2);
        for place in [0, 0, 1, 1] {
            assert_eq!(roster.place(&public("a"), false, 1), at(place));
        }
        assert_eq!(roster.place(&public("a"), false, 1), WAIT);
    }

    #[test]
    fn workers_are_started_as_they_are_needed_and_only_for_those_who_wait() {
        let mut roster: Roster<u64> = Roster::new(BOUNDS);
        assert_eq!(roster.place(&public("a"), false, 1), Place::Wait { start: true, end: None });
        assert_eq!(roster.place(&public("a"), false, 1), WAIT);
        assert_eq!(roster.place(&public("b"), false, 2), Place::Wait { start: true, end: None });
        assert_eq!(roster.place(&public("c"), false, 3), WAIT);
        assert_eq!(roster.started(7, Instant::now()), 0);
        assert_eq!(roster.place(&public("a"), false, 2), Place::At { number: 0, worker: 7 });
    }

    #[test]
    fn an_idle_worker_is_ended_for_another_author_and_never_passed_on() {
        let mut roster = roster(Bounds { workers: 1, ..BOUNDS }, 1);
        assert_eq!(roster.place(&public("a"), false, 1), at(0));
        assert_eq!(roster.leave(0, Instant::now()), None);
        assert_eq!(roster.place(&public("b"), false, 1), Place::Wait { start: true, end: Some(0) });
        assert_eq!(roster.started(9, Instant::now()), 1);
        assert_eq!(roster.place(&public("b"), false, 1), Place::At { number: 1, worker: 9 });
    }

    #[test]
    fn public_functions_share_only_when_all_workers_are_busy() {
        let mut roster = roster(BOUNDS, 2);
        assert_eq!(roster.place(&public("a"), false, 1), at(0));
        assert_eq!(roster.place(&public("a"), false, 1), at(0));
        assert_eq!(roster.place(&public("b"), false, 1), at(1));
        assert_eq!(roster.shared(), 0);
        assert_eq!(roster.place(&public("c"), false, 1), at(1));
        assert_eq!(roster.shared(), 1);
    }

    #[test]
    fn a_private_function_never_meets_anothers_in_a_worker() {
        let bounds = Bounds { workers: 1, slots: 4, ..BOUNDS };
        // Not where another's is.
        let mut busy = roster(bounds, 1);
        assert_eq!(busy.place(&public("a"), false, 1), at(0));
        assert_eq!(busy.place(&private("b"), false, 1), WAIT);
        // Not where another's was, even its author's own.
        let mut shared = roster(bounds, 1);
        assert_eq!(shared.place(&public("a"), false, 1), at(0));
        assert_eq!(shared.place(&public("b"), false, 1), at(0));
        assert_eq!(shared.leave(0, Instant::now()), None);
        assert_eq!(shared.place(&private("a"), false, 1), WAIT);
        // And no other's comes to where it is, or was.
        let mut kept = roster(bounds, 1);
        assert_eq!(kept.place(&private("a"), false, 1), at(0));
        assert_eq!(kept.place(&public("a"), false, 1), at(0));
        assert_eq!(kept.leave(0, Instant::now()), None);
        assert_eq!(kept.place(&public("b"), false, 1), WAIT);
    }

    #[test]
    fn who_waits_is_made_room_for_by_one_busy_worker_each() {
        let mut roster = roster(BOUNDS, 2);
        assert_eq!(roster.place(&private("a"), false, 1), at(0));
        assert_eq!(roster.place(&private("a"), false, 1), at(0));
        assert_eq!(roster.place(&private("b"), false, 1), at(1));
        assert_eq!(roster.place(&private("c"), false, 1), WAIT);
        // The one with fewer runs gets no more of them.
        assert_eq!(roster.place(&private("b"), false, 2), WAIT);
        assert_eq!(roster.leave(1, Instant::now()), Some(1));
        assert_eq!(roster.place(&private("c"), false, 2), Place::Wait { start: true, end: None });
    }

    #[test]
    fn a_run_that_is_to_be_alone_gets_a_fresh_worker_that_ends_with_it() {
        let mut roster = roster(BOUNDS, 2);
        assert_eq!(roster.place(&public("a"), false, 1), at(0));
        assert_eq!(roster.place(&public("a"), true, 1), at(1));
        assert_eq!(roster.place(&public("a"), true, 1), WAIT);
        assert_eq!(roster.leave(1, Instant::now()), Some(1));
    }

    #[test]
    fn a_worker_is_replaced_after_its_runs() {
        let mut roster = roster(Bounds { runs: 2, ..BOUNDS }, 1);
        assert_eq!(roster.place(&public("a"), false, 1), at(0));
        assert_eq!(roster.leave(0, Instant::now()), None);
        assert_eq!(roster.place(&public("a"), false, 1), at(0));
        assert_eq!(roster.leave(0, Instant::now()), Some(0));
        assert_eq!(roster.workers(), 0);
    }

    #[test]
    fn only_workers_that_had_an_author_go_when_idle() {
        let mut roster = roster(BOUNDS, 2);
        assert_eq!(roster.place(&public("a"), false, 1), at(0));
        let now = Instant::now();
        assert_eq!(roster.leave(0, now), None);
        assert_eq!(roster.take_idle(now + Duration::from_secs(29)), Vec::<u64>::new());
        assert_eq!(roster.take_idle(now + Duration::from_secs(31)), [0]);
        assert_eq!(roster.workers(), 1);
    }

    #[test]
    fn there_is_a_spare_while_there_may_be_more() {
        let mut roster: Roster<u64> = Roster::new(BOUNDS);
        assert!(roster.wants_spare());
        assert!(!roster.wants_spare());
        roster.started(0, Instant::now());
        assert!(!roster.wants_spare());
        assert_eq!(roster.place(&public("a"), false, 1), at(0));
        assert!(roster.wants_spare());
        roster.not_started();
        assert!(roster.wants_spare());
        roster.started(1, Instant::now());
        assert_eq!(roster.place(&public("b"), false, 1), at(1));
        assert!(!roster.wants_spare());
    }
}
