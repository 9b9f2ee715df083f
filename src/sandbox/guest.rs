//! One guest: what its store holds, when it is stopped, and why it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wasmtime::{Engine, Store, Trap, UpdateDeadline, WasmBacktrace};

use super::meter::Meter;
use super::stopwatch::Stopwatch;
use super::{Door, Failure, Limits, Lost, Outcome};

/// What the host knows of a guest while it runs.
pub(super) struct Guest {
    pub(super) meter: Meter,
    /// Kept for as long as the guest lives; host calls go through it.
    #[expect(dead_code, reason = "pure guests have no host calls; the other modes' imports use it")]
    pub(super) door: Arc<dyn Door>,
}

/// How a run is timed and stopped; shared by the guest, the thread that runs it and whoever waits.
pub(super) struct Control {
    pub(super) stopwatch: Stopwatch,
    duration: Duration,
    canceled: AtomicBool,
    closing: Arc<AtomicBool>,
}

impl Control {
    /// `closing` stops this run among all others.
    pub(super) fn new(duration: Duration, closing: Arc<AtomicBool>) -> Control {
        Control { stopwatch: Stopwatch::new(), duration, canceled: AtomicBool::new(false), closing }
    }

    /// Stops the run at its next tick.
    pub(super) fn cancel(&self) {
        self.canceled.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_canceled(&self) -> bool {
        self.canceled.load(Ordering::SeqCst) || self.closing.load(Ordering::SeqCst)
    }

    /// Why the run must go no further, if so.
    pub(super) fn stop(&self) -> Option<Failure> {
        if self.is_canceled() {
            return Some(Failure::new(Outcome::Canceled, "the run was canceled"));
        }
        let limit = self.duration;
        (self.stopwatch.elapsed() >= limit).then(|| {
            let message =
                format!("the function did not finish within {} ms (maxDurationMs)", limit.as_millis());
            Failure::new(Outcome::Timeout, message)
        })
    }
}

/// A store for one guest. Its limits hold from here on, before anything of the guest exists.
pub(super) fn store(
    engine: &Engine,
    limits: &Limits,
    door: Arc<dyn Door>,
    control: &Arc<Control>,
) -> Result<Store<Guest>, Lost> {
    let guest = Guest { meter: Meter::new(limits.memory_bytes), door };
    let mut store = Store::try_new(engine, guest).map_err(|error| Lost::Internal(error.to_string()))?;
    store.limiter(|guest| &mut guest.meter);
    let control = Arc::clone(control);
    store.epoch_deadline_callback(move |_| {
        Ok(if control.stop().is_some() { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
    });
    store.set_epoch_deadline(1);
    Ok(store)
}

/// Why a call into a guest ended without a result.
pub(super) enum Ended {
    Failed(Failure),
    Lost(Lost),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Ended {
        Ended::Failed(failure)
    }
}

/// Reads the engine's error: was the guest stopped, did it trap, or is it our own trouble?
pub(super) fn ended(error: &wasmtime::Error, meter: &Meter, limits: &Limits, control: &Control) -> Ended {
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Ended::Lost(Lost::NoSlot);
    }
    let trap = error.downcast_ref::<Trap>();
    if let (Some(Trap::Interrupt), Some(failure)) = (trap, control.stop()) {
        return Ended::Failed(failure);
    }
    match trap {
        Some(trap) if meter.refused() => Ended::Failed(memory_exceeded(limits, &describe(*trap, error))),
        Some(trap) => Ended::Failed(Failure::new(Outcome::Trap, describe(*trap, error))),
        // Before the first instruction, a refusal is the engine's error and not a trap.
        None if meter.refused() => Ended::Failed(memory_exceeded(limits, "it could not start")),
        None => Ended::Lost(Lost::Internal(error.root_cause().to_string())),
    }
}

/// The failure of a guest that was refused memory.
pub(super) fn memory_exceeded(limits: &Limits, then: &str) -> Failure {
    let limit = limits.memory_bytes >> 20;
    let message = format!("the function asked for more than its {limit} MiB of memory (maxMemoryMb): {then}");
    Failure::new(Outcome::MemoryExceeded, message)
}

/// The trap and the guest's functions it went through, innermost first.
fn describe(trap: Trap, error: &wasmtime::Error) -> String {
    let trap = trap.to_string();
    let trap = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    let names: Vec<String> = frames
        .iter()
        .map(|frame| match frame.func_name() {
            Some(name) => shown(name),
            None => format!("function {}", frame.func_index()),
        })
        .collect();
    if names.is_empty() { trap.into() } else { format!("{trap}, in {}", names.join(" < ")) }
}

/// A function's name, readable and short.
fn shown(name: &str) -> String {
    const LONGEST: usize = 80;
    let name = format!("{:#}", rustc_demangle::demangle(name));
    name.chars().take(LONGEST).flat_map(char::escape_debug).collect()
}
