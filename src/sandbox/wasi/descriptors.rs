//! Reading, writing and asking about the three descriptors that are open.

use super::abi::{Buffers, Errno, Trouble, read, write};
use super::state::{Descriptor, State};
use crate::sandbox::guest::Guest;

/// Fills buffers from stdin. Zero bytes are its end.
pub(super) fn fd_read(
    memory: &mut [u8],
    guest: &mut Guest,
    [fd, list, count, out]: [u32; 4],
) -> Result<(), Trouble> {
    if guest.wasi.descriptor(fd)? != Descriptor::Stdin {
        return Err(Errno::BadF.into());
    }
    let buffers = Buffers::read(memory, list, count)?;
    // Nothing is taken from stdin if its length cannot be told.
    read(memory, out, 4)?;
    let mut taken = 0;
    for (pointer, length) in buffers.iter() {
        let bytes = guest.wasi.read_stdin(length as usize);
        if bytes.is_empty() && length > 0 {
            break;
        }
        write(memory, pointer, &bytes)?;
        taken += bytes.len();
    }
    // Not more than the input, whose length fits.
    write(memory, out, &(taken as u32).to_le_bytes())?;
    Ok(())
}

/// Takes the bytes of buffers for the output or the log.
pub(super) fn fd_write(
    memory: &mut [u8],
    guest: &mut Guest,
    [fd, list, count, out]: [u32; 4],
) -> Result<(), Trouble> {
    let descriptor = guest.wasi.descriptor(fd)?;
    if descriptor == Descriptor::Stdin {
        return Err(Errno::BadF.into());
    }
    let buffers = Buffers::read(memory, list, count)?;
    read(memory, out, 4)?;
    let total = u32::try_from(buffers.total());
    let Guest { wasi, host, .. } = guest;
    if descriptor == Descriptor::Stdout {
        wasi.check_stdout(buffers.total())?;
        for (pointer, length) in buffers.iter() {
            wasi.stdout.extend_from_slice(read(memory, pointer, length)?);
        }
    } else {
        // Buffers may overlap, and then be more than can be told.
        total.map_err(|_| Errno::Inval)?;
        wasi.stderr.write(&gathered(memory, &buffers)?, host);
    }
    let total = total.map_err(|_| Errno::Inval)?;
    write(memory, out, &total.to_le_bytes())?;
    Ok(())
}

/// As much of the buffers as is looked at.
fn gathered(memory: &[u8], buffers: &Buffers) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    for (pointer, length) in buffers.iter() {
        let room = super::stderr::MAX_WRITE_BYTES - bytes.len();
        let buffer = read(memory, pointer, length)?;
        bytes.extend_from_slice(&buffer[..buffer.len().min(room)]);
    }
    Ok(bytes)
}

/// Closes a descriptor. A toolchain's own exit closes all of them.
pub(super) fn fd_close(state: &mut State, fd: u32) -> Result<(), Errno> {
    let descriptor = state.descriptor(fd)?;
    state.close(descriptor);
    Ok(())
}

// Of `rights`: what a descriptor may be used for.
const FD_READ: u64 = 1 << 1;
const FD_WRITE: u64 = 1 << 6;
const POLL_FD_READWRITE: u64 = 1 << 27;

/// Writes an `fdstat`: file type (unknown: no terminal, and no seeking), flags (none), rights, and
/// rights of what is opened through it (none).
pub(super) fn fd_fdstat_get(memory: &mut [u8], state: &State, fd: u32, out: u32) -> Result<(), Errno> {
    let rights = match state.descriptor(fd)? {
        Descriptor::Stdin => FD_READ | POLL_FD_READWRITE,
        Descriptor::Stdout | Descriptor::Stderr => FD_WRITE | POLL_FD_READWRITE,
    };
    let mut fdstat = [0; 24];
    fdstat[8..16].copy_from_slice(&rights.to_le_bytes());
    write(memory, out, &fdstat)
}

/// Writes a `filestat`: nothing is known of a descriptor but that it is there.
pub(super) fn fd_filestat_get(memory: &mut [u8], state: &State, fd: u32, out: u32) -> Result<(), Errno> {
    state.descriptor(fd)?;
    write(memory, out, &[0; 64])
}
