//! Who sits where: which worker gets a run of an author's function, and who waits for one.
//!
//! A guest that broke out of the first wall reads and forges what its worker holds, so a worker is
//! given to one author and ends with that author's turn; it is not wiped and passed on. Only where
//! every worker that there may be is busy, or was a moment ago, do public functions share one, and never
//! one that had a private function in it: where more authors take turns than there may be workers, each
//! call would else end one and wait for the next to start. A private function waits for a worker that had
//! nobody else's in it.
//!
//! Whatever changes, [`Roster::settle`] is asked next what follows from it: who of those who wait sits
//! down, in the order in which they came, and which workers are to be started and ended. So whoever
//! waits still could not have sat down, and one who comes later takes nothing from him.

use std::collections::{HashMap, VecDeque};
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
    /// How long a worker without a run counts as busy where others might share it.
    pub(super) kept: Duration,
}

/// Authors of a worker that are remembered, so that their calls come back to where their modules are.
const MAX_GUESTS: usize = 64;

/// All workers, and all who wait. `W` is a worker's handle, `T` is how to reach one who waits.
#[derive(Debug)]
pub(super) struct Roster<W, T> {
    bounds: Bounds,
    entries: Vec<Entry<W>>,
    queue: VecDeque<Waiting<T>>,
    /// Workers on their way.
    starting: usize,
    next: u64,
    next_ticket: u64,
}

#[derive(Debug)]
struct Entry<W> {
    number: u64,
    worker: W,
    /// Whose runs it has had; none if it is fresh.
    author: Option<Arc<str>>,
    /// It has had runs of others too.
    shared: bool,
    /// These others, those of late.
    guests: VecDeque<Arc<str>>,
    /// It has had runs of a private function.
    private: bool,
    /// It has one run, of a function under suspicion.
    alone: bool,
    in_flight: usize,
    runs: u64,
    /// It gets no more runs, and ends with its last.
    leaving: bool,
    idle_since: Instant,
}

#[derive(Debug)]
struct Waiting<T> {
    ticket: u64,
    owner: Owner,
    alone: bool,
    token: T,
}

impl<W> Entry<W> {
    /// Takes in a run of this author.
    fn welcome(&mut self, author: &Arc<str>) {
        if *self.author.get_or_insert_with(|| Arc::clone(author)) == *author {
            return;
        }
        self.shared = true;
        if !self.guests.contains(author) {
            if self.guests.len() == MAX_GUESTS {
                self.guests.pop_front();
            }
            self.guests.push_back(Arc::clone(author));
        }
    }
}

/// What follows from a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Orders<W, T> {
    /// Those who wait no more: each with the number of a worker, which [`Roster::leave`] is to be told
    /// of when the run is gone, and the worker.
    pub(super) seated: Vec<(T, u64, W)>,
    /// Workers that are to be ended. They are off the list, and nothing is in them.
    pub(super) ended: Vec<W>,
    /// How many workers are to be started. They are counted as on their way.
    pub(super) start: usize,
}

/// A worker that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// What it held was one run, alone.
    pub(super) alone: bool,
}

impl<W: Clone, T> Roster<W, T> {
    pub(super) fn new(bounds: Bounds) -> Roster<W, T> {
        let (entries, queue) = (Vec::new(), VecDeque::new());
        Roster { bounds, entries, queue, starting: 0, next: 0, next_ticket: 0 }
    }

    /// Puts a run at the end of the queue. One that is to be `alone` gets a fresh worker, which ends
    /// with it. Gives a number for [`Roster::withdraw`].
    pub(super) fn ask(&mut self, owner: Owner, alone: bool, token: T) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.queue.push_back(Waiting { ticket, owner, alone, token });
        ticket
    }

    /// Takes one who gave up out of the queue, if he is still in it.
    pub(super) fn withdraw(&mut self, ticket: u64) {
        self.queue.retain(|waiting| waiting.ticket != ticket);
    }

    /// Says what is to be done now. With `spare`, a fresh worker more than is needed is kept, as long
    /// as there may be more: started and sealed before somebody waits for it.
    pub(super) fn settle(&mut self, spare: bool, now: Instant) -> Orders<W, T> {
        let seated = self.seat_who_waits(now);
        let ended = self.make_room();
        let room = self.room();
        let fresh = self.entries.iter().any(|entry| entry.author.is_none());
        let wanted = self.wanted(|_| true) + usize::from(spare && !fresh);
        let start = wanted.saturating_sub(self.starting).min(room);
        self.starting += start;
        Orders { seated, ended, start }
    }

    fn seat_who_waits(&mut self, now: Instant) -> Vec<(T, u64, W)> {
        let mut seated = Vec::new();
        let mut index = 0;
        while let Some(waiting) = self.queue.get(index) {
            let (owner, alone) = (waiting.owner.clone(), waiting.alone);
            match self.sit(&owner, alone, index, now) {
                Some((number, worker)) => {
                    seated.extend(self.queue.remove(index).map(|waiting| (waiting.token, number, worker)));
                }
                None => index += 1,
            }
        }
        seated
    }

    fn sit(&mut self, owner: &Owner, alone: bool, ahead: usize, now: Instant) -> Option<(u64, W)> {
        let entry = self.find(owner, alone, ahead, now)?;
        entry.alone = alone;
        entry.leaving = alone;
        entry.welcome(&owner.name);
        entry.private |= !owner.public;
        entry.in_flight += 1;
        entry.runs += 1;
        Some((entry.number, entry.worker.clone()))
    }

    /// A worker that may take the run now: the author's own, a fresh one, or, where there is nothing
    /// else to be had, one that is shared, at best one that the author has shared before. `ahead` others wait.
    fn find(&mut self, owner: &Owner, alone: bool, ahead: usize, now: Instant) -> Option<&mut Entry<W>> {
        let (slots, full) = (self.bounds.slots, self.is_full(ahead, now));
        let rank = |entry: &Entry<W>| {
            let own = entry.author.as_ref() == Some(&owner.name);
            match entry {
                entry if entry.leaving || entry.in_flight >= slots => None,
                Entry { author: None, .. } => Some(1),
                _ if alone => None,
                Entry { shared: false, .. } if own => Some(0),
                Entry { private: false, .. } if owner.public && own => Some(2),
                Entry { private: false, .. } if owner.public && full => {
                    Some(if entry.guests.contains(&owner.name) { 2 } else { 3 })
                }
                _ => None,
            }
        };
        let ranked = self.entries.iter_mut().filter_map(|entry| Some((rank(entry)?, entry)));
        let least = ranked.min_by_key(|(rank, entry)| (*rank, entry.in_flight, entry.guests.len()));
        least.map(|(_, entry)| entry)
    }

    /// Whether there can be no worker more, none is coming that is not for those ahead, and none of those there
    /// are can be done without.
    fn is_full(&self, ahead: usize, now: Instant) -> bool {
        let is_busy = |entry: &Entry<W>| {
            entry.in_flight > 0 || now.saturating_duration_since(entry.idle_since) < self.bounds.kept
        };
        self.starting <= ahead && self.room() == 0 && self.entries.iter().all(is_busy)
    }

    /// Workers that there may be more.
    fn room(&self) -> usize {
        self.bounds.workers.saturating_sub(self.entries.len() + self.starting)
    }

    /// How many fresh workers would seat those who wait and for whom `counts` holds.
    fn wanted(&self, counts: impl Fn(&Owner) -> bool) -> usize {
        let mut alone = 0;
        let mut authors: HashMap<&str, usize> = HashMap::new();
        for waiting in &self.queue {
            if waiting.alone {
                alone += 1;
            } else if counts(&waiting.owner) {
                *authors.entry(&waiting.owner.name).or_default() += 1;
            }
        }
        alone + authors.into_values().map(|runs| runs.div_ceil(self.bounds.slots)).sum::<usize>()
    }

    /// Takes idle workers off the list for those who wait, the one that has been idle longest first.
    /// Where they are not enough, sees to it that busy ones become idle; but not for an author who has
    /// a worker already, whose own runs end too, nor for one who may share one.
    fn make_room(&mut self) -> Vec<W> {
        let coming = self.starting + self.room();
        let mut ended = Vec::new();
        let lacking = self.wanted(|_| true).saturating_sub(coming);
        while ended.len() < lacking {
            let idle = self.entries.iter().enumerate().filter(|(_, entry)| entry.in_flight == 0);
            let Some((index, _)) = idle.min_by_key(|(_, entry)| entry.idle_since) else { break };
            ended.push(self.entries.swap_remove(index).worker);
        }
        let needs_room = |owner: &Owner| !(self.has_worker(owner) || owner.public && self.may_be_shared());
        let lacking = self.wanted(needs_room).saturating_sub(coming + ended.len());
        let leaving = self.entries.iter().filter(|entry| entry.leaving).count();
        for _ in leaving..lacking {
            match self.least_needed() {
                Some(index) => self.entries[index].leaving = true,
                None => break,
            }
        }
        ended
    }

    fn has_worker(&self, owner: &Owner) -> bool {
        self.entries.iter().any(|entry| {
            let may = !entry.shared || owner.public;
            entry.author.as_ref() == Some(&owner.name) && !entry.leaving && may
        })
    }

    /// Whether a worker has room for public functions of others, once there is no other way.
    fn may_be_shared(&self) -> bool {
        let slots = self.bounds.slots;
        self.entries.iter().any(|entry| !entry.leaving && !entry.private && entry.in_flight < slots)
    }

    /// The worker with the fewest runs, of those whose author has most workers.
    fn least_needed(&self) -> Option<usize> {
        let mut of_author: HashMap<Option<&str>, usize> = HashMap::new();
        let staying = || self.entries.iter().enumerate().filter(|(_, entry)| !entry.leaving);
        for (_, entry) in staying() {
            *of_author.entry(entry.author.as_deref()).or_default() += 1;
        }
        let most_first = |entry: &Entry<W>| {
            let workers = of_author.get(&entry.author.as_deref()).copied();
            (std::cmp::Reverse(workers), entry.in_flight)
        };
        staying().min_by_key(|(_, entry)| most_first(entry)).map(|(index, _)| index)
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

    /// Gives a worker no more runs.
    pub(super) fn avoid(&mut self, number: u64) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.number == number) {
            entry.leaving = true;
        }
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
            guests: VecDeque::new(),
            private: false,
            alone: false,
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

    /// A worker is gone; tells of it if it was on the list still.
    pub(super) fn gone(&mut self, number: u64) -> Option<Gone> {
        let index = self.entries.iter().position(|entry| entry.number == number)?;
        Some(Gone { alone: self.entries.swap_remove(index).alone })
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

    /// Sends all away who wait.
    pub(super) fn take_queue(&mut self) -> Vec<T> {
        self.queue.drain(..).map(|waiting| waiting.token).collect()
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

    /// Runs that wait for a worker.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Workers that hold runs of more than one author.
    pub(super) fn shared(&self) -> usize {
        self.entries.iter().filter(|entry| entry.shared).count()
    }
}

#[cfg(test)]
mod tests;
