//! The directory of artifacts: files that are ours, and not what others put in their place.
//!
//! Everything goes through one descriptor of the directory, opened once, and no link is followed.

use std::fs::{File, Permissions};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use data_encoding::HEXLOWER;
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT,
};
use rustix::io::Errno;

use super::flaw::Flaw;

/// For the service's user alone.
pub(super) const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
const PRIVATE_DIRECTORY: Mode = Mode::RWXU;
/// The bits that say who may do what.
const PERMISSION_BITS: u32 = 0o7777;
/// How names of files that are being written end.
pub(super) const UNFINISHED: &str = ".new";

/// Writes bytes to a file.
pub(super) type Write<'a> = &'a mut dyn FnMut(&mut File, &[u8]) -> io::Result<()>;

/// A file that was asked for.
pub(super) enum Read {
    Absent,
    Flawed(Flaw),
    Whole(Vec<u8>),
}

/// The open directory.
pub(super) struct Directory(OwnedFd);

impl Directory {
    /// Opens it, or makes it, and sees to it that it is nobody else's.
    pub(super) fn open_or_make(path: &Path) -> io::Result<Directory> {
        match rustix::fs::mkdir(path, PRIVATE_DIRECTORY) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&directory)?;
        if !is_ours(&stat) {
            return Err(io::Error::other("the directory belongs to another user"));
        }
        if stat.st_mode & PERMISSION_BITS != PRIVATE_DIRECTORY.bits() {
            rustix::fs::fchmod(&directory, PRIVATE_DIRECTORY)?;
        }
        Ok(Directory(directory))
    }

    /// Reads a file whole, if it is one that could have been written here, and marks it as used.
    pub(super) fn read(&self, name: &str, max_bytes: u64) -> Read {
        // Opening a pipe would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Read::Absent,
            // Nothing is wrong with the file: this process has too many open.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR) => return Read::Absent,
            Err(Errno::LOOP | Errno::NXIO) => return Read::Flawed(Flaw::NotAFile),
            Err(_) => return Read::Flawed(Flaw::Unreadable),
        };
        match read_whole(&file, max_bytes) {
            Ok(Ok(bytes)) => {
                let unchanged = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
                let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
                // What cannot be marked is swept a little too early.
                let _ = rustix::fs::futimens(
                    &file,
                    &Timestamps { last_access: unchanged, last_modification: now },
                );
                Read::Whole(bytes)
            }
            Ok(Err(flaw)) => Read::Flawed(flaw),
            Err(_) => Read::Flawed(Flaw::Unreadable),
        }
    }

    /// Puts a file in its place, whole, or leaves what was there.
    pub(super) fn write(&self, name: &str, parts: &[&[u8]], write: Write<'_>) -> io::Result<()> {
        let random = getrandom::u64().map_err(|_| io::Error::other("the system has no random bytes"))?;
        let beside = format!("{name}.{}{UNFINISHED}", HEXLOWER.encode(&random.to_be_bytes()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.0, &beside, flags, PRIVATE_FILE)?);
        let written = fill(&mut file, parts, write)
            .and_then(|()| Ok(rustix::fs::renameat(&self.0, &beside, &self.0, name)?));
        if written.is_err() {
            // The first error is the one to tell.
            let _ = self.remove(&beside);
        }
        written
    }

    /// Fails where the file system has not so many bytes free.
    pub(super) fn has_room(&self, bytes: u64) -> io::Result<()> {
        let state = rustix::fs::fstatvfs(&self.0)?;
        match state.f_bavail.saturating_mul(state.f_frsize) >= bytes {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::StorageFull, "the disk is nearly full")),
        }
    }

    /// Deletes what has this name: a file, a link, an empty directory.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in it.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            // Ours are all readable as text.
            if let Ok(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// What is known of a name without opening it.
    pub(super) fn stat(&self, name: &str) -> io::Result<Stat> {
        Ok(rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Whether the process that writes this file is still at it.
    pub(super) fn is_being_written(&self, name: &str) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            // The writer's lock ends with the writer, however it ends.
            Ok(file) => rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
            Err(_) => false,
        }
    }
}

fn fill(file: &mut File, parts: &[&[u8]], write: Write<'_>) -> io::Result<()> {
    // For `is_being_written`. A sweep that comes before it takes the file away, and the rename fails.
    rustix::fs::flock(&*file, FlockOperation::NonBlockingLockExclusive)?;
    // The process's mask may have taken more away.
    file.set_permissions(Permissions::from_mode(PRIVATE_FILE.bits()))?;
    for part in parts {
        write(file, part)?;
    }
    file.sync_all()
}

fn read_whole(file: &File, max_bytes: u64) -> io::Result<Result<Vec<u8>, Flaw>> {
    if let Some(flaw) = flaw_of(file)? {
        return Ok(Err(flaw));
    }
    let bytes = file.metadata()?.len();
    if bytes == 0 || bytes > max_bytes {
        return Ok(Err(Flaw::Length));
    }
    let Ok(capacity) = usize::try_from(bytes) else { return Ok(Err(Flaw::Length)) };
    let mut content = Vec::with_capacity(capacity);
    // No more than there was, should it grow meanwhile; the MAC tells.
    file.take(bytes).read_to_end(&mut content)?;
    Ok(Ok(content))
}

/// What is wrong with an open file before its content is looked at. Asked of the file, not of its
/// name, so that it cannot be exchanged in between.
pub(super) fn flaw_of(file: &File) -> io::Result<Option<Flaw>> {
    let stat = rustix::fs::fstat(file)?;
    Ok(if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        Some(Flaw::NotAFile)
    } else if !is_ours(&stat) {
        Some(Flaw::Owner)
    } else if stat.st_mode & PERMISSION_BITS != PRIVATE_FILE.bits() {
        Some(Flaw::Permissions)
    } else if stat.st_nlink > 1 {
        Some(Flaw::Links)
    } else {
        None
    })
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}
