//! The workers there are: started as authors need them, and ended when they do not.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::connection::{self, NotStarted, Started};
use super::link::{Installed, Link, STOP_TIME};
use super::message::Walls;
use super::program::{Role, Starter};
use super::quarantine::{Quarantine, Verdict};
use super::roster::{Bounds, Place, Roster};
use crate::sandbox::{Completion, Job, Lease, Lost, Owner};

/// How often idle workers are looked for.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// What is waited after a worker that did not start, before the next is tried.
const START_BACKOFF: Duration = Duration::from_millis(500);

/// What is waited before a worker that is gone is replaced: should they all die at once, and again and
/// again, the service has other things to do too. Runs that wait for a worker do not wait for this.
const REPLACE_DELAY: Duration = Duration::from_millis(50);

/// All workers, and who waits for one.
pub(super) struct Pool {
    starter: Starter,
    runtime: Handle,
    threads: usize,
    bounds: Bounds,
    roster: Mutex<Roster<Arc<Link>>>,
    /// Something changed that those who wait should look at.
    changed: Notify,
    waiting: AtomicUsize,
    /// Workers that could not be started, one after the other, and why not.
    failed: Mutex<Option<NotStarted>>,
    deaths: AtomicU64,
    quarantine: Mutex<Quarantine>,
    closed: AtomicBool,
}

/// A place in a worker; given back by dropping it.
pub(super) struct Seat {
    pool: Arc<Pool>,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let done = self.pool.roster().leave(self.number, Instant::now());
        if let Some(worker) = done {
            worker.end();
        }
        self.pool.changed.notify_waiters();
    }
}

impl Pool {
    /// Starts the first worker, to see that it can be done.
    pub(super) async fn start(
        starter: Starter,
        threads: usize,
        bounds: Bounds,
    ) -> Result<(Arc<Pool>, Walls), NotStarted> {
        let first = connection::start(&starter, Role::Worker, threads, bounds.slots).await?;
        let walls = first.walls;
        let pool = Arc::new(Pool {
            starter,
            runtime: Handle::current(),
            threads,
            bounds,
            roster: Mutex::new(Roster::new(bounds)),
            changed: Notify::new(),
            waiting: AtomicUsize::new(0),
            failed: Mutex::default(),
            deaths: AtomicU64::new(0),
            quarantine: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        if pool.roster().wants_spare() {
            pool.take_in(first);
        }
        let weak = Arc::downgrade(&pool);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(IDLE_INTERVAL).await;
                let Some(pool) = weak.upgrade() else { return };
                let idle = pool.roster().take_idle(Instant::now());
                idle.iter().for_each(|worker| worker.end());
                pool.keep_spare();
            }
        });
        Ok((pool, walls))
    }

    /// Runs a job in a worker that its owner may have.
    pub(super) async fn run(
        self: &Arc<Self>,
        job: Job,
        installed: Arc<Installed>,
        lease: Lease,
    ) -> Result<Completion, Lost> {
        let owner = job.owner.clone();
        let verdict = lock(&self.quarantine).verdict(&installed.function, &owner.name, Instant::now());
        let alone = match verdict {
            Verdict::Free => false,
            Verdict::Alone => true,
            Verdict::Refused => return Err(Lost::Quarantined),
        };
        let (worker, seat) = self.seat(&owner, alone).await?;
        let result = worker.begin(job, &installed, Lease::holding((seat, lease)))?.result().await;
        match &result {
            Err(Lost::Worker) => {
                lock(&self.quarantine).died(installed.function, &owner.name, alone, Instant::now());
            }
            Ok(_) if alone => lock(&self.quarantine).survived(&installed.function),
            _ => {}
        }
        result
    }

    async fn seat(self: &Arc<Self>, owner: &Owner, alone: bool) -> Result<(Arc<Link>, Seat), Lost> {
        let waits = Waits::new(&self.waiting);
        if self.in_flight() + waits.how_many() > self.most_runs() {
            return Err(Lost::NoSlot);
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on, no change is missed.
            changed.as_mut().enable();
            if self.closed.load(Ordering::SeqCst) {
                return Err(Lost::Closed);
            }
            let place = self.roster().place(owner, alone, waits.how_many());
            match place {
                Place::At { number, worker } => {
                    self.keep_spare();
                    return Ok((worker, Seat { pool: Arc::clone(self), number }));
                }
                Place::Wait { start, end } => {
                    if let Some(worker) = end {
                        worker.end();
                    }
                    if start {
                        self.start_one();
                    }
                }
            }
            changed.await;
            if let Some(NotStarted(reason)) = self.failed() {
                return Err(Lost::Internal(format!("no worker could be started: {reason}")));
            }
        }
    }

    /// Why there are no workers, if there are none.
    fn failed(&self) -> Option<NotStarted> {
        let roster = self.roster();
        if roster.workers() + roster.starting() > 0 {
            return None;
        }
        drop(roster);
        lock(&self.failed).clone()
    }

    fn keep_spare(self: &Arc<Self>) {
        let stays = !self.closed.load(Ordering::SeqCst) && lock(&self.failed).is_none();
        let wants = stays && self.roster().wants_spare();
        if wants {
            self.start_one();
        }
    }

    /// Starts a worker that the roster counts as on its way.
    fn start_one(self: &Arc<Self>) {
        let pool = Arc::clone(self);
        self.runtime.spawn(async move {
            match connection::start(&pool.starter, Role::Worker, pool.threads, pool.bounds.slots).await {
                Ok(started) => {
                    *lock(&pool.failed) = None;
                    pool.take_in(started);
                }
                Err(error) => {
                    tracing::error!(%error, "a worker could not be started");
                    *lock(&pool.failed) = Some(error);
                    tokio::time::sleep(START_BACKOFF).await;
                    pool.roster().not_started();
                }
            }
            pool.changed.notify_waiters();
        });
    }

    fn take_in(self: &Arc<Self>, started: Started) {
        let weak = Arc::downgrade(self);
        let number = Arc::new(AtomicU64::new(u64::MAX));
        // Until it is on the list it cannot be taken off.
        let mut roster = self.roster();
        let link = Link::attend(started, STOP_TIME, {
            let number = Arc::clone(&number);
            move || {
                if let Some(pool) = weak.upgrade() {
                    pool.gone(number.load(Ordering::SeqCst));
                }
            }
        });
        number.store(roster.started(link, Instant::now()), Ordering::SeqCst);
    }

    fn gone(self: &Arc<Self>, number: u64) {
        let known = self.roster().gone(number);
        if known {
            // One that was meant to end is off the list already.
            self.deaths.fetch_add(1, Ordering::Relaxed);
        }
        self.changed.notify_waiters();
        let pool = Arc::downgrade(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(REPLACE_DELAY).await;
            if let Some(pool) = pool.upgrade() {
                pool.keep_spare();
            }
        });
    }

    /// Ends all workers, and with them all runs.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let all = self.roster().take_all();
        all.iter().for_each(|worker| worker.end());
        self.changed.notify_waiters();
    }

    pub(super) fn most_runs(&self) -> usize {
        self.bounds.workers.saturating_mul(self.bounds.slots)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.roster().in_flight()
    }

    pub(super) fn workers(&self) -> usize {
        self.roster().workers()
    }

    pub(super) fn shared(&self) -> usize {
        self.roster().shared()
    }

    pub(super) fn deaths(&self) -> u64 {
        self.deaths.load(Ordering::Relaxed)
    }

    /// The numbers of the workers' processes.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.roster().handles().map(|worker| worker.process()).collect()
    }

    /// Runs that wait for a worker.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn roster(&self) -> MutexGuard<'_, Roster<Arc<Link>>> {
        lock(&self.roster)
    }
}

/// Counts itself among those who wait, for as long as it lives.
struct Waits<'a>(&'a AtomicUsize);

impl Waits<'_> {
    fn new(count: &AtomicUsize) -> Waits<'_> {
        count.fetch_add(1, Ordering::SeqCst);
        Waits(count)
    }

    fn how_many(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is sound after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
