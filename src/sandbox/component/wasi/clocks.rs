//! `wasi:clocks`: both clocks stand still at the run's start, so that they measure nothing.

use std::time::Duration;

use wasmtime::component::Resource;

use crate::sandbox::component::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use crate::sandbox::component::state::Pollable;
use crate::sandbox::guest::Guest;

/// Where the monotonic clock stands, in nanoseconds. Not at zero: programs subtract from it.
const MONOTONIC_NANOS: u64 = 1_000_000_000_000;
const RESOLUTION_NANOS: u32 = 1_000_000;

impl monotonic_clock::Host for Guest {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(MONOTONIC_NANOS)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(RESOLUTION_NANOS.into())
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<Pollable>> {
        let due = Duration::from_nanos(when.saturating_sub(MONOTONIC_NANOS));
        self.component.push(Pollable { due })
    }

    fn subscribe_duration(&mut self, when: u64) -> wasmtime::Result<Resource<Pollable>> {
        let due = self.component.slept.saturating_add(Duration::from_nanos(when));
        self.component.push(Pollable { due })
    }
}

impl wall_clock::Host for Guest {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let started = self.host.context().started;
        Ok(wall_clock::Datetime { seconds: started.as_secs(), nanoseconds: started.subsec_nanos() })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: RESOLUTION_NANOS })
    }
}
