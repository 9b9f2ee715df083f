//! One bound for the memory of all large bodies: those that are being read, those that wait to be proved
//! or handed to a guest, and those that caches keep.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::EgressError;
use crate::identity::Did;

/// What every body may have, so that those who fill the memory for large ones refuse only large ones:
/// documents and the proofs of most records fit.
pub(super) const SMALL_BYTES: usize = 256 * 1024;
/// The unit in which the memory is given out.
pub(super) const UNIT_BYTES: usize = 64 * 1024;
/// Memory of all bodies, beyond each one's first [`SMALL_BYTES`]. A host can have ten megabytes of zeros
/// sent as ten kilobytes, and hold the rest back, on each of two thousand exchanges. Caches of code and
/// blobs keep up to 192 MiB of it.
const UNITS: usize = 704 * 1024 * 1024 / UNIT_BYTES;
/// As much as is asked for on behalf of one author: more than what those caches keep, since an author who
/// has all of that could bring in nothing to push it out.
const AUTHOR_UNITS: usize = UNITS / 2;

/// The memory.
pub(super) struct Memory {
    state: Mutex<State>,
    author_units: usize,
}

struct State {
    left: usize,
    /// Those who have some.
    taken: HashMap<Did, usize>,
}

/// A body's share, given back by dropping it.
pub(super) struct Share {
    memory: Arc<Memory>,
    author: Option<Did>,
    units: usize,
}

impl Memory {
    pub(super) fn new() -> Arc<Memory> {
        Memory::of_units(UNITS, AUTHOR_UNITS)
    }

    pub(super) fn of_units(units: usize, author_units: usize) -> Arc<Memory> {
        let state = State { left: units, taken: HashMap::new() };
        Arc::new(Memory { state: Mutex::new(state), author_units })
    }

    /// The share, empty yet, of a body that is asked for on behalf of `author`.
    pub(super) fn share(memory: &Arc<Memory>, author: Option<&Did>) -> Share {
        Share { memory: Arc::clone(memory), author: author.cloned(), units: 0 }
    }

    #[cfg(test)]
    pub(super) fn units_left(&self) -> usize {
        self.lock().left
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Makes it enough for `bytes` in all. What is not there is not waited for: whoever holds some of it
    /// and waits for more would hold up the others.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), EgressError> {
        let more = bytes.saturating_sub(SMALL_BYTES).div_ceil(UNIT_BYTES).saturating_sub(self.units);
        if more == 0 {
            return Ok(());
        }
        let mut state = self.memory.lock();
        let left = state.left.checked_sub(more).ok_or(EgressError::Busy)?;
        if let Some(author) = &self.author {
            let taken = state.taken.get(author).copied().unwrap_or_default() + more;
            if taken > self.memory.author_units {
                return Err(EgressError::Busy);
            }
            state.taken.insert(author.clone(), taken);
        }
        state.left = left;
        self.units += more;
        Ok(())
    }

    /// The body, which holds the share until the last part of it is gone.
    pub(super) fn keep(self, body: BytesMut) -> Bytes {
        match self.units {
            0 => body.freeze(),
            _ => Bytes::from_owner(Kept { body, _share: self }),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.units == 0 {
            return;
        }
        let mut state = self.memory.lock();
        state.left += self.units;
        if let Some(author) = &self.author
            && let Some(taken) = state.taken.get_mut(author)
        {
            *taken -= self.units;
            if *taken == 0 {
                state.taken.remove(author);
            }
        }
    }
}

struct Kept {
    body: BytesMut,
    _share: Share,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_author_has_all_of_it_and_what_is_dropped_comes_back() {
        let memory = Memory::of_units(4, 2);
        let [a, b] = ["did:web:a.com", "did:web:b.com"].map(|did| Did::parse(did).unwrap());
        let share = |author: Option<&Did>| Memory::share(&memory, author);
        let units = |units: usize| SMALL_BYTES + units * UNIT_BYTES;

        let (mut first, mut second) = (share(Some(&a)), share(Some(&a)));
        assert_eq!(first.grow_to(units(1)), Ok(()));
        assert_eq!(first.grow_to(units(1)), Ok(()), "has that already");
        assert_eq!(second.grow_to(units(2)), Err(EgressError::Busy));
        assert_eq!(second.grow_to(units(0) + 1), Ok(()));
        assert_eq!(first.grow_to(units(1) + 1), Err(EgressError::Busy));
        let (mut of_b, mut of_nobody) = (share(Some(&b)), share(None));
        assert_eq!(of_b.grow_to(units(2)), Ok(()));
        assert_eq!(of_nobody.grow_to(units(1)), Err(EgressError::Busy));
        assert_eq!(of_nobody.grow_to(SMALL_BYTES), Ok(()));
        drop(first);
        assert_eq!(of_nobody.grow_to(units(1)), Ok(()));
        drop((second, of_b, of_nobody));
        assert_eq!(memory.units_left(), 4);
        assert!(memory.lock().taken.is_empty());
    }
}
