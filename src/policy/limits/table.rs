//! Who has used how much of one limit, in bounded memory.
//!
//! A key is forgotten only when nothing would be different if it had never called: its bucket is full
//! again, and no call of it is under way. Where all that there is room for owe something, newcomers share
//! one bucket: nobody gets a fresh one by pushing old ones out.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::gcra::{Bucket, Taken};
use super::{Exceeded, Kind, Limit, Quota};

/// How long to wait for a call of one's own to end: it takes nine seconds at most, and most much less.
const RETRY_AT_ONCE: Duration = Duration::from_secs(1);

/// How many of the oldest keys are looked at when one is added: more than one, so that the table shrinks
/// when there is less going on.
const LOOKED_AT: usize = 4;

/// A keyed hash of 128 bits: keys take little room whatever they were, and nobody can choose one.
pub(super) type Key = u128;

/// The key of something.
pub(super) fn key(of: &impl Hash) -> Key {
    static SECRETS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);
    let [high, low] = SECRETS.each_ref().map(|secret| u128::from(secret.hash_one(of)));
    high << 64 | low
}

/// The keys that use one limit.
#[derive(Debug)]
pub(super) struct Table {
    kind: Kind,
    most: usize,
    users: Mutex<Users>,
}

#[derive(Debug, Default)]
struct Users {
    known: HashMap<Key, User>,
    /// Those in `known`, each once, to be looked at in turn.
    order: VecDeque<Key>,
    /// All those for whom there is no room.
    others: User,
}

#[derive(Clone, Copy, Debug, Default)]
struct User {
    /// When its bucket is full again, in nanoseconds.
    full_at: u64,
    at_once: u32,
}

/// A place that a call holds; given back by dropping it.
#[derive(Debug)]
pub(super) struct Held {
    table: Arc<Table>,
    /// `None` for one of the others.
    key: Option<Key>,
    bucket: Bucket,
}

impl Table {
    pub(super) fn new(kind: Kind, most: usize) -> Table {
        Table { kind, most, users: Mutex::default() }
    }

    /// Takes one call from what `key` may make. `now` counts from a beginning that is always the same.
    pub(super) fn charge(
        self: &Arc<Table>,
        key: Key,
        limit: Limit,
        now: Duration,
    ) -> Result<(Held, Quota), Exceeded> {
        let now = nanos(now);
        let Limit { bucket, at_once } = limit;
        let mut users = self.lock();
        let key = users.place_for(key, self.most, now);
        let user = users.get(key);
        // An operator may have raised the limit since: what is owed of an emptied bucket is no more than a full one.
        user.full_at = user.full_at.min(now.saturating_add(bucket.window()));
        let quota = |full_at| Quota {
            burst: bucket.burst,
            window: Duration::from_nanos(bucket.window()),
            remaining: bucket.left(full_at, now),
            full_in: Duration::from_nanos(full_at.saturating_sub(now)),
        };
        let exceeded = |at_once, retry_after| Exceeded {
            kind: self.kind,
            at_once,
            retry_after,
            quota: quota(user.full_at),
        };
        if user.at_once >= at_once {
            return Err(exceeded(true, RETRY_AT_ONCE));
        }
        match bucket.take(user.full_at, now) {
            Taken::No { wait } => Err(exceeded(false, Duration::from_secs(wait.div_ceil(1_000_000_000)))),
            Taken::Yes { full_at } => {
                let quota = quota(full_at);
                user.full_at = full_at;
                user.at_once += 1;
                Ok((Held { table: Arc::clone(self), key, bucket }, quota))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Users> {
        // What is in there is right after every statement.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().known.len()
    }
}

impl Users {
    /// The key under which this user is counted: its own where it is known or there is room.
    fn place_for(&mut self, key: Key, most: usize, now: u64) -> Option<Key> {
        if self.known.contains_key(&key) {
            return Some(key);
        }
        for _ in 0..LOOKED_AT {
            let Some(oldest) = self.order.pop_front() else { break };
            match self.known.get(&oldest) {
                Some(user) if user.owes(now) => self.order.push_back(oldest),
                _ => _ = self.known.remove(&oldest),
            }
        }
        (self.known.len() < most).then(|| {
            self.known.insert(key, User::default());
            self.order.push_back(key);
            key
        })
    }

    fn get(&mut self, key: Option<Key>) -> &mut User {
        match key {
            Some(key) => self.known.entry(key).or_default(),
            None => &mut self.others,
        }
    }
}

impl User {
    fn owes(&self, now: u64) -> bool {
        self.at_once > 0 || self.full_at > now
    }
}

impl Held {
    /// Gives back the place and the call: it was not made.
    pub(super) fn take_back(self) {
        {
            let mut users = self.table.lock();
            let user = users.get(self.key);
            user.full_at = self.bucket.put_back(user.full_at);
        }
        // Dropped here, now that the table is free again.
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A user with a place is known until it has given it back.
        let mut users = self.table.lock();
        let user = users.get(self.key);
        user.at_once = user.at_once.saturating_sub(1);
    }
}

fn nanos(time: Duration) -> u64 {
    // Five centuries.
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
