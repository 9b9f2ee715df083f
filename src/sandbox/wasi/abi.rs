//! Numbers of preview 1, and how its functions end.
//!
//! Sizes, offsets and values are those of `typenames.witx` of WASI `snapshot_preview1`.

use wasmtime::{Caller, Memory};

use crate::sandbox::guest::{Guest, Stop};
use crate::sandbox::{Failure, Outcome, linear};

/// Why a function did not do what it was asked for, as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Errno {
    /// No such descriptor.
    BadF = 8,
    /// An address that is not within the memory.
    Fault = 21,
    /// An argument that makes no sense.
    Inval = 28,
    /// Input or output failed.
    Io = 29,
    /// There is no such function here.
    NoSys = 52,
    /// Not a directory.
    NotDir = 54,
    /// Not a socket.
    NotSock = 57,
    /// Not for this descriptor or clock.
    NotSup = 58,
    /// Not seekable.
    SPipe = 70,
    /// The descriptor does not have the right.
    NotCapable = 76,
}

/// How a function ends that did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The guest is told.
    Errno(Errno),
    /// The run ends.
    End(Stop),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Trouble {
        Trouble::Errno(errno)
    }
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Trouble {
        Trouble::End(stop)
    }
}

/// The result of a function, as WebAssembly gets it.
pub(super) fn lowered(result: Result<(), Trouble>) -> wasmtime::Result<i32> {
    match result {
        Ok(()) => Ok(0),
        Err(Trouble::Errno(errno)) => Ok(i32::from(errno as u16)),
        Err(Trouble::End(stop)) => Err(stop.into()),
    }
}

/// The memory that a command exports.
pub(super) fn memory(caller: &mut Caller<'_, Guest>) -> Result<Memory, Stop> {
    let export = caller.get_export("memory").and_then(|export| export.into_memory());
    // Admission checked that it is there.
    export.ok_or_else(|| Stop(Failure::new(Outcome::Trap, "the memory is gone")))
}

pub(super) fn read(memory: &[u8], pointer: u32, length: u32) -> Result<&[u8], Errno> {
    linear::region(memory, pointer, length).ok_or(Errno::Fault)
}

pub(super) fn read_u32(memory: &[u8], pointer: u32) -> Result<u32, Errno> {
    linear::u32_at(memory, pointer).ok_or(Errno::Fault)
}

pub(super) fn write(memory: &mut [u8], pointer: u32, bytes: &[u8]) -> Result<(), Errno> {
    linear::put(memory, pointer, bytes).ok_or(Errno::Fault)
}

/// The most buffers of one read or write.
const MAX_BUFFERS: u32 = 1_024;

/// A list of buffers (`iovec_array`), each of which lies within the memory.
pub(super) struct Buffers {
    buffers: Vec<(u32, u32)>,
}

impl Buffers {
    pub(super) fn read(memory: &[u8], list: u32, count: u32) -> Result<Buffers, Errno> {
        if count > MAX_BUFFERS {
            return Err(Errno::Inval);
        }
        // A buffer is a pointer and a length; this many do not overflow.
        let entries = read(memory, list, count * 8)?;
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let buffers: Vec<(u32, u32)> =
            entries.chunks_exact(8).map(|entry| (number(&entry[..4]), number(&entry[4..]))).collect();
        for (pointer, length) in &buffers {
            read(memory, *pointer, *length)?;
        }
        Ok(Buffers { buffers })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.buffers.iter().copied()
    }

    /// Their length together. They may overlap, so it may be more than the memory holds.
    pub(super) fn total(&self) -> u64 {
        self.iter().map(|(_, length)| u64::from(length)).sum()
    }
}
