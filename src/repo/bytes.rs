//! Reading from a slice by lengths that a stranger chose.

/// Takes the first `len` bytes off `rest`; nothing if there are not so many.
pub(super) fn take<'a>(rest: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = left;
    Some(taken)
}
