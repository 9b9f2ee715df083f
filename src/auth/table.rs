//! A hash table that never stalls: no step of it takes longer for all that it holds.
//!
//! A growing or tombstone-clearing table would rehash a million entries under the lock that every
//! call takes. This one chains: a fixed array of chain heads, and slots that are used again, for both
//! of which the system provides pages when they are first touched.
//!
//! It is for keys that are uniformly random to whoever chooses them (see `replay`), so the first
//! bytes of a key are its hash, and chains stay short.

use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

/// A key: 16 bytes of a keyed hash.
pub(super) type Digest = [u8; 16];

/// Where an entry is, as long as it is not removed. An `Option` of it takes no more than it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(NonZeroU32);

impl Slot {
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A map from digests to `T`.
pub(super) struct Table<T> {
    heads: Box<[Option<NonZeroU32>]>,
    entries: Vec<Entry<T>>,
    /// The first of the slots that are vacant, chained through `next`.
    vacant: Option<Slot>,
    len: usize,
}

struct Entry<T> {
    digest: Digest,
    next: Option<Slot>,
    value: T,
}

impl<T: Copy> Table<T> {
    /// What an entry takes, besides its share of the heads.
    pub(super) const ENTRY_BYTES: usize = size_of::<Entry<T>>();

    /// An empty table, made for up to `capacity` entries (it takes more, but becomes slower).
    pub(super) fn new(capacity: usize) -> Table<T> {
        // `vec!` of `None` is zeroed memory, which costs nothing until it is touched.
        let heads = vec![None; capacity.next_power_of_two()].into_boxed_slice();
        // Room for all of them, so that it never moves; it, too, costs nothing until it is used.
        Table { heads, entries: Vec::with_capacity(capacity), vacant: None, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Slot> {
        let mut at = self.heads[self.bucket(digest)].map(Slot);
        while let Some(slot) = at {
            let entry = &self.entries[slot.index()];
            if entry.digest == *digest {
                return Some(slot);
            }
            at = entry.next;
        }
        None
    }

    /// Adds an entry whose digest is not in the table; `None` if 2³² - 1 slots are taken.
    pub(super) fn insert(&mut self, digest: Digest, value: T) -> Option<Slot> {
        let bucket = self.bucket(&digest);
        let entry = Entry { digest, next: self.heads[bucket].map(Slot), value };
        let slot = match self.vacant {
            Some(slot) => {
                self.vacant = self.entries[slot.index()].next;
                self.entries[slot.index()] = entry;
                slot
            }
            None => {
                let number = u32::try_from(self.entries.len() + 1).ok().and_then(NonZeroU32::new)?;
                self.entries.push(entry);
                Slot(number)
            }
        };
        self.heads[bucket] = Some(slot.0);
        self.len += 1;
        Some(slot)
    }

    /// Takes out the entry at `slot`, which must hold one.
    pub(super) fn remove(&mut self, slot: Slot) -> T {
        let Entry { digest, next, value } = self.entries[slot.index()];
        let bucket = self.bucket(&digest);
        if self.heads[bucket] == Some(slot.0) {
            self.heads[bucket] = next.map(|next| next.0);
        } else {
            let mut at = self.heads[bucket].map(Slot);
            while let Some(before) = at {
                at = self.entries[before.index()].next;
                if at == Some(slot) {
                    self.entries[before.index()].next = next;
                }
            }
        }
        self.entries[slot.index()].next = self.vacant;
        self.vacant = Some(slot);
        self.len -= 1;
        value
    }

    /// Forgets everything, and gives the slots' memory back.
    pub(super) fn clear(&mut self) {
        *self = Table::new(self.entries.capacity());
    }

    fn bucket(&self, digest: &Digest) -> usize {
        let [a, b, c, d, ..] = *digest;
        // The number of heads is a power of two.
        u32::from_le_bytes([a, b, c, d]) as usize & (self.heads.len() - 1)
    }
}

impl<T> Index<Slot> for Table<T> {
    type Output = T;

    fn index(&self, slot: Slot) -> &T {
        &self.entries[slot.index()].value
    }
}

impl<T> IndexMut<Slot> for Table<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        &mut self.entries[slot.index()].value
    }
}

impl<T: Copy> Clone for Entry<T> {
    fn clone(&self) -> Entry<T> {
        *self
    }
}

impl<T: Copy> Copy for Entry<T> {}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn digest(of: u8) -> Digest {
        // Few buckets and many keys a bucket, so that chains have a beginning, a middle and an end.
        let mut digest = [0; 16];
        digest[0] = of % 3;
        digest[15] = of;
        digest
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(steps in prop::collection::vec((any::<bool>(), 0..24u8, any::<u32>()), 0..200)) {
            let mut table = Table::new(4);
            let mut model = HashMap::new();
            for (add, key, value) in steps {
                match (add, table.find(&digest(key))) {
                    (true, None) => {
                        let slot = table.insert(digest(key), value).unwrap();
                        prop_assert_eq!(table[slot], value);
                        model.insert(key, value);
                    }
                    (true, Some(slot)) => {
                        table[slot] = value;
                        model.insert(key, value);
                    }
                    (false, Some(slot)) => prop_assert_eq!(Some(table.remove(slot)), model.remove(&key)),
                    (false, None) => prop_assert!(!model.contains_key(&key)),
                }
                prop_assert_eq!(table.len(), model.len());
                for key in 0..24 {
                    let found = table.find(&digest(key)).map(|slot| table[slot]);
                    prop_assert_eq!(found, model.get(&key).copied());
                }
            }
            // Slots are used again before new ones are made.
            prop_assert!(table.entries.len() <= 24);
            table.clear();
            prop_assert_eq!((table.len(), table.find(&digest(1))), (0, None));
        }
    }
}
