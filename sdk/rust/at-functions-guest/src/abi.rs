//! `pure-v1` and `host-v1`: places in memory, and pairs of place and length packed into one integer.
//!
//! A place always comes from [`alloc`], whoever asked for it: the host, for the input and for each reply, or [`give`] for
//! what goes out.

use std::fmt::Display;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::answer::as_bytes;

/// A place of `length` bytes for the host to write to.
pub fn alloc(length: usize) -> *mut u8 {
    Box::leak(vec![0; length].into_boxed_slice()).as_mut_ptr()
}

/// Answers the input of `length` bytes at `place`.
///
/// # Safety
///
/// The place is one that [`alloc`] gave for this length, and nothing else holds it.
pub unsafe fn run<I, O, E>(place: *mut u8, length: usize, run: fn(I) -> Result<O, E>) -> u64
where
    I: DeserializeOwned,
    O: Serialize,
    E: Display,
{
    #[cfg(feature = "host")]
    crate::panics::are_logged();
    // SAFETY: as above.
    let input = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(place, length)) };
    give(as_bytes(&input, run))
}

/// Leaves bytes to the host: place in the upper half, length in the lower.
fn give(bytes: Vec<u8>) -> u64 {
    let bytes = Box::leak(bytes.into_boxed_slice());
    ((bytes.as_ptr() as u64) << 32) | bytes.len() as u64
}

/// Takes what the host wrote.
///
/// # Safety
///
/// `packed` is the result of a host call, and is taken once: the host got the place from [`alloc`].
#[cfg(all(feature = "host", target_arch = "wasm32"))]
pub(crate) unsafe fn take(packed: u64) -> Box<[u8]> {
    let place = (packed >> 32) as usize as *mut u8;
    let length = packed as u32 as usize;
    // SAFETY: the place is a boxed slice of this length, which `alloc` leaked.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(place, length)) }
}
