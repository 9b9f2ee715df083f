//! What the host keeps for one component while it runs, and the things its handles stand for.

use std::any::Any;
use std::time::Duration;

use wasmtime::component::{Resource, ResourceTable};

use super::lines::Lines;

/// Handles that a guest may hold at once. Programs hold three streams and a few pollables.
const MAX_HANDLES: usize = 128;
/// Random bytes that a run may have: seeds and keys, not data.
const MAX_RANDOM_BYTES: u64 = 64 * 1024;

/// What the host keeps for one component.
pub(in crate::sandbox) struct State {
    table: ResourceTable,
    /// How long the guest has slept, all together. Deadlines of pollables are on this scale, since the
    /// clocks stand still.
    pub(super) slept: Duration,
    pub(super) stdout: Lines,
    pub(super) stderr: Lines,
    random_bytes_left: u64,
    insecure: u64,
}

impl Default for State {
    fn default() -> State {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        State {
            table,
            slept: Duration::ZERO,
            stdout: Lines::default(),
            stderr: Lines::default(),
            random_bytes_left: MAX_RANDOM_BYTES,
            insecure: 0,
        }
    }
}

impl State {
    /// A new handle.
    pub(super) fn push<T: Any + Send>(&mut self, thing: T) -> wasmtime::Result<Resource<T>> {
        Ok(self.table.push(thing)?)
    }

    /// What a handle stands for. The engine has checked that the guest was given it; a type without
    /// values makes this always an error.
    pub(super) fn get<T: Any + Send>(&self, handle: &Resource<T>) -> wasmtime::Result<&T> {
        Ok(self.table.get(handle)?)
    }

    /// Takes a handle back.
    pub(super) fn drop<T: Any + Send>(&mut self, handle: Resource<T>) -> wasmtime::Result<T> {
        Ok(self.table.delete(handle)?)
    }

    /// Takes so many bytes from what random there is.
    pub(super) fn take_random(&mut self, bytes: u64) -> wasmtime::Result<usize> {
        let left = self.random_bytes_left.checked_sub(bytes);
        self.random_bytes_left = left.ok_or_else(|| {
            wasmtime::Error::msg(format!("a run may have {MAX_RANDOM_BYTES} random bytes, and no more"))
        })?;
        // At most the limit above.
        Ok(bytes as usize)
    }

    /// The next of a fixed row of numbers that look random (SplitMix64).
    pub(super) fn next_insecure(&mut self) -> u64 {
        self.insecure = self.insecure.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.insecure;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Something to wait for: that the guest has slept so long, all together.
#[derive(Clone, Copy, Debug)]
#[expect(unreachable_pub, reason = "the bindings export it again")]
pub struct Pollable {
    pub(super) due: Duration,
}

impl Pollable {
    /// Ready at any time.
    pub(super) const READY: Pollable = Pollable { due: Duration::ZERO };
}

/// An input stream at its end.
#[expect(unreachable_pub, reason = "the bindings export it again")]
pub struct Nothing;

/// An output stream, whose lines are the log's.
#[derive(Clone, Copy, Debug)]
#[expect(unreachable_pub, reason = "the bindings export it again")]
pub enum Stream {
    Stderr,
    Stdout,
}

/// A network that leads nowhere.
#[expect(unreachable_pub, reason = "the bindings export it again")]
pub struct Network;
