//! The books: which answers are kept, whose they are, and which go first when there is too much.
//!
//! A caller has a share. Beyond it, their own oldest answer makes room for the newest; beyond what there
//! is for all, the oldest of whoever holds most. So nobody can push out what others keep but by
//! keeping less than they.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::is_kept;
use super::key::{Id, Owner, Payload};
use crate::sandbox::Outcome;

/// How long an answer is kept.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// What an entry counts beside its answer: its place in the file and in memory.
const ENTRY_BYTES: u64 = 1024;

/// One caller may hold a part in so many.
const SHARES: u64 = 16;

/// How many bytes of answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of all callers.
    pub bytes: u64,
    /// Of each.
    pub bytes_per_caller: u64,
}

impl Limits {
    /// So much for all, and a sixteenth of it for each.
    pub fn of(bytes: u64) -> Limits {
        Limits { bytes, bytes_per_caller: bytes / SHARES }
    }

    /// Whether a caller's share holds an answer of so many bytes.
    pub(super) fn hold(&self, answer_bytes: u64) -> bool {
        answer_bytes.saturating_add(ENTRY_BYTES) <= self.bytes_per_caller.min(self.bytes)
    }

    /// The least of which each caller can have an answer of so many bytes kept.
    pub fn least_for(answer_bytes: u64) -> u64 {
        (answer_bytes + ENTRY_BYTES) * SHARES
    }
}

/// What is known of a kept answer without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) owner: Owner,
    pub(super) payload: Payload,
    pub(super) outcome: Outcome,
    /// When it was kept, in milliseconds since the Unix epoch.
    pub(super) at: u64,
    /// Its length.
    pub(super) bytes: u64,
}

impl Entry {
    fn weight(&self) -> u64 {
        self.bytes + ENTRY_BYTES
    }
}

/// The books.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: Limits,
    entries: HashMap<Id, Line>,
    /// In order of age, of all.
    by_age: BTreeSet<(u64, Id)>,
    holders: HashMap<Owner, Holder>,
    /// In order of what they hold.
    by_weight: BTreeSet<(u64, Owner)>,
    bytes: u64,
}

#[derive(Debug)]
struct Line {
    entry: Entry,
    /// Whether it is on disk.
    written: bool,
}

#[derive(Debug, Default)]
struct Holder {
    bytes: u64,
    by_age: BTreeSet<(u64, Id)>,
}

impl Ledger {
    pub(super) fn new(limits: Limits) -> Ledger {
        Ledger {
            limits,
            entries: HashMap::new(),
            by_age: BTreeSet::new(),
            holders: HashMap::new(),
            by_weight: BTreeSet::new(),
            bytes: 0,
        }
    }

    /// The entry of this name, if it is on disk and not too old.
    pub(super) fn find(&self, id: &Id, now: u64) -> Option<&Entry> {
        let line = self.entries.get(id)?;
        (line.written && !is_over(line.entry.at, now)).then_some(&line.entry)
    }

    /// Makes room for an entry, and books it as not yet written. What must go is returned, and is off the
    /// books already: it may be this entry, if no share holds it.
    pub(super) fn admit(&mut self, id: Id, entry: Entry, now: u64) -> Vec<Id> {
        let mut gone = self.expire(now);
        self.remove(&id);
        if !self.limits.hold(entry.bytes) {
            gone.push(id);
            return gone;
        }
        let weight = entry.weight();
        while self.held_by(&entry.owner) + weight > self.limits.bytes_per_caller {
            let Some(oldest) = self.oldest_of(&entry.owner) else { break };
            self.remove(&oldest);
            gone.push(oldest);
        }
        while self.bytes + weight > self.limits.bytes {
            let Some(oldest) = self.oldest_of_the_heaviest() else { break };
            self.remove(&oldest);
            gone.push(oldest);
        }
        self.book(id, entry, false);
        gone
    }

    /// Takes in what was found on disk, and gives back what is too much of it.
    pub(super) fn take_in(&mut self, id: Id, entry: Entry, now: u64) -> Vec<Id> {
        let gone = self.admit(id, entry, now);
        self.written(&id);
        gone
    }

    /// An entry is on disk from now on.
    pub(super) fn written(&mut self, id: &Id) {
        if let Some(line) = self.entries.get_mut(id) {
            line.written = true;
        }
    }

    /// Takes off the books what is too old.
    pub(super) fn expire(&mut self, now: u64) -> Vec<Id> {
        let mut gone = Vec::new();
        while let Some(&(at, id)) = self.by_age.first() {
            if !is_over(at, now) {
                break;
            }
            self.remove(&id);
            gone.push(id);
        }
        gone
    }

    /// How many answers there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What they count, all together.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn held_by(&self, owner: &Owner) -> u64 {
        self.holders.get(owner).map_or(0, |holder| holder.bytes)
    }

    fn oldest_of(&self, owner: &Owner) -> Option<Id> {
        Some(self.holders.get(owner)?.by_age.first()?.1)
    }

    fn oldest_of_the_heaviest(&self) -> Option<Id> {
        let (_, owner) = self.by_weight.last()?;
        self.oldest_of(owner)
    }

    fn book(&mut self, id: Id, entry: Entry, written: bool) {
        let (at, owner, weight) = (entry.at, entry.owner, entry.weight());
        self.by_age.insert((at, id));
        self.entries.insert(id, Line { entry, written });
        self.bytes += weight;
        self.change(owner, |holder| {
            holder.by_age.insert((at, id));
            holder.bytes += weight;
        });
    }

    fn remove(&mut self, id: &Id) {
        let Some(Line { entry, .. }) = self.entries.remove(id) else { return };
        let weight = entry.weight();
        self.by_age.remove(&(entry.at, *id));
        self.bytes -= weight;
        self.change(entry.owner, |holder| {
            holder.by_age.remove(&(entry.at, *id));
            holder.bytes -= weight;
        });
    }

    fn change(&mut self, owner: Owner, change: impl FnOnce(&mut Holder)) {
        let mut holder = self.holders.remove(&owner).unwrap_or_default();
        self.by_weight.remove(&(holder.bytes, owner));
        change(&mut holder);
        if !holder.by_age.is_empty() {
            self.by_weight.insert((holder.bytes, owner));
            self.holders.insert(owner, holder);
        }
    }
}

/// Whether what was kept then is too old now.
fn is_over(at: u64, now: u64) -> bool {
    now.saturating_sub(at) >= KEPT_FOR.as_millis() as u64
}

/// Outcomes as they are written to the file: by their place here, to which some may be added at the end.
const OUTCOMES: [Outcome; 6] = [
    Outcome::Ok,
    Outcome::GuestError,
    Outcome::Trap,
    Outcome::MemoryExceeded,
    Outcome::OutputInvalid,
    Outcome::OutputTooLarge,
];

/// The number of an outcome that is kept.
pub(super) fn number_of(outcome: Outcome) -> Option<u8> {
    debug_assert_eq!(OUTCOMES.contains(&outcome), is_kept(outcome));
    OUTCOMES.iter().position(|kept| *kept == outcome).map(|place| place as u8)
}

/// The outcome of a number.
pub(super) fn outcome_of(number: u8) -> Option<Outcome> {
    OUTCOMES.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * 60 * 1000;

    fn id(number: u8) -> Id {
        [number; 32]
    }

    fn entry(owner: u8, at: u64, bytes: u64) -> Entry {
        let bytes = bytes - ENTRY_BYTES;
        Entry { owner: [owner; 16], payload: [7; 32], outcome: Outcome::Ok, at, bytes }
    }

    fn ledger(bytes: u64, bytes_per_caller: u64) -> Ledger {
        Ledger::new(Limits { bytes, bytes_per_caller })
    }

    /// Everything, in the order of its name.
    fn names(ledger: &Ledger) -> Vec<u8> {
        let mut names: Vec<u8> = ledger.entries.keys().map(|id| id[0]).collect();
        names.sort_unstable();
        assert_eq!(ledger.by_age.len(), names.len());
        assert_eq!(ledger.holders.values().map(|holder| holder.by_age.len()).sum::<usize>(), names.len());
        assert_eq!(ledger.holders.values().map(|holder| holder.bytes).sum::<u64>(), ledger.bytes);
        assert_eq!(ledger.by_weight.len(), ledger.holders.len());
        names
    }

    #[test]
    fn an_answer_is_found_once_it_is_on_disk_and_for_a_day() {
        let mut ledger = ledger(100_000, 100_000);
        assert!(ledger.admit(id(1), entry(1, HOUR, 2000), HOUR).is_empty());
        assert_eq!(ledger.find(&id(1), HOUR), None);
        ledger.written(&id(1));
        assert_eq!(ledger.find(&id(1), HOUR), Some(&entry(1, HOUR, 2000)));
        assert!(ledger.find(&id(1), 25 * HOUR - 1).is_some());
        assert_eq!(ledger.find(&id(1), 25 * HOUR), None);
        assert_eq!(ledger.find(&id(2), HOUR), None);
        // A clock that was put back does not end it.
        assert!(ledger.find(&id(1), 0).is_some());
        assert_eq!(ledger.expire(25 * HOUR - 1), Vec::<Id>::new());
        assert_eq!(ledger.expire(25 * HOUR), [id(1)]);
        assert_eq!((ledger.len(), ledger.bytes(), names(&ledger)), (0, 0, vec![]));
    }

    #[test]
    fn a_callers_own_oldest_makes_room_for_the_newest() {
        let mut ledger = ledger(100_000, 5000);
        for (number, at) in [(1, 3), (2, 1), (3, 2)] {
            ledger.admit(id(number), entry(1, at, 1500), 3);
        }
        ledger.admit(id(9), entry(2, 0, 5000), 3);
        assert_eq!(ledger.admit(id(4), entry(1, 4, 3000), 4), [id(2), id(3)]);
        assert_eq!(names(&ledger), [1, 4, 9]);
        // The same name again takes the place of the first.
        assert_eq!(ledger.admit(id(4), entry(1, 5, 3500), 5), Vec::<Id>::new());
        assert_eq!((names(&ledger), ledger.bytes()), (vec![1, 4, 9], 10_000));
    }

    #[test]
    fn beyond_what_there_is_for_all_the_oldest_of_who_holds_most_goes() {
        let mut ledger = ledger(10_000, 6000);
        ledger.admit(id(1), entry(1, 1, 2000), 1);
        for number in [2, 3] {
            ledger.admit(id(number), entry(2, number.into(), 3000), 3);
        }
        // The one who comes holds less than another, whatever is older.
        assert_eq!(ledger.admit(id(4), entry(1, 4, 2500), 4), [id(2)]);
        // And now they hold most themselves.
        assert_eq!(ledger.admit(id(5), entry(3, 5, 4000), 5), [id(1)]);
        assert_eq!((names(&ledger), ledger.bytes()), (vec![3, 4, 5], 9500));
    }

    #[test]
    fn what_is_too_old_makes_room_first() {
        let mut ledger = ledger(100_000, 4000);
        ledger.admit(id(1), entry(1, 0, 2000), 0);
        ledger.admit(id(2), entry(2, 0, 2000), 0);
        ledger.admit(id(3), entry(1, HOUR, 2000), HOUR);
        assert_eq!(ledger.admit(id(4), entry(1, 24 * HOUR, 2000), 24 * HOUR), [id(1), id(2)]);
        assert_eq!(names(&ledger), [3, 4]);
    }

    #[test]
    fn each_outcome_that_is_kept_has_a_number() {
        for outcome in Outcome::ALL {
            assert_eq!(number_of(outcome).is_some(), is_kept(outcome), "{outcome}");
            assert!(number_of(outcome).is_none_or(|number| outcome_of(number) == Some(outcome)));
        }
        assert_eq!(outcome_of(6), None);
    }

    #[test]
    fn a_share_holds_the_largest_answer() {
        let limits = Limits::of(Limits::least_for(1 << 20));
        let mut ledger = Ledger::new(limits);
        let largest = Entry { bytes: 1 << 20, ..entry(1, 0, 2000) };
        assert!(limits.hold(1 << 20) && !limits.hold((1 << 20) + 1));
        ledger.admit(id(1), largest.clone(), 0);
        assert_eq!(ledger.admit(id(2), largest.clone(), 0), [id(1)]);
        // What no share holds pushes nothing out.
        assert_eq!(ledger.admit(id(3), Entry { bytes: (1 << 20) + 1, ..largest }, 0), [id(3)]);
        assert_eq!(names(&ledger), [2]);
    }
}
