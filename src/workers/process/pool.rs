//! The workers there are: started as authors need them, and ended when they do not.
//!
//! A run takes the way of [`Pool::run`]: it is counted, waits for its turn if its function is under
//! suspicion (`quarantine`), waits for a place in a worker (`roster`), and is sent there (`link`). What
//! it holds it gives back when nothing of it is left in the worker, which may be after its caller went.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::connection::{self, NotStarted, Started};
use super::link::{Held, Installed, Link, STOP_TIME, Suspects, Waiting};
use super::message::Walls;
use super::program::{Role, Starter};
use super::quarantine::{Function, Ward};
use super::roster::{Bounds, Orders, Roster};
use crate::sandbox::{Completion, Job, Lease, Lost, Owner};

/// How often idle workers are looked for.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);
/// What is waited after so many workers that did not start, one after the other, before the next is
/// tried: one may have been killed on its way, but a machine that has no more of something needs time.
const START_BACKOFF: [Duration; 3] = [Duration::ZERO, Duration::from_millis(50), Duration::from_millis(500)];
/// What is waited before a worker that is gone is replaced: should they all die at once, and again and
/// again, the service has other things to do too. Runs that wait for a worker do not wait for this.
const REPLACE_DELAY: Duration = Duration::from_millis(50);

/// All workers, and who waits for one.
pub(super) struct Pool {
    starter: Starter,
    runtime: Handle,
    threads: usize,
    bounds: Bounds,
    roster: Mutex<Roster<Arc<Link>, Answer>>,
    /// Runs from the moment they ask for a place until nothing of them is left.
    held: Arc<AtomicUsize>,
    /// Workers that could not be started, one after the other.
    failures: AtomicU32,
    deaths: AtomicU64,
    ward: Arc<Ward>,
    closed: AtomicBool,
}

/// Where one who waits is told.
type Answer = oneshot::Sender<Result<(Arc<Link>, Seat), Lost>>;

impl Pool {
    /// Starts the first worker, to see that it can be done.
    pub(super) async fn start(
        starter: Starter,
        threads: usize,
        bounds: Bounds,
    ) -> Result<(Arc<Pool>, Walls), NotStarted> {
        let first = connection::start(&starter, Role::Worker, threads, bounds.slots).await?;
        let walls = first.walls;
        let mut roster = Roster::new(bounds);
        // The first is counted as on its way, like any other.
        roster.settle(true, Instant::now());
        let pool = Arc::new(Pool {
            starter,
            runtime: Handle::current(),
            threads,
            bounds,
            roster: Mutex::new(roster),
            held: Arc::default(),
            failures: AtomicU32::new(0),
            deaths: AtomicU64::new(0),
            ward: Arc::default(),
            closed: AtomicBool::new(false),
        });
        pool.take_in(first);
        let weak = Arc::downgrade(&pool);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(IDLE_INTERVAL).await;
                let Some(pool) = weak.upgrade() else { return };
                pool.change(true, |roster| roster.take_idle(Instant::now()));
            }
        });
        Ok((pool, walls))
    }

    /// Runs a job in a worker that its owner may have. With `start_by`, it is [`Lost::NoWorker`] if
    /// none is to be had by then.
    pub(super) async fn run(
        self: &Arc<Self>,
        job: Job,
        installed: Arc<Installed>,
        lease: Lease,
        start_by: Option<Instant>,
    ) -> Result<Completion, Lost> {
        let place = self.place(job, &installed, lease);
        let waiting = match start_by {
            Some(start_by) => timeout_at(start_by.into(), place).await.unwrap_or(Err(Lost::NoWorker))?,
            None => place.await?,
        };
        waiting.result().await
    }

    /// Whether a function of `author` is under suspicion, or refused.
    pub(super) fn is_suspect(&self, function: &Function, author: &str) -> bool {
        self.ward.is_suspect(function, author)
    }

    /// Finds a place for a run, and sends it there.
    async fn place(self: &Arc<Self>, job: Job, installed: &Installed, lease: Lease) -> Result<Waiting, Lost> {
        let counted = Counted::below(self.most_runs(), &self.held).ok_or(Lost::NoSlot)?;
        let trial = Ward::admit(&self.ward, &installed.function, &job.owner.name).await?;
        let mut held = Some((trial, counted, lease));
        loop {
            let alone = held.as_ref().is_some_and(|(trial, ..)| trial.is_some());
            let (worker, seat) = self.seat(&job.owner, alone).await?;
            let number = seat.number;
            let hold = || {
                let (trial, lease) = match held.take() {
                    Some((trial, counted, lease)) => (trial, Lease::holding((seat, counted, lease))),
                    None => (None, Lease::none()),
                };
                Held { trial, lease }
            };
            match worker.begin(&job, installed, hold) {
                // It was gone before it had the run. The roster will hear of it, but not before this.
                Err(Lost::Worker) => self.roster().avoid(number),
                begun => return begun,
            }
        }
    }

    async fn seat(self: &Arc<Self>, owner: &Owner, alone: bool) -> Result<(Arc<Link>, Seat), Lost> {
        let (answer, answered) = oneshot::channel();
        let mut ticket = None;
        self.change(true, |roster| {
            ticket = Some(roster.ask(owner.clone(), alone, answer));
            Vec::new()
        });
        let _ticket = ticket.map(|number| Ticket { pool: self, number });
        answered.await.unwrap_or(Err(Lost::Closed))
    }

    /// Changes something in the roster, ends the workers that `change` takes off the list, and does what
    /// follows. There is to be a spare after it if there may be one.
    fn change(
        self: &Arc<Self>,
        spare: bool,
        change: impl FnOnce(&mut Roster<Arc<Link>, Answer>) -> Vec<Arc<Link>>,
    ) {
        let (taken, Orders { seated, ended, start }) = {
            let mut roster = self.roster();
            let taken = change(&mut roster);
            if self.closed.load(Ordering::SeqCst) {
                // Whoever came late is told so by this.
                let queue = roster.take_queue();
                drop(roster);
                drop(queue);
                taken.iter().for_each(|worker| worker.end());
                return;
            }
            let spare = spare && (self.failures.load(Ordering::SeqCst) as usize) < START_BACKOFF.len();
            (taken, roster.settle(spare, Instant::now()))
        };
        taken.iter().chain(&ended).for_each(|worker| worker.end());
        for (answer, number, worker) in seated {
            // One who has just given up drops the seat, which gives it back.
            let _ = answer.send(Ok((worker, Seat { pool: Arc::clone(self), number })));
        }
        (0..start).for_each(|_| self.start_one());
    }

    /// Starts a worker that the roster counts as on its way.
    fn start_one(self: &Arc<Self>) {
        let pool = Arc::clone(self);
        self.runtime.spawn(async move {
            match connection::start(&pool.starter, Role::Worker, pool.threads, pool.bounds.slots).await {
                Ok(started) => {
                    pool.failures.store(0, Ordering::SeqCst);
                    pool.take_in(started);
                }
                Err(error) => pool.could_not_start(&error).await,
            }
        });
    }

    async fn could_not_start(self: &Arc<Self>, error: &NotStarted) {
        let before = self.failures.fetch_add(1, Ordering::SeqCst) as usize;
        tracing::error!(%error, "a worker could not be started");
        let last = START_BACKOFF.len() - 1;
        tokio::time::sleep(START_BACKOFF[before.min(last)]).await;
        let mut in_vain = Vec::new();
        self.change(true, |roster| {
            roster.not_started();
            if before >= last && roster.workers() + roster.starting() == 0 {
                in_vain = roster.take_queue();
            }
            Vec::new()
        });
        for answer in in_vain {
            let _ = answer.send(Err(Lost::Internal(format!("no worker could be started: {error}"))));
        }
    }

    fn take_in(self: &Arc<Self>, started: Started) {
        let weak = Arc::downgrade(self);
        let number = Arc::new(AtomicU64::new(u64::MAX));
        self.change(true, |roster| {
            if self.closed.load(Ordering::SeqCst) {
                // Dropped, it ends.
                return Vec::new();
            }
            // Until it is on the list, which is locked, it cannot be taken off.
            let link = Link::attend(started, STOP_TIME, {
                let number = Arc::clone(&number);
                move |suspects| {
                    if let Some(pool) = weak.upgrade() {
                        pool.gone(number.load(Ordering::SeqCst), suspects);
                    }
                }
            });
            number.store(roster.started(link, Instant::now()), Ordering::SeqCst);
            Vec::new()
        });
    }

    fn gone(self: &Arc<Self>, number: u64, suspects: Suspects) {
        let gone = self.roster().gone(number);
        if let Some(gone) = gone {
            // One that was meant to end is off the list already.
            self.deaths.fetch_add(1, Ordering::Relaxed);
            self.ward.died(suspects, gone.alone);
        }
        self.change(false, |_| Vec::new());
        let pool = Arc::downgrade(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(REPLACE_DELAY).await;
            if let Some(pool) = pool.upgrade() {
                pool.change(true, |_| Vec::new());
            }
        });
    }

    /// Ends all workers, and with them all runs.
    pub(super) fn close(self: &Arc<Self>) {
        self.closed.store(true, Ordering::SeqCst);
        self.change(false, Roster::take_all);
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
        self.roster().waiting()
    }

    fn roster(&self) -> MutexGuard<'_, Roster<Arc<Link>, Answer>> {
        // What it guards is sound after every statement.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a worker; given back by dropping it.
struct Seat {
    pool: Arc<Pool>,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.change(true, |roster| roster.leave(self.number, Instant::now()).into_iter().collect());
    }
}

/// A place in the queue; given up by dropping it.
struct Ticket<'a> {
    pool: &'a Pool,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.pool.roster().withdraw(self.number);
    }
}

/// Counts itself for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// None if there are so many already.
    fn below(most: usize, count: &Arc<AtomicUsize>) -> Option<Counted> {
        let one_more = |counted| (counted < most).then_some(counted + 1);
        count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok()?;
        Some(Counted(Arc::clone(count)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
