//! A core guest's memory, as the host sees it: bytes, and pointers that nobody vouches for.
//!
//! Pointers and lengths are unsigned; the ABIs only have signed integers to carry them. Whatever does
//! not lie wholly within the memory as it is now is `None`.

use super::guest::{Guest, memory_exceeded};
use super::{Failure, Outcome};

/// The bytes at a place.
pub(super) fn region(memory: &[u8], pointer: u32, length: u32) -> Option<&[u8]> {
    memory.get(span(pointer, length)?)
}

/// The bytes at a place, to be written.
pub(super) fn region_mut(memory: &mut [u8], pointer: u32, length: u32) -> Option<&mut [u8]> {
    memory.get_mut(span(pointer, length)?)
}

/// Writes bytes to a place.
pub(super) fn put(memory: &mut [u8], pointer: u32, bytes: &[u8]) -> Option<()> {
    let length = u32::try_from(bytes.len()).ok()?;
    region_mut(memory, pointer, length)?.copy_from_slice(bytes);
    Some(())
}

/// The little-endian number at a place.
pub(super) fn u32_at(memory: &[u8], pointer: u32) -> Option<u32> {
    region(memory, pointer, 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn span(pointer: u32, length: u32) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(pointer).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    Some(start..end)
}

/// The place that the guest's allocator, `allocator`, gave for `length` bytes of `what`.
pub(super) fn given<'a>(
    memory: &'a mut [u8],
    guest: &Guest,
    place: u32,
    length: u32,
    allocator: &str,
    what: &str,
) -> Result<&'a mut [u8], Failure> {
    let size = memory.len();
    // An allocator says so with a pointer to nowhere when there is no memory left.
    if let Some(target) = region_mut(memory, place, length).filter(|_| place != 0 || length == 0) {
        return Ok(target);
    }
    if guest.meter.refused() {
        return Err(memory_exceeded(&guest.limits, &format!("`{allocator}` found no room for {what}")));
    }
    let message = format!(
        "`{allocator}({length})` returned {place}, which is no place for {what} in {size} bytes of memory"
    );
    Err(Failure::new(Outcome::OutputInvalid, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_wholly_within_is_there() {
        let memory = [1, 2, 3, 4, 5, 6];
        let cases: [(u32, u32, Option<&[u8]>); 9] = [
            (0, 6, Some(&[1, 2, 3, 4, 5, 6])),
            (2, 3, Some(&[3, 4, 5])),
            (5, 1, Some(&[6])),
            (6, 0, Some(&[])),
            (6, 1, None),
            (7, 0, None),
            (0, 7, None),
            (u32::MAX, 1, None),
            (u32::MAX, u32::MAX, None),
        ];
        for (pointer, length, bytes) in cases {
            assert_eq!(region(&memory, pointer, length), bytes, "{length} at {pointer}");
            assert_eq!(region_mut(&mut memory.clone(), pointer, length).as_deref(), bytes);
        }
    }

    #[test]
    fn numbers_are_little_endian_and_whole() {
        let mut memory = [0; 6];
        assert_eq!(put(&mut memory, 1, &0x0403_0201u32.to_le_bytes()), Some(()));
        assert_eq!(memory, [0, 1, 2, 3, 4, 0]);
        assert_eq!(u32_at(&memory, 1), Some(0x0403_0201));
        assert_eq!(u32_at(&memory, 3), None);
        assert_eq!(put(&mut memory, 3, &[9; 4]), None);
        assert_eq!(memory, [0, 1, 2, 3, 4, 0]);
    }
}
