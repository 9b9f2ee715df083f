//! The beat at which guests are looked at: one epoch a millisecond, while any of them runs.
//!
//! A thread of its own, since a tick that waits for a turn of the guests' own threads never comes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::EngineWeak;

/// One tick: the longest that a guest runs before it is looked at.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a run after which the thread sleeps until there is one. Runs that follow each other
/// closely need not wake it each time; for those that come later it is cheaper to be woken than to tick on, and
/// there may be many workers that each have a run now and then.
const LINGER: u32 = 1;

/// The thread that advances an engine's epoch. Ends with its last handle, or with the engine.
pub(super) struct Ticker {
    state: Arc<State>,
    thread: Thread,
}

#[derive(Default)]
struct State {
    turns: AtomicUsize,
    closed: AtomicBool,
}

impl Ticker {
    /// Calls `beside` at each tick.
    pub(super) fn start(engine: EngineWeak, beside: impl Fn() + Send + 'static) -> io::Result<Ticker> {
        let state = Arc::new(State::default());
        let thread = thread::Builder::new().name("ticker".into()).spawn({
            let state = Arc::clone(&state);
            move || tick(&engine, &state, &beside)
        })?;
        Ok(Ticker { state, thread: thread.thread().clone() })
    }

    /// Ticks for as long as the guard lives.
    pub(super) fn turn(&self) -> Turn<'_> {
        if self.state.turns.fetch_add(1, Ordering::SeqCst) == 0 {
            // If the thread is awake this only keeps its next `park` from sleeping.
            self.thread.unpark();
        }
        Turn(&self.state)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// A turn under way.
pub(super) struct Turn<'a>(&'a State);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.turns.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(engine: &EngineWeak, state: &State, beside: &dyn Fn()) {
    let mut quiet = 0;
    while !state.closed.load(Ordering::SeqCst) {
        if state.turns.load(Ordering::SeqCst) > 0 {
            quiet = 0;
        } else if quiet < LINGER {
            quiet += 1;
        } else {
            thread::park();
            quiet = 0;
            continue;
        }
        thread::sleep(TICK);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
        beside();
    }
}
