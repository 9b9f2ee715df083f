//! The key that authenticates artifacts: made at first use, kept in one file of the data directory.
//!
//! Nothing but compiled modules depends on it, so a key that may have been seen or changed by others is
//! replaced rather than complained about: what it authenticated is compiled again. It is written
//! beside its place, flushed, and linked into it, so that it is there whole or not at all, and of two
//! processes that start at once one makes the key and both use it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use aws_lc_rs::{constant_time, hmac};
use data_encoding::HEXLOWER;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::directory::{self, PRIVATE_FILE};

const KEY_BYTES: usize = 32;
/// How often it is tried to put a key in the place of one that is no good.
const ATTEMPTS: usize = 3;

/// A key for MACs.
pub(super) struct Secret(hmac::Key);

impl Secret {
    pub(super) fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Secret {
        Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The key in this file, which is made where there is none that is good.
    pub(super) fn load_or_make(path: &Path) -> io::Result<Secret> {
        for _ in 0..ATTEMPTS {
            match read(path)? {
                Kept::Sound(bytes) => return Ok(Secret::from_bytes(&bytes)),
                Kept::Absent => {}
                Kept::Unsound => {
                    tracing::warn!(
                        key = %path.display(),
                        "the key of compiled modules is damaged or open to others: it is replaced, and they are compiled anew"
                    );
                    fs::remove_file(path)?;
                }
            }
            match make(path) {
                // Read anew rather than used from memory: what is in the file is what others use.
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        match read(path)? {
            Kept::Sound(bytes) => Ok(Secret::from_bytes(&bytes)),
            Kept::Absent | Kept::Unsound => {
                Err(io::Error::other("a new key does not stay as it was written"))
            }
        }
    }

    /// The MAC of these parts, one after the other.
    pub(super) fn mac<'a>(&self, parts: impl IntoIterator<Item = &'a &'a [u8]>) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        parts.into_iter().for_each(|part| context.update(part));
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }

    /// Whether this is the MAC of these parts. Takes as long for a wrong one as for the right one.
    pub(super) fn made(&self, mac: &[u8], parts: &[&[u8]]) -> bool {
        constant_time::verify_slices_are_equal(&self.mac(parts), mac).is_ok()
    }
}

enum Kept {
    Absent,
    Sound([u8; KEY_BYTES]),
    Unsound,
}

fn read(path: &Path) -> io::Result<Kept> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(Kept::Absent),
        Err(Errno::ACCESS | Errno::LOOP | Errno::NXIO) => return Ok(Kept::Unsound),
        Err(error) => return Err(error.into()),
    };
    if directory::flaw_of(&file)?.is_some() {
        return Ok(Kept::Unsound);
    }
    let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes.try_into().map_or(Kept::Unsound, Kept::Sound))
}

/// Puts a new key in its place, or fails with `AlreadyExists`.
fn make(path: &Path) -> io::Result<()> {
    let mut bytes = [0; KEY_BYTES + 8];
    getrandom::fill(&mut bytes).map_err(|_| io::Error::other("the system has no random bytes"))?;
    let (key, suffix) = bytes.split_at(KEY_BYTES);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", HEXLOWER.encode(suffix)));
    let beside = Path::new(&beside);
    let written = write_whole(beside, key).and_then(|()| fs::hard_link(beside, path));
    // Whether or not the link was made, the name beside it is of no more use.
    let removed = fs::remove_file(beside);
    written.and(removed)
}

fn write_whole(path: &Path, key: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, PRIVATE_FILE)?);
    // The process's mask may have taken more away.
    rustix::fs::fchmod(&file, PRIVATE_FILE)?;
    file.write_all(key)?;
    file.sync_all()
}
