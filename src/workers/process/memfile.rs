//! Files that are memory: what is too long for a message goes beside it in one.
//!
//! Whoever takes one checks first that it is sealed, so that what was checked is what is read.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use rustix::io::Errno;

/// What nobody may do to a file any more once it was given away.
const SEALS: SealFlags = SealFlags::WRITE.union(SealFlags::GROW).union(SealFlags::SHRINK);

/// Makes a sealed file of `bytes`.
pub(super) fn holding(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let file = memfd_create("at-functions", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(&file, rest) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    fcntl_add_seals(&file, SEALS | SealFlags::SEAL)?;
    Ok(file)
}

/// Why a file is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadFile {
    #[error("the file cannot be read: {0}")]
    Io(#[from] Errno),
    #[error("the file is not sealed memory")]
    NotSealed,
    #[error("the file has {bytes} bytes; at most {most} are allowed")]
    TooLong { bytes: u64, most: u64 },
}

/// Reads a sealed file of at most `most` bytes.
///
/// It is read and not mapped: nothing that its maker does can then fault the reader, even if the
/// kernel's seals did not hold.
pub(super) fn read(file: impl AsFd, most: u64) -> Result<Vec<u8>, BadFile> {
    // Anything but a memory file has no seals to ask for.
    let seals = fcntl_get_seals(&file).map_err(|_| BadFile::NotSealed)?;
    if !seals.contains(SEALS) {
        return Err(BadFile::NotSealed);
    }
    let bytes = u64::try_from(fstat(&file)?.st_size).unwrap_or(u64::MAX);
    if bytes > most {
        return Err(BadFile::TooLong { bytes, most });
    }
    let mut read = vec![0; bytes as usize];
    let mut at = 0;
    while at < read.len() {
        match rustix::io::pread(&file, &mut read[at..], at as u64) {
            Ok(0) => return Err(BadFile::Io(Errno::IO)),
            Ok(more) => at += more,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsealed(seals: SealFlags) -> OwnedFd {
        let file = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::io::write(&file, b"abc").unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        file
    }

    #[test]
    fn what_was_put_in_comes_out() {
        for length in [0, 1, 100_000] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            assert_eq!(read(holding(&bytes).unwrap(), 100_000), Ok(bytes));
        }
    }

    #[test]
    fn a_sealed_file_cannot_be_changed() {
        let file = holding(b"abc").unwrap();
        assert_eq!(rustix::io::pwrite(&file, b"x", 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&file, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&file, 10), Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(&file, SealFlags::FUTURE_WRITE), Err(Errno::PERM));
    }

    #[test]
    fn a_file_that_could_still_change_is_not_taken() {
        let open = [
            SealFlags::empty(),
            SealFlags::WRITE,
            SealFlags::WRITE | SealFlags::GROW,
            SealFlags::WRITE | SealFlags::SHRINK,
            SealFlags::GROW | SealFlags::SHRINK,
            SealFlags::FUTURE_WRITE | SealFlags::GROW | SealFlags::SHRINK,
        ];
        for seals in open {
            assert_eq!(read(unsealed(seals), 100), Err(BadFile::NotSealed), "{seals:?}");
        }
        assert_eq!(read(unsealed(SEALS), 100), Ok(b"abc".to_vec()));
    }

    #[test]
    fn a_file_of_another_kind_is_not_taken() {
        let (pipe, _other) = std::io::pipe().unwrap();
        assert_eq!(read(pipe, 100), Err(BadFile::NotSealed));
        assert_eq!(read(tempfile::tempfile().unwrap(), 100), Err(BadFile::NotSealed));
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let file = holding(b"abcd").unwrap();
        assert_eq!(read(&file, 3), Err(BadFile::TooLong { bytes: 4, most: 3 }));
        assert_eq!(read(&file, 4), Ok(b"abcd".to_vec()));
    }
}
