//! The beat at which guests are looked at: one epoch a millisecond, while any of them runs.
//!
//! A thread of its own, since a tick that waits for a turn of the guests' own threads never comes. Most runs end
//! within a tick. Where they follow each other closely the beat goes on between them; where they do not, as in
//! each of many workers, it is stopped at their end before it woke the thread, which would cost more than the run.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::EngineWeak;

use super::bell::Bell;

/// One tick: the longest that a guest runs before it is looked at.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// The thread that advances an engine's epoch. Ends with its last handle, or with the engine.
pub(super) struct Ticker {
    beat: Arc<Beat>,
}

struct Beat {
    bell: Bell,
    state: Mutex<State>,
}

/// The bell is set and cleared under this lock alone, so that it is always as this says.
#[derive(Default)]
struct State {
    is_set: bool,
    closed: bool,
    /// Turns under way.
    turns: usize,
    /// Turns that began since the last tick.
    begun: usize,
    /// When there was none under way any more.
    quiet_since: Option<Instant>,
    /// The turns under way came soon after others.
    closely: bool,
}

impl Ticker {
    /// Calls `beside` at each tick.
    pub(super) fn start(engine: EngineWeak, beside: impl Fn() + Send + 'static) -> io::Result<Ticker> {
        let beat = Arc::new(Beat { bell: Bell::new()?, state: Mutex::default() });
        thread::Builder::new().name("ticker".into()).spawn({
            let beat = Arc::clone(&beat);
            move || tick(&engine, &beat, &beside)
        })?;
        Ok(Ticker { beat })
    }

    /// Ticks for as long as the guard lives.
    pub(super) fn turn(&self) -> Turn<'_> {
        let mut state = self.beat.state();
        if state.turns == 0 {
            state.closely = state.quiet_since.is_some_and(|since| since.elapsed() < TICK);
        }
        state.turns += 1;
        state.begun += 1;
        if !state.is_set {
            state.is_set = true;
            self.beat.bell.set(TICK);
        }
        Turn(&self.beat)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.beat.state().closed = true;
        self.beat.bell.set(Duration::from_nanos(1));
    }
}

impl Beat {
    fn state(&self) -> MutexGuard<'_, State> {
        // It is sound after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the beat, if nobody needs it.
    fn stops(&self, state: &mut State) {
        state.is_set = false;
        self.bell.clear();
    }
}

/// A turn under way.
pub(super) struct Turn<'a>(&'a Beat);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.turns -= 1;
        if state.turns == 0 {
            state.quiet_since = Some(Instant::now());
            if !state.closely && state.is_set {
                self.0.stops(&mut state);
            }
        }
    }
}

fn tick(engine: &EngineWeak, beat: &Beat, beside: &dyn Fn()) {
    while beat.bell.wait() {
        {
            let mut state = beat.state();
            if state.closed {
                return;
            }
            if state.turns == 0 && state.begun == 0 {
                beat.stops(&mut state);
                continue;
            }
            state.begun = 0;
        }
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
        beside();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use wasmtime::Engine;

    use super::*;

    /// How long is waited for what has to come.
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Counted {
        ticker: Ticker,
        ticks: Arc<AtomicUsize>,
        _engine: Engine,
    }

    impl Counted {
        fn start() -> Counted {
            let (engine, ticks) = (Engine::default(), Arc::new(AtomicUsize::new(0)));
            let ticker = Ticker::start(engine.weak(), {
                let ticks = Arc::clone(&ticks);
                move || {
                    ticks.fetch_add(1, Ordering::SeqCst);
                }
            });
            Counted { ticker: ticker.unwrap(), ticks, _engine: engine }
        }

        fn ticks(&self) -> usize {
            self.ticks.load(Ordering::SeqCst)
        }

        /// Waits for so many more.
        fn wait_for(&self, more: usize) {
            let (until, began) = (self.ticks() + more, Instant::now());
            while self.ticks() < until {
                assert!(began.elapsed() < PATIENCE, "no tick comes");
                thread::sleep(TICK / 4);
            }
        }

        /// Waits for a time in which there would be many and is none: the last may come late on a busy machine.
        fn becomes_quiet(&self) {
            let began = Instant::now();
            loop {
                let before = self.ticks();
                thread::sleep(30 * TICK);
                if self.ticks() == before {
                    return;
                }
                assert!(began.elapsed() < PATIENCE, "the beat does not stop");
            }
        }
    }

    #[test]
    fn ticks_come_while_a_turn_lasts_and_not_without_one() {
        let counted = Counted::start();
        counted.becomes_quiet();
        for _ in 0..3 {
            let turn = counted.ticker.turn();
            counted.wait_for(5);
            let second = counted.ticker.turn();
            drop(turn);
            counted.wait_for(5);
            drop(second);
            counted.becomes_quiet();
        }
    }

    #[test]
    fn short_turns_far_apart_have_no_ticks_and_those_that_follow_closely_do() {
        let counted = Counted::start();
        for _ in 0..20 {
            drop(counted.ticker.turn());
            thread::sleep(3 * TICK);
        }
        // Such a turn is cut only if this thread loses its processor in it.
        assert!(counted.ticks() < 10, "{}", counted.ticks());
        let (began, before) = (Instant::now(), counted.ticks());
        while counted.ticks() < before + 5 {
            assert!(began.elapsed() < PATIENCE, "no tick comes");
            drop(counted.ticker.turn());
        }
        counted.becomes_quiet();
    }

    #[test]
    fn no_turn_is_forgotten_however_others_begin_and_end_beside_it() {
        let counted = Counted::start();
        for round in 0..50u64 {
            let last = thread::scope(|scope| {
                for number in 0..3u64 {
                    let ticker = &counted.ticker;
                    scope.spawn(move || {
                        for turn in 0..100u64 {
                            drop(ticker.turn());
                            if (round + number + turn) % 37 == 0 {
                                thread::sleep(TICK);
                            }
                        }
                    });
                }
                thread::sleep(TICK * (round % 5) as u32 / 4);
                counted.ticker.turn()
            });
            counted.wait_for(2);
            drop(last);
        }
        counted.becomes_quiet();
    }
}
