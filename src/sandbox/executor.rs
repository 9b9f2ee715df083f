//! Threads that guests take turns on.
//!
//! Not tokio's: a guest computes inside of `poll`, and a runtime that is busy with such futures looks
//! at its sockets and timers far too seldom. Here a guest gives its thread back at each tick and
//! queues up again, so any number of guests that never end only slow each other down.
//!
//! The queue has three lanes. Runs that were canceled come first, to be cleared away. Then runs that
//! have not had a turn yet, or were just answered by the host: most end within that one turn, so they
//! must not wait for all the long ones. Then the long ones, in rotation; one of them gets a turn after
//! at most `QUICK_IN_A_ROW` quick ones, so that a flood of short runs cannot stop them.
//!
//! In a worker process, what is to be done comes through a socket ([`Source`]). There is no thread just to
//! read it, since a run would then wait for two threads to wake, one after the other: one that has nothing
//! else to do listens, and gives the run that it hears of its first turn itself. Nobody listens
//! meanwhile; most runs are over before it would have been worth to wake another thread. At the next tick
//! another takes over, so there is one thread more than runs may have turns at once.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use wasmtime::Engine;

use super::BoxFuture;
use super::guest::Control;
use super::ticker::Ticker;

/// How many quick runs may pass a waiting long one.
const QUICK_IN_A_ROW: u8 = 4;

/// Where runs come from, and whatever else there is to be told.
pub(crate) trait Source: Send + Sync + 'static {
    /// Waits for one thing and sees to it; `false` if there will be nothing any more.
    fn take_in(&self) -> bool;
}

thread_local! {
    /// This thread is listening: what it queues it takes itself.
    static LISTENS: Cell<bool> = const { Cell::new(false) };
}

/// The threads. They end when this is dropped, after a last tick.
pub(super) struct Executor {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    closing: Arc<AtomicBool>,
    threads: usize,
    source: OnceLock<Arc<dyn Source>>,
}

#[derive(Default)]
struct Queue {
    canceled: VecDeque<Arc<Task>>,
    quick: VecDeque<Arc<Task>>,
    long: VecDeque<Arc<Task>>,
    quick_in_a_row: u8,
    idle_threads: usize,
    /// Threads that give a run its turn.
    busy_threads: usize,
    /// A thread is listening, or there is nothing more to be heard.
    listened_to: bool,
}

impl Executor {
    /// Starts the threads, and the ticker that cuts their turns.
    pub(super) fn start(engine: &Engine, threads: usize) -> io::Result<Executor> {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            closing: Arc::new(AtomicBool::new(false)),
            threads,
            source: OnceLock::new(),
        });
        let at_tick = Arc::downgrade(&shared);
        let ticker = Ticker::start(engine.weak(), move || {
            if let Some(shared) = at_tick.upgrade() {
                shared.see_that_somebody_listens();
            }
        });
        let ticker = Arc::new(ticker?);
        // From here on, a thread that cannot be started closes those that were.
        let executor = Executor { shared };
        for number in 0..threads {
            let shared = Arc::clone(&executor.shared);
            let ticker = Arc::clone(&ticker);
            thread::Builder::new().name(format!("guest-{number}")).spawn(move || {
                Engine::tls_eager_initialize();
                shared.take_turns(&ticker);
            })?;
        }
        Ok(executor)
    }

    /// Has the threads listen to `source` from now on, one of them at a time. The first source stays.
    pub(super) fn listen_to(&self, source: Arc<dyn Source>) {
        let _ = self.shared.source.set(source);
        // Under the lock, as below.
        let _queue = self.shared.queue();
        self.shared.work.notify_all();
    }

    /// What a run's [`Control`] watches, to stop when the executor does.
    pub(super) fn closing(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.closing)
    }

    /// Queues a future that runs a guest under `control`. It is dropped as soon as it ends, panics, or
    /// is found canceled.
    pub(super) fn spawn(&self, guest: BoxFuture<'static, ()>, control: Arc<Control>) -> Handle {
        let task = Arc::new(Task {
            guest: Mutex::new(Some(guest)),
            state: AtomicU8::new(QUEUED),
            control,
            shared: Arc::downgrade(&self.shared),
        });
        self.shared.push(Lane::Quick, Arc::clone(&task));
        Handle(task)
    }

    /// Runs that are ready and have no thread.
    pub(super) fn ready(&self) -> usize {
        let queue = self.shared.queue();
        queue.quick.len() + queue.long.len()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // Under the lock, so that no thread is between looking at the flag and going to sleep.
        let _queue = self.shared.queue();
        self.shared.work.notify_all();
    }
}

/// A run in the executor. One that waits for the host when the executor closes stays until this cancels
/// it.
pub(super) struct Handle(Arc<Task>);

impl Handle {
    /// Stops the run, wherever it is: on a thread at its next tick, else at once.
    pub(super) fn cancel(&self) {
        self.0.control.cancel();
        let shared = self.0.shared.upgrade();
        if let Some(shared) = &shared {
            shared.push(Lane::Canceled, Arc::clone(&self.0));
        }
        // After that, so that a thread that saw the queue empty and the executor closed is made up for.
        if shared.is_none_or(|shared| shared.closing.load(Ordering::SeqCst)) {
            self.0.discard_if_idle();
        }
    }
}

enum Lane {
    Canceled,
    Quick,
    Long,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds this lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, lane: Lane, task: Arc<Task>) {
        let mut queue = self.queue();
        match lane {
            Lane::Canceled => queue.canceled.push_back(task),
            Lane::Quick => queue.quick.push_back(task),
            Lane::Long => queue.long.push_back(task),
        }
        if queue.idle_threads > 0 && !LISTENS.get() {
            self.work.notify_one();
        }
    }

    /// Runs that have turns at once: one thread is for listening, where there is something to listen to.
    fn most_busy(&self) -> usize {
        match self.source.get() {
            Some(_) => (self.threads - 1).max(1),
            None => self.threads,
        }
    }

    /// Who listened may have a turn that takes long.
    fn see_that_somebody_listens(&self) {
        if self.source.get().is_some() {
            let queue = self.queue();
            if !queue.listened_to && queue.idle_threads > 0 {
                self.work.notify_one();
            }
        }
    }

    fn take_turns(self: &Arc<Self>, ticker: &Ticker) {
        while let Some(task) = self.next() {
            task.take_turn(self, ticker);
            self.queue().busy_threads -= 1;
        }
    }

    /// The next run that is to have a turn; `None` when the executor has closed and nothing is left to
    /// clear away.
    fn next(&self) -> Option<Arc<Task>> {
        let mut queue = self.queue();
        loop {
            if queue.busy_threads < self.most_busy()
                && let Some(task) = queue.next()
            {
                queue.busy_threads += 1;
                // What this thread was told of while it listened, nobody was woken for.
                if queue.idle_threads > 0 && !queue.is_empty() {
                    self.work.notify_one();
                }
                return Some(task);
            }
            if self.closing.load(Ordering::SeqCst) {
                return None;
            }
            if let Some(source) = self.source.get()
                && !queue.listened_to
            {
                queue.listened_to = true;
                drop(queue);
                LISTENS.set(true);
                let goes_on = source.take_in();
                LISTENS.set(false);
                queue = self.queue();
                queue.listened_to = !goes_on;
                continue;
            }
            queue.idle_threads += 1;
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle_threads -= 1;
        }
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.canceled.is_empty() && self.quick.is_empty() && self.long.is_empty()
    }

    fn next(&mut self) -> Option<Arc<Task>> {
        if let Some(task) = self.canceled.pop_front() {
            return Some(task);
        }
        let quick_may_pass = self.quick_in_a_row < QUICK_IN_A_ROW || self.long.is_empty();
        if quick_may_pass && let Some(task) = self.quick.pop_front() {
            self.quick_in_a_row = self.quick_in_a_row.saturating_add(1);
            return Some(task);
        }
        self.quick_in_a_row = 0;
        self.long.pop_front()
    }
}

/// One run, as a future and where it stands.
struct Task {
    /// Empty once the run has ended. Locked for the whole of a turn.
    guest: Mutex<Option<BoxFuture<'static, ()>>>,
    state: AtomicU8,
    control: Arc<Control>,
    shared: Weak<Shared>,
}

// The states of a task.
/// In a lane.
const QUEUED: u8 = 0;
/// Having a turn.
const RUNNING: u8 = 1;
/// Having a turn, and ready for another.
const AGAIN: u8 = 2;
/// Waiting for the host.
const WAITING: u8 = 3;

impl Task {
    fn take_turn(self: Arc<Self>, shared: &Shared, ticker: &Ticker) {
        let mut slot = match self.guest.try_lock() {
            Ok(slot) => slot,
            // It was canceled while it has a turn elsewhere, and stops there at the next tick.
            Err(TryLockError::WouldBlock) => return,
            Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
        };
        // A canceled run stands in two lanes; the second time there is nothing left of it.
        let Some(guest) = slot.as_mut() else { return };
        if self.control.is_canceled() {
            return discard(&mut slot);
        }

        self.state.store(RUNNING, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self));
        let turn = ticker.turn();
        self.control.stopwatch.turn_begins();
        let polled = catch_unwind(AssertUnwindSafe(|| guest.as_mut().poll(&mut Context::from_waker(&waker))));
        drop(turn);

        // An end, or a panic: either way there is no more of it, and nobody asks how long it took. Its lease and
        // its answer, if it still owes one, are dropped with it.
        if !matches!(polled, Ok(Poll::Pending)) {
            return discard(&mut slot);
        }
        self.control.stopwatch.turn_ends();
        drop(slot);
        // Only now: who canceled it before this saw it locked, and left it to this turn.
        if self.control.is_canceled() {
            return self.discard_if_idle();
        }
        self.control.stopwatch.waiting_begins(Instant::now());
        if self.state.compare_exchange(RUNNING, WAITING, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            self.control.stopwatch.waiting_ends(Instant::now());
            self.state.store(QUEUED, Ordering::SeqCst);
            shared.push(Lane::Long, self);
        }
    }
}

impl Task {
    /// Drops the run, unless it has a turn, at whose end it is dropped anyway.
    fn discard_if_idle(&self) {
        match self.guest.try_lock() {
            Ok(mut slot) => discard(&mut slot),
            Err(TryLockError::Poisoned(slot)) => discard(&mut slot.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

fn discard(slot: &mut Option<BoxFuture<'static, ()>>) {
    let guest = slot.take();
    if catch_unwind(AssertUnwindSafe(|| drop(guest))).is_err() {
        tracing::error!("dropping a run panicked");
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let next = |state| match state {
            RUNNING => Some(AGAIN),
            WAITING => Some(QUEUED),
            _ => None,
        };
        let was = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        if was == Ok(WAITING) {
            self.control.stopwatch.waiting_ends(Instant::now());
            if let Some(shared) = self.shared.upgrade() {
                shared.push(Lane::Quick, self);
            }
        }
    }
}

#[cfg(test)]
mod tests;
