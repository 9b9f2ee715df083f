//! Tidying up: what nobody finished writing, what nobody used for long, and what is too much.

use std::io;
use std::time::Duration;

use rustix::fs::FileType;

use super::directory::{Directory, UNFINISHED};
use super::name;

/// Files take whole blocks of the disk.
const BLOCK_BYTES: u64 = 4096;

/// An artifact's file, as a sweep sees it.
struct Kept {
    name: String,
    bytes: u64,
    /// Since 1970, to the nanosecond: reads mark files as used.
    used: Duration,
}

/// What a file of this length takes.
pub(super) fn on_disk(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

/// What may stay.
pub(super) struct Limits {
    /// Of one file.
    pub(super) file_bytes: u64,
    /// Of all files together.
    pub(super) bytes: u64,
    /// When a file was last used, since 1970.
    pub(super) oldest: Duration,
}

/// What a sweep left, and what it found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// What the files take now.
    pub(super) bytes: u64,
    /// Files that were longer than any artifact.
    pub(super) too_long: u64,
}

/// Deletes what is left half written, what is too long or too old, and of the rest, when it is too
/// much, what was used longest ago: a tenth more than must be, so that the next file does not call for
/// the next sweep.
pub(super) fn sweep(directory: &Directory, limits: &Limits) -> io::Result<Swept> {
    let mut swept = Swept::default();
    let mut all = Vec::new();
    for file in directory.names()? {
        if is_unfinished(&file) {
            if !directory.is_being_written(&file) {
                directory.remove(&file)?;
            }
        } else if name::is_artifact(&file) {
            match look_at(directory, file) {
                // Before the others are weighed, so that it does not push them out.
                Some(kept) if kept.bytes > on_disk(limits.file_bytes) => {
                    directory.remove(&kept.name)?;
                    swept.too_long += 1;
                }
                kept => all.extend(kept),
            }
        }
    }
    all.sort_by_key(|kept| kept.used);
    swept.bytes = all.iter().map(|kept| kept.bytes).sum();
    let target = if swept.bytes > limits.bytes { limits.bytes - limits.bytes / 10 } else { u64::MAX };
    for kept in all {
        if swept.bytes <= target && kept.used >= limits.oldest {
            break;
        }
        directory.remove(&kept.name)?;
        swept.bytes -= kept.bytes;
    }
    Ok(swept)
}

fn is_unfinished(file: &str) -> bool {
    let whole = file.strip_suffix(UNFINISHED).and_then(|rest| rest.rsplit_once('.'));
    whole.is_some_and(|(artifact, _)| name::is_artifact(artifact))
}

/// `None` for what is gone by now, and for what is no file: reading tells what that is.
fn look_at(directory: &Directory, name: String) -> Option<Kept> {
    let stat = directory.stat(&name).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    is_file.then(|| Kept {
        name,
        bytes: on_disk(u64::try_from(stat.st_size).unwrap_or(0)),
        used: Duration::new(
            u64::try_from(stat.st_mtime).unwrap_or(0),
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
    })
}
