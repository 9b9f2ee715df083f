//! What a command has of the world.

use std::time::Duration;

use bytes::Bytes;

use super::abi::{Errno, Trouble};
use super::stderr::Stderr;
use crate::sandbox::guest::Stop;
use crate::sandbox::{Failure, Outcome};

/// Random bytes that a run may take. Seeds take a few dozen; programs that ask for more than this
/// would have their host compute for them.
const RANDOM_BYTES: usize = 64 * 1024;

/// What the monotonic clock shows. Not zero, since some runtimes take that for a clock that is broken.
const MONOTONIC: Duration = Duration::from_secs(1);

/// Three open descriptors, two clocks that stand still, and some random bytes.
#[derive(Default)]
pub(in crate::sandbox) struct State {
    stdin: Bytes,
    pub(super) stdout: Vec<u8>,
    max_stdout: usize,
    pub(super) stderr: Stderr,
    closed: [bool; 3],
    random_left: usize,
    realtime: Duration,
}

/// The descriptors that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Descriptor {
    Stdin,
    Stdout,
    Stderr,
}

/// The clocks that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StillClock {
    Realtime,
    Monotonic,
}

impl StillClock {
    /// The clock of this number (`clockid`). Processor time is not told.
    pub(super) fn of(id: u32) -> Result<StillClock, Errno> {
        match id {
            0 => Ok(StillClock::Realtime),
            1 => Ok(StillClock::Monotonic),
            _ => Err(Errno::NotSup),
        }
    }
}

impl State {
    pub(super) fn new(stdin: &[u8], max_stdout: usize, realtime: Duration) -> State {
        State {
            stdin: Bytes::copy_from_slice(stdin),
            max_stdout,
            random_left: RANDOM_BYTES,
            realtime,
            ..State::default()
        }
    }

    /// The descriptor of this number, if it is open.
    pub(super) fn descriptor(&self, number: u32) -> Result<Descriptor, Errno> {
        let descriptor = match number {
            0 => Descriptor::Stdin,
            1 => Descriptor::Stdout,
            2 => Descriptor::Stderr,
            _ => return Err(Errno::BadF),
        };
        if self.closed[descriptor as usize] { Err(Errno::BadF) } else { Ok(descriptor) }
    }

    pub(super) fn close(&mut self, descriptor: Descriptor) {
        self.closed[descriptor as usize] = true;
    }

    /// What has not been read of stdin.
    pub(super) fn stdin_left(&self) -> usize {
        self.stdin.len()
    }

    /// Takes up to `most` bytes from stdin.
    pub(super) fn read_stdin(&mut self, most: usize) -> Bytes {
        self.stdin.split_to(most.min(self.stdin.len()))
    }

    /// Makes sure that so many bytes more may be written to stdout; else there will be no output, and
    /// the run need not go on.
    pub(super) fn check_stdout(&self, more: u64) -> Result<(), Trouble> {
        let most = self.max_stdout;
        let left = most.saturating_sub(self.stdout.len());
        if usize::try_from(more).is_ok_and(|more| more <= left) {
            return Ok(());
        }
        let message = format!("the output on stdout has more than {most} bytes, which are allowed");
        Err(Stop(Failure::new(Outcome::OutputTooLarge, message)).into())
    }

    /// Fills a buffer with random bytes, while there are any left.
    pub(super) fn random(&mut self, buffer: &mut [u8]) -> Result<(), Errno> {
        let left = self.random_left.checked_sub(buffer.len()).ok_or(Errno::Io)?;
        getrandom::fill(buffer).map_err(|_| Errno::Io)?;
        self.random_left = left;
        Ok(())
    }

    /// What a clock shows: the same at any time.
    pub(super) fn time(&self, clock: StillClock) -> Duration {
        match clock {
            StillClock::Realtime => self.realtime,
            StillClock::Monotonic => MONOTONIC,
        }
    }
}
