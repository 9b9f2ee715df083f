//! How bytes get in and out: places in memory, and pairs of place and length packed into one integer.
//!
//! All `unsafe` of this function is here and in `host`. A place always comes from [`alloc`], whoever
//! asked for it: the host, for the input and for each reply, or [`give`] for what goes out.

/// A place of `length` bytes for the host to write to.
#[unsafe(no_mangle)]
pub extern "C" fn alloc(length: usize) -> *mut u8 {
    Box::leak(vec![0; length].into_boxed_slice()).as_mut_ptr()
}

/// Answers the input of `length` bytes at `place`.
///
/// # Safety
///
/// The host calls it with a place that it got from [`alloc`] for this length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn run(place: *mut u8, length: usize) -> u64 {
    // SAFETY: as above, and nothing else holds the place.
    let input = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(place, length)) };
    give(crate::answer(&input))
}

/// Leaves bytes to the host: place in the upper half, length in the lower.
fn give(bytes: Vec<u8>) -> u64 {
    let bytes = Box::leak(bytes.into_boxed_slice());
    (bytes.as_ptr() as u64) << 32 | bytes.len() as u64
}

/// Takes what the host wrote.
///
/// # Safety
///
/// `packed` is the result of a host call, and is taken once: the host got the place from [`alloc`].
pub unsafe fn take(packed: u64) -> Box<[u8]> {
    let place = (packed >> 32) as usize as *mut u8;
    let length = packed as u32 as usize;
    // SAFETY: the place is a boxed slice of this length, which `alloc` leaked.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(place, length)) }
}
