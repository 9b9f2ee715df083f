//! The queue in front of the sandbox: a place, memory, and enough time left.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::lines::Lines;
use super::{RETRY_AFTER, Workers, WorkersConfig};
use crate::sandbox::{Completion, Job, Lease, Lost, Sandbox};
use crate::telemetry;

/// The unit in which memory is reserved.
const MIB: u64 = 1024 * 1024;

/// How much the newest run counts in what runs took of late: one part of so many.
const OF_LATE: u32 = 8;

/// Nobody is let into the queue whose turn seems farther off. Where more comes than can be served, a longer
/// queue serves no more: it only makes all that are served late.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The longest that anybody is told to stay away.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Why a job has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRun {
    /// There is no room for it, or not in time. It has had no effect.
    #[error("the service is busy; retry in {} s", retry_after.as_secs())]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The sandbox failed.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// It may use more memory than all runs have together.
    #[error("the function needs more memory than the service has for all functions")]
    OverBudget,
    /// It began, and did not end in time: the machine has more to do than it can.
    #[error("the run did not end in time; retry in {} s", retry_after.as_secs())]
    Unfinished {
        /// When to try again.
        retry_after: Duration,
    },
}

const BUSY: NotRun = NotRun::Busy { retry_after: RETRY_AFTER };

impl Workers {
    /// Runs a job of `party` when there is room for it, and answers by `answer_by`. Parties are whoever
    /// calls: where runs have to wait, parties take turns, whatever each of them asks for.
    ///
    /// It starts only if its whole duration still fits before that, and reserves all the memory it may
    /// use beforehand, so that no other run can take it away. Dropping the future gives back the place
    /// in the queue, or stops the guest; then place and memory come back when the guest is gone.
    pub async fn run(&self, job: Job, party: &Arc<str>, answer_by: Instant) -> Result<Completion, NotRun> {
        let start_by = answer_by.checked_sub(job.limits.duration).ok_or(BUSY)?;
        let reservation = self.runs.reserve(job.limits.memory_bytes, party, start_by).await?;
        let run = self.runs.sandbox.run_by(job, Lease::holding(reservation), start_by);
        // Beside its own time, a run takes that of others on its thread. On a machine that is far too
        // busy the two do not fit.
        match timeout_at(answer_by.into(), run).await {
            Ok(Err(Lost::NoWorker)) => Err(BUSY),
            Ok(result) => Ok(result?),
            Err(_) => Err(NotRun::Unfinished { retry_after: RETRY_AFTER }),
        }
    }
}

/// Runs under way and waiting, and the memory they share.
pub(super) struct Runs {
    sandbox: Arc<dyn Sandbox>,
    max_places: usize,
    /// In mebibytes.
    memory_mib: u32,
    max_waiting: usize,
    room: Arc<Room>,
}

/// What there is, and who waits for it.
struct Room(Mutex<State>);

struct State {
    free_places: usize,
    free_mib: u32,
    waiting: Lines<Waiting>,
    /// What runs held their places for of late.
    took: Option<Duration>,
}

struct Waiting {
    mib: u32,
    granted: oneshot::Sender<Reservation>,
}

/// What a run holds; given back by dropping it.
struct Reservation {
    mib: u32,
    since: Instant,
    room: Arc<Room>,
}

/// A place in the queue; given up by dropping it.
struct InLine<'a> {
    room: &'a Arc<Room>,
    party: &'a Arc<str>,
    number: u64,
}

impl Runs {
    pub(super) fn new(config: &WorkersConfig, sandbox: Arc<dyn Sandbox>) -> Runs {
        let max_places = config.max_runs.min(sandbox.max_runs()).max(1);
        let memory_mib = u32::try_from(config.memory_budget_bytes / MIB).unwrap_or(u32::MAX);
        let state =
            State { free_places: max_places, free_mib: memory_mib, waiting: Lines::new(), took: None };
        Runs {
            sandbox,
            max_places,
            memory_mib,
            max_waiting: config.max_waiting_runs,
            room: Arc::new(Room(Mutex::new(state))),
        }
    }

    pub(super) fn under_way(&self) -> usize {
        self.max_places - self.room.state().free_places
    }

    pub(super) fn max_places(&self) -> usize {
        self.max_places
    }

    pub(super) fn waiting(&self) -> usize {
        self.room.state().waiting.len()
    }

    pub(super) fn memory_budget_bytes(&self) -> u64 {
        u64::from(self.memory_mib) * MIB
    }

    pub(super) fn memory_reserved_bytes(&self) -> u64 {
        u64::from(self.memory_mib - self.room.state().free_mib) * MIB
    }

    /// A place and memory, when it is the party's turn. A run that needs much holds up those behind it, or
    /// it would never start.
    async fn reserve(
        &self,
        memory_bytes: u64,
        party: &Arc<str>,
        start_by: Instant,
    ) -> Result<Reservation, NotRun> {
        let mib = u32::try_from(memory_bytes.div_ceil(MIB)).unwrap_or(u32::MAX);
        if mib > self.memory_mib {
            return Err(NotRun::OverBudget);
        }
        let now = Instant::now();
        if now > start_by {
            telemetry::count_run_refused("late");
            return Err(BUSY);
        }
        let (granted, grant) = oneshot::channel();
        let number = {
            let mut state = self.room.state();
            if state.waiting.len() == 0 && state.fits(mib) {
                let reservation = Reservation::of(&mut state, &self.room, mib, now);
                drop(state);
                telemetry::observe_run_wait(Duration::ZERO);
                return Ok(reservation);
            }
            self.may_wait(&state, party, start_by.duration_since(now))?;
            state.waiting.push(party, Waiting { mib, granted })
        };
        let place = InLine { room: &self.room, party, number };
        let reservation = timeout_at(start_by.into(), grant).await;
        drop(place);
        match reservation {
            Ok(Ok(reservation)) => {
                telemetry::observe_run_wait(reservation.since.duration_since(now));
                Ok(reservation)
            }
            // The sender is dropped only with the room.
            Ok(Err(_)) | Err(_) => {
                telemetry::count_run_refused("late");
                Err(BUSY)
            }
        }
    }

    /// Whether one more of this party may wait: while it has fewer in line than there are places left, so
    /// that there is always one for others; and while its turn comes soon and in time, if those before
    /// it take as long as runs did of late.
    fn may_wait(&self, state: &State, party: &str, left: Duration) -> Result<(), NotRun> {
        let free = self.max_waiting.saturating_sub(state.waiting.len());
        if state.waiting.len_of(party) >= free {
            telemetry::count_run_refused(if free == 0 { "full" } else { "share" });
            return Err(BUSY);
        }
        let under_way = u32::try_from(self.max_places - state.free_places).unwrap_or(u32::MAX).max(1);
        let ahead = u32::try_from(state.waiting.ahead_of(party)).unwrap_or(u32::MAX);
        let wait = state.took.unwrap_or_default().saturating_mul(ahead.saturating_add(1)) / under_way;
        let most = left.min(LONGEST_WAIT);
        if wait <= most {
            return Ok(());
        }
        telemetry::count_run_refused("deadline");
        let seconds = (wait - most).as_secs_f64().ceil();
        Err(NotRun::Busy {
            retry_after: Duration::from_secs(seconds as u64).clamp(RETRY_AFTER, MOST_RETRY_AFTER),
        })
    }
}

impl Room {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what there is, then lets in whom it suffices for, in turn.
    fn change(self: &Arc<Room>, change: impl FnOnce(&mut State)) {
        let mut let_in = Vec::new();
        {
            let mut state = self.state();
            change(&mut state);
            let now = Instant::now();
            while state.waiting.first().is_some_and(|first| state.fits(first.mib)) {
                let Some(Waiting { mib, granted }) = state.waiting.pop() else { break };
                let_in.push((granted, Reservation::of(&mut state, self, mib, now)));
            }
        }
        for (granted, reservation) in let_in {
            // Who went away in this moment gives it back by dropping it, which takes the lock again.
            let _ = granted.send(reservation);
        }
    }
}

impl State {
    fn fits(&self, mib: u32) -> bool {
        self.free_places > 0 && self.free_mib >= mib
    }
}

impl Reservation {
    fn of(state: &mut State, room: &Arc<Room>, mib: u32, since: Instant) -> Reservation {
        state.free_places -= 1;
        state.free_mib -= mib;
        Reservation { mib, since, room: Arc::clone(room) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let took = self.since.elapsed();
        self.room.change(|state| {
            state.free_places += 1;
            state.free_mib += self.mib;
            let before = state.took.unwrap_or(took);
            state.took = Some((before * (OF_LATE - 1) + took) / OF_LATE);
        });
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut gone = None;
        self.room.change(|state| gone = state.waiting.remove(self.party, self.number));
        // Dropped outside of the lock.
        drop(gone);
    }
}
