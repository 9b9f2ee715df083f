//! How much time a run has had.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Measures one run, from the edges of its turns.
///
/// In a turn, the processor time of the thread counts, so that neither the queue of ready runs nor
/// the kernel's own scheduling is held against a guest; between turns, the time in which it waits for
/// an answer of the host counts as it passes.
pub(super) struct Stopwatch(Mutex<Times>);

#[derive(Default)]
struct Times {
    /// Processor time of turns that have ended.
    cpu: Duration,
    /// Time spent waiting for the host.
    waited: Duration,
    /// The thread's processor time when the turn began, if one is under way.
    turn_began: Option<Duration>,
    /// When the guest began to wait for the host, if it does.
    waiting_since: Option<Instant>,
}

/// What a stopwatch shows at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Processor time so far.
    pub(super) cpu: Duration,
    /// Time so far, as `maxDurationMs` counts it.
    pub(super) elapsed: Duration,
}

impl Stopwatch {
    pub(super) fn new() -> Stopwatch {
        Stopwatch(Mutex::default())
    }

    pub(super) fn turn_begins(&self) {
        self.times().turn_began = Some(thread_cpu());
    }

    /// To be called on the thread on which the turn began.
    pub(super) fn turn_ends(&self) {
        let mut times = self.times();
        if let Some(began) = times.turn_began.take() {
            times.cpu += thread_cpu().saturating_sub(began);
        }
    }

    pub(super) fn waiting_begins(&self, now: Instant) {
        self.times().waiting_since = Some(now);
    }

    /// The run is ready again, or was never going to wait.
    pub(super) fn waiting_ends(&self, now: Instant) {
        let mut times = self.times();
        if let Some(since) = times.waiting_since.take() {
            times.waited += now.saturating_duration_since(since);
        }
    }

    /// What it shows now; in a turn, to be called on its thread. To read that thread's clock is a system
    /// call, so whoever wants more than one figure asks once.
    pub(super) fn reads(&self) -> Reading {
        let times = self.times();
        let cpu = times.cpu();
        Reading { cpu, elapsed: cpu + times.waited }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        // The figures are sound after every statement, so a panic in between spoils nothing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times {
    fn cpu(&self) -> Duration {
        let turn = self.turn_began.map_or(Duration::ZERO, |began| thread_cpu().saturating_sub(began));
        self.cpu + turn
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Processor time is never negative.
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_the_host_counts_as_time_but_not_as_processor_time() {
        let watch = Stopwatch::new();
        let start = Instant::now();
        watch.waiting_begins(start);
        watch.waiting_ends(start + Duration::from_millis(40));
        assert_eq!(watch.reads().elapsed, Duration::from_millis(40));
        assert_eq!(watch.reads().cpu, Duration::ZERO);
    }

    #[test]
    fn only_turns_count_as_processor_time() {
        let watch = Stopwatch::new();
        let burn = || (0..200_000u64).fold(0u64, |sum, n| std::hint::black_box(sum ^ n));
        burn();
        assert_eq!(watch.reads().elapsed, Duration::ZERO);
        watch.turn_begins();
        burn();
        let during = watch.reads().elapsed;
        assert!(during > Duration::ZERO);
        watch.turn_ends();
        let after = watch.reads().elapsed;
        assert!(after >= during);
        burn();
        assert_eq!(watch.reads().elapsed, after);
        assert_eq!(watch.reads().cpu, after);
    }
}
