//! What the threads of the log and its users share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// Lines that may wait to be written: more than there are calls at once, and not without end.
const MAX_WAITING: usize = 16 * 1024;

/// The log as operators see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The number of the last line that is written.
    pub written: u64,
    /// The number of the last line that is on disk, signed, and committed to the store.
    pub committed: u64,
    /// Calls of this process that have no line.
    pub dropped: u64,
    /// Why the log cannot be written, while that is so.
    pub trouble: Option<String>,
}

/// A line that waits to be written.
pub(super) struct Entry {
    pub(super) body: String,
    /// Told when the line is written; closed when it will not be.
    pub(super) written: Option<oneshot::Sender<()>>,
}

#[derive(Default)]
pub(super) struct State {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Nothing can be written.
    unwritable: AtomicBool,
    /// That, or what is written cannot be synced.
    failing: AtomicBool,
    trouble: Mutex<Trouble>,
    written: AtomicU64,
    committed: AtomicU64,
    dropped: AtomicU64,
    /// The last write took long.
    slow: AtomicBool,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// The thread is to look.
    called: bool,
    closed: bool,
}

#[derive(Default)]
struct Trouble {
    writing: Option<String>,
    syncing: Option<String>,
}

/// Where trouble comes from: each source takes back only what it said itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Writing,
    Syncing,
}

impl State {
    /// Puts a line into the queue. While the log cannot be written, and where the queue is full, there is
    /// no place for one: it counts as dropped, and what waits for it is told by being closed.
    pub(super) fn push(&self, entry: Entry) {
        if self.unwritable.load(Ordering::Acquire) {
            return self.drop_lines(1);
        }
        let mut queue = lock(&self.queue);
        if queue.entries.len() >= MAX_WAITING {
            drop(queue);
            return self.drop_lines(1);
        }
        queue.entries.push_back(entry);
    }

    /// Has the thread look what there is to do.
    pub(super) fn call(&self) {
        lock(&self.queue).called = true;
        self.wake.notify_one();
    }

    /// All lines that wait.
    pub(super) fn take(&self) -> VecDeque<Entry> {
        std::mem::take(&mut lock(&self.queue).entries)
    }

    /// Whether lines wait.
    pub(super) fn some_wait(&self) -> bool {
        !lock(&self.queue).entries.is_empty()
    }

    /// Waits until there is something to do, or for `at_most`; says whether it is the last. Lines that come
    /// do not end the wait, unless the thread is called for them.
    pub(super) fn wait(&self, at_most: Option<Duration>) -> bool {
        let nothing = |queue: &mut Queue| queue.entries.is_empty() && !queue.called && !queue.closed;
        let queue = lock(&self.queue);
        let mut queue = match at_most {
            None => self.wake.wait_while(queue, nothing).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                self.wake.wait_timeout_while(queue, time, nothing).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        queue.called = false;
        queue.closed
    }

    /// Says whether the last write took long.
    pub(super) fn was_slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::Relaxed);
    }

    pub(super) fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Relaxed)
    }

    /// No more lines come.
    pub(super) fn close(&self) {
        lock(&self.queue).closed = true;
        self.wake.notify_one();
    }

    /// Counts calls that have no line.
    pub(super) fn drop_lines(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Says what `source` cannot do, or that it can again.
    pub(super) fn tell(&self, source: Source, trouble: Option<String>) {
        let mut told = lock(&self.trouble);
        let place = match source {
            Source::Writing => &mut told.writing,
            Source::Syncing => &mut told.syncing,
        };
        match (place.is_some(), &trouble) {
            (false, Some(trouble)) => tracing::error!(trouble, "the audit log cannot be written"),
            (true, None) => tracing::info!("the audit log is written again"),
            _ => {}
        }
        *place = trouble;
        self.unwritable.store(told.writing.is_some(), Ordering::Release);
        self.failing.store(told.writing.is_some() || told.syncing.is_some(), Ordering::Release);
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    pub(super) fn has_written(&self, seq: u64) {
        self.written.store(seq, Ordering::Relaxed);
    }

    pub(super) fn has_committed(&self, seq: u64) {
        self.committed.store(seq, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        let trouble = lock(&self.trouble);
        Stats {
            written: self.written.load(Ordering::Relaxed),
            committed: self.committed.load(Ordering::Relaxed),
            dropped: self.dropped(),
            trouble: trouble.writing.clone().or_else(|| trouble.syncing.clone()),
        }
    }
}

/// What is behind these locks is whole after every statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
