//! One guest: what its store holds, when it is stopped, and why it ended.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wasmtime::{Engine, Store, Trap, UpdateDeadline, WasmBacktrace};

use super::component;
use super::host::Host;
use super::meter::{Meter, Parts};
use super::stopwatch::Stopwatch;
use super::{Failure, Limits, Lost, Outcome, wasi};

/// What the host knows of a guest while it runs.
pub(super) struct Guest {
    pub(super) meter: Meter,
    pub(super) host: Host,
    pub(super) limits: Limits,
    control: Arc<Control>,
    /// Whether a host function waits for the guest to make room for a reply (`pointer::calls`).
    pub(super) replying: bool,
    /// What a component has of the world; empty in other modes.
    pub(super) component: component::State,
    /// What a WASI command has of the world; empty in other modes.
    pub(super) wasi: wasi::State,
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

    /// What is left of the run's time; to be called in a turn of the guest, or when it has none.
    pub(super) fn time_left(&self) -> Duration {
        self.duration.saturating_sub(self.stopwatch.reads().elapsed)
    }

    /// Why the run must go no further, if so; to be called in a turn of the guest.
    pub(super) fn stop(&self) -> Option<Failure> {
        self.stop_after(self.stopwatch.reads().elapsed)
    }

    /// Why a run that has taken this long must go no further, if so.
    pub(super) fn stop_after(&self, elapsed: Duration) -> Option<Failure> {
        if self.is_canceled() {
            return Some(Failure::new(Outcome::Canceled, "the run was canceled"));
        }
        let limit = self.duration;
        (elapsed >= limit).then(|| {
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
    parts: Parts,
    host: Host,
    control: &Arc<Control>,
) -> Result<Store<Guest>, Lost> {
    let guest = Guest {
        meter: Meter::new(limits.memory_bytes, parts),
        host,
        limits: *limits,
        control: Arc::clone(control),
        replying: false,
        component: component::State::default(),
        wasi: wasi::State::default(),
    };
    let mut store = Store::try_new(engine, guest).map_err(|error| Lost::Internal(error.to_string()))?;
    store.limiter(|guest| &mut guest.meter);
    let control = Arc::clone(control);
    store.epoch_deadline_callback(move |_| {
        Ok(if control.stop().is_some() { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
    });
    store.set_epoch_deadline(1);
    Ok(store)
}

/// A failure that a host function ends the run with.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub(super) struct Stop(pub(super) Failure);

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

impl Guest {
    /// Reads the engine's error: was the guest stopped, did it trap, or is it our own trouble?
    pub(super) fn ended(&self, error: &wasmtime::Error) -> Ended {
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Ended::Lost(Lost::NoSlot);
        }
        let (refused, limits) = (self.meter.refused(), &self.limits);
        if let Some(Stop(failure)) = error.downcast_ref() {
            return Ended::Failed(match failure.outcome {
                Outcome::Trap if refused => memory_exceeded(limits, &failure.message),
                _ => failure.clone(),
            });
        }
        let trap = error.downcast_ref::<Trap>();
        if let (Some(Trap::Interrupt), Some(failure)) = (trap, self.control.stop()) {
            return Ended::Failed(failure);
        }
        match trap {
            Some(trap) if refused => {
                Ended::Failed(memory_exceeded(limits, &describe(&trap.to_string(), error)))
            }
            Some(trap) => Ended::Failed(Failure::new(Outcome::Trap, describe(&trap.to_string(), error))),
            // Errors of the engine's own: the guest could not start, or a value found no room in it.
            None if refused && !is_the_machines(error) => {
                Ended::Failed(memory_exceeded(limits, &describe(&error.root_cause().to_string(), error)))
            }
            None => Ended::Lost(Lost::Internal(error.root_cause().to_string())),
        }
    }
}

/// The failure of a guest that was refused memory.
pub(super) fn memory_exceeded(limits: &Limits, then: &str) -> Failure {
    let limit = limits.memory_bytes >> 20;
    let message = format!("the function asked for more than its {limit} MiB of memory (maxMemoryMb): {then}");
    Failure::new(Outcome::MemoryExceeded, message)
}

/// The trap and the guest's functions it went through, innermost first.
pub(super) fn describe(trap: &str, error: &wasmtime::Error) -> String {
    let trap = trap.strip_prefix("wasm trap: ").unwrap_or(trap);
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
    let mut text = Short(String::new());
    // The error says that there was more of it. A name may be made to unfold into megabytes.
    let _ = write!(text, "{:#}", rustc_demangle::demangle(name));
    text.0
}

/// Takes the first characters that are written to it, escaped where they would not print.
struct Short(String);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        const LONGEST: usize = 80;
        for char in text.chars() {
            if self.0.len() >= LONGEST {
                return Err(fmt::Error);
            }
            self.0.extend(char.escape_debug());
        }
        Ok(())
    }
}

/// Whether an error is the machine's, out of memory or the like, and not about a module.
pub(super) fn is_the_machines(error: &wasmtime::Error) -> bool {
    error.is::<std::io::Error>() || error.is::<rustix::io::Errno>() || error.is::<wasmtime::OutOfMemory>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `f::<T0, T1, ...>` of crate `a`, where each type is a pair of the one before it (RFC 2603).
    fn unfolding(levels: usize) -> String {
        const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut name = String::from("INvC1a1f");
        let mut last = name.len();
        name += "TuuE";
        for _ in 0..levels {
            let before = last - 1;
            last = name.len();
            let digits = [before / 62, before % 62].map(|digit| char::from(DIGITS[digit]));
            let back = format!("B{}{}_", digits[0], digits[1]);
            name += &format!("T{back}{back}E");
        }
        format!("_R{name}E")
    }

    #[test]
    fn names_are_demangled_and_cut() {
        assert_eq!(shown("_RNvC6_123foo3bar"), "123foo::bar");
        assert_eq!(shown("_ZN4core9panicking5panic17h0123456789abcdefE"), "core::panicking::panic");
        assert_eq!(shown(&"\u{7}".repeat(100)), "\\u{7}".repeat(16));
    }

    #[test]
    fn a_name_that_unfolds_into_megabytes_is_cut_while_it_is_written() {
        let name = unfolding(30);
        assert!(name.len() < 400);
        assert!(rustc_demangle::demangle(&name).to_string().len() > 500_000);
        assert_eq!(
            shown(&name),
            format!(
                "a::f::<{}",
                &"((), ()), (((), ()), ((), ())), ((((), ()), ((), ())), (((), ()), ((), ())))), ((((("[..73]
            )
        );
    }

    #[test]
    fn errors_of_the_machine_are_told_from_those_of_a_module() {
        let out_of_memory = wasmtime::Error::from(std::io::Error::from(std::io::ErrorKind::OutOfMemory));
        assert!(is_the_machines(&out_of_memory.context("cannot map the code")));
        assert!(!is_the_machines(&wasmtime::Error::msg("function too large")));
    }
}
