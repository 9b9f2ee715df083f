//! How many ticks a guest has after it is told to stop, at a beat that is made by hand: no clock has a say in it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use wasmtime::{Engine, Module};

use super::alarm::Alarms;
use super::guest::{self, Control, Ended};
use super::host::Host;
use super::program::{Linkers, Program};
use super::{Context, Limits, Mode, NoDoor, Outcome, engine};

/// How long is waited for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any test: what ends these guests is not their time.
const LIMITS: Limits = Limits {
    memory_bytes: 1 << 20,
    duration: Duration::from_secs(3600),
    output_bytes: 1024,
    host_calls: 0,
    host_bytes: 0,
};

/// A guest that is polled on a thread of its own for as long as it wants, like one that is alone in the executor.
struct Running {
    engine: Engine,
    control: Arc<Control>,
    closing: Arc<AtomicBool>,
    /// Ticks that the guest had.
    ticks: Arc<AtomicUsize>,
    outcome: Receiver<Outcome>,
}

impl Running {
    fn start(run: &str) -> Running {
        let text = format!(
            "(module (memory (export \"memory\") 1) \
               (func (export \"alloc\") (param i32) (result i32) i32.const 1024) \
               (func (export \"run\") (param i32 i32) (result i64) {run} unreachable))"
        );
        let engine = engine::build(4).unwrap().engine;
        let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let program = Program::core(&Linkers::new(&engine).unwrap(), Mode::PureV1, &module).unwrap();
        let closing = Arc::new(AtomicBool::new(false));
        let control = Arc::new(Control::new(LIMITS.duration, Arc::clone(&closing)));
        let ticks = Arc::new(AtomicUsize::new(0));
        let (ended, outcome) = mpsc::channel();
        let guest = {
            let (engine, control, ticks) = (engine.clone(), Arc::clone(&control), Arc::clone(&ticks));
            move || {
                let context = Context {
                    caller: None,
                    function: String::new(),
                    function_cid: String::new(),
                    request_id: String::new(),
                    started: Duration::ZERO,
                };
                let alarms = Alarms::start().unwrap();
                let host =
                    Host::new(Arc::new(NoDoor), Arc::new(context), &LIMITS, Arc::clone(&control), alarms);
                let mut store = guest::store(&engine, &LIMITS, program.parts(), host, &control).unwrap();
                let mut run = pin!(program.run(&mut store, b"{}"));
                control.stopwatch.turn_begins();
                let outcome = loop {
                    match run.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
                        Poll::Pending => ticks.fetch_add(1, Ordering::SeqCst),
                        Poll::Ready(Ok(_)) => break Outcome::Ok,
                        Poll::Ready(Err(Ended::Failed(failure))) => break failure.outcome,
                        Poll::Ready(Err(Ended::Lost(lost))) => panic!("{lost}"),
                    };
                };
                control.stopwatch.turn_ends();
                let _ = ended.send(outcome);
            }
        };
        std::thread::spawn(guest);
        Running { engine, control, closing, ticks, outcome }
    }

    /// One tick, which the guest has had when this returns.
    fn tick(&self) {
        let before = self.ticks.load(Ordering::SeqCst);
        let began = Instant::now();
        // The first ones may come before its store is there.
        while self.ticks.load(Ordering::SeqCst) == before {
            self.engine.increment_epoch();
            assert!(began.elapsed() < PATIENCE, "it has no ticks");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_guest_that_is_told_to_stop_has_two_ticks_at_most() {
    let places = [
        "(loop $forever (br $forever))",
        "(loop $forever (drop (memory.grow (i32.const 0))) (br $forever))",
        "(loop $forever (memory.fill (i32.const 0) (i32.const 7) (i32.const 0xffff)) (br $forever))",
    ];
    type Stop = fn(&Running);
    let stops: [(&str, Stop); 2] = [
        ("its caller goes away", |running| running.control.cancel()),
        ("the sandbox closes", |running| running.closing.store(true, Ordering::SeqCst)),
    ];
    for place in places {
        for (name, stop) in stops {
            let running = Running::start(place);
            // It is under way, and what does not stop it lets it go on.
            for _ in 0..3 {
                running.tick();
            }
            assert!(running.outcome.try_recv().is_err(), "{place}");
            let before = running.ticks.load(Ordering::SeqCst);
            stop(&running);
            for _ in 0..2 {
                running.engine.increment_epoch();
            }
            // No further tick comes, however long this takes.
            let outcome = running.outcome.recv_timeout(PATIENCE);
            assert_eq!(outcome, Ok(Outcome::Canceled), "{name}: {place}");
            let after = running.ticks.load(Ordering::SeqCst) - before;
            assert!(after <= 1, "{name}: it went on after {after} ticks in {place}");
        }
    }
}
