//! Waiting: for descriptors, which are always ready, and for clocks, which stand still.

use std::time::Duration;

use wasmtime::Caller;

use super::abi::{Errno, Trouble, lowered, memory, read, write};
use super::state::{Descriptor, State, StillClock};
use crate::sandbox::guest::Guest;

/// The most things that are waited for at once.
const MAX_SUBSCRIPTIONS: u32 = 1_024;
/// Bytes of a `subscription`.
const SUBSCRIPTION: u32 = 48;
/// Bytes of an `event`.
const EVENT: u32 = 32;

/// Waits for the first of the guest's subscriptions. A sleep is real, although no clock shows it, and
/// lasts at most to the run's end.
pub(super) async fn poll_oneoff(mut caller: Caller<'_, Guest>, arguments: [u32; 4]) -> wasmtime::Result<i32> {
    let poll = match Poll::begin(&mut caller, arguments) {
        Ok(poll) => poll,
        Err(trouble) => return lowered(Err(trouble)),
    };
    if !poll.wait.is_zero() {
        let sleep = caller.data().host.sleep(poll.wait);
        sleep.await?;
    }
    lowered(poll.finish(&mut caller))
}

struct Poll {
    subscriptions: Vec<Subscription>,
    /// Until the first of them.
    wait: Duration,
    events: u32,
    count: u32,
}

#[derive(Clone, Copy)]
struct Subscription {
    userdata: [u8; 8],
    kind: u8,
    /// What there is to tell of it, ...
    result: Result<Ready, Errno>,
    /// ... and after which time.
    wait: Duration,
}

#[derive(Clone, Copy)]
struct Ready {
    /// Bytes that can be read or written.
    bytes: u64,
    /// Whether it is the end of what can be read.
    hangup: bool,
}

impl Poll {
    fn begin(caller: &mut Caller<'_, Guest>, arguments: [u32; 4]) -> Result<Poll, Trouble> {
        let [list, events, length, count] = arguments;
        if length == 0 || length > MAX_SUBSCRIPTIONS {
            return Err(Errno::Inval.into());
        }
        let exported = memory(caller)?;
        let (bytes, guest) = exported.data_and_store_mut(caller);
        // All places are looked at before the wait; this many do not overflow.
        read(bytes, events, length * EVENT)?;
        read(bytes, count, 4)?;
        let entries = read(bytes, list, length * SUBSCRIPTION)?.chunks_exact(SUBSCRIPTION as usize);
        let subscriptions =
            entries.map(|entry| Subscription::read(entry, &guest.wasi)).collect::<Result<Vec<_>, Errno>>()?;
        let wait = subscriptions.iter().map(|subscription| subscription.wait).min().unwrap_or_default();
        Ok(Poll { subscriptions, wait, events, count })
    }

    /// Writes an event for each subscription whose time has come.
    fn finish(&self, caller: &mut Caller<'_, Guest>) -> Result<(), Trouble> {
        let exported = memory(caller)?;
        let bytes = exported.data_mut(caller);
        let mut at = self.events;
        let mut count = 0u32;
        for subscription in self.subscriptions.iter().filter(|subscription| subscription.wait <= self.wait) {
            write(bytes, at, &subscription.event())?;
            at = at.checked_add(EVENT).ok_or(Errno::Fault)?;
            count += 1;
        }
        write(bytes, self.count, &count.to_le_bytes())?;
        Ok(())
    }
}

// Of `eventtype`.
const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;
/// Of `subclockflags`: the time is one that the clock shows.
const ABSTIME: u64 = 1;

impl Subscription {
    /// Reads a `subscription`: userdata at 0, type at 8, and from 16 on either a descriptor, or a clock
    /// with its time at 24 and flags at 40.
    fn read(entry: &[u8], state: &State) -> Result<Subscription, Errno> {
        let number = |at: usize, bytes: usize| {
            entry[at..at + bytes].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let mut userdata = [0; 8];
        userdata.copy_from_slice(&entry[..8]);
        let kind = entry[8];
        // Four bytes fit.
        let id = number(16, 4) as u32;
        let (result, wait) = match kind {
            CLOCK => match StillClock::of(id) {
                Ok(clock) => {
                    let time = Duration::from_nanos(number(24, 8));
                    let is_absolute = number(40, 2) & ABSTIME != 0;
                    let wait = if is_absolute { time.saturating_sub(state.time(clock)) } else { time };
                    (Ok(Ready { bytes: 0, hangup: false }), wait)
                }
                Err(errno) => (Err(errno), Duration::ZERO),
            },
            FD_READ | FD_WRITE => (ready(state, kind, id), Duration::ZERO),
            _ => return Err(Errno::Inval),
        };
        Ok(Subscription { userdata, kind, result, wait })
    }

    /// An `event`: userdata at 0, error at 8, type at 10, bytes at 16, flags at 24.
    fn event(&self) -> [u8; EVENT as usize] {
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&self.userdata);
        event[10] = self.kind;
        match self.result {
            Ok(Ready { bytes, hangup }) => {
                event[16..24].copy_from_slice(&bytes.to_le_bytes());
                event[24] = u8::from(hangup);
            }
            Err(errno) => event[8..10].copy_from_slice(&(errno as u16).to_le_bytes()),
        }
        event
    }
}

fn ready(state: &State, kind: u8, fd: u32) -> Result<Ready, Errno> {
    match (kind, state.descriptor(fd)?) {
        (FD_READ, Descriptor::Stdin) => {
            let left = state.stdin_left();
            Ok(Ready { bytes: left as u64, hangup: left == 0 })
        }
        // Any write is taken.
        (FD_WRITE, Descriptor::Stdout | Descriptor::Stderr) => Ok(Ready { bytes: 65_536, hangup: false }),
        _ => Err(Errno::BadF),
    }
}
