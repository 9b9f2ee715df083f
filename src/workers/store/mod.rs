//! Compiled modules on disk, so that a restart need not compile them again.
//!
//! In: artifacts by name. Out: the same bytes, or nothing. Never: hand out a byte that it did not
//! authenticate, fail a call, or fill the disk.
//!
//! An artifact is machine code: whoever can change one runs code in the service. So each file carries a
//! MAC under a key of ours (`secret`) over its name, its time and its content (`envelope`). It is read
//! into memory whole, from a file that is what ours are (`directory`), and the verified buffer is what
//! is used: nobody can exchange a byte afterwards. The name of an artifact holds all that it depends on
//! (`name`), so what another engine or other rules made is never asked for. Whatever is wrong with a file, it is
//! deleted and the module compiled anew. What has not been used for longest goes first when there is
//! too much (`sweep`).
//!
//! All of this blocks on the disk: callers are on threads that may.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;

mod directory;
mod envelope;
mod flaw;
mod name;
mod secret;
mod sweep;

pub use flaw::Flaw;
pub use name::Name;

use directory::{Directory, Read};
use secret::Secret;

/// What the directory of artifacts is called in the data directory.
pub(super) const DIRECTORY: &str = "artifacts";
/// The file of the key in the data directory.
pub(super) const KEY_FILE: &str = "artifacts.key";

/// Artifacts are used for so long after they were made. Nothing ages in them; it bounds for how long
/// what was wrong with one, and whatever made it so, stays around.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How much of the file system stays free for what matters more.
const KEEP_FREE_BYTES: u64 = 256 << 20;
/// The longest artifact: what the sandbox makes at most, and a little for what stands beside the code.
const MAX_ARTIFACT_BYTES: u64 = 65 << 20;
/// The files are counted anew after so many were written: another process may write too.
const WRITES_BETWEEN_SWEEPS: u64 = 256;

/// Where artifacts are kept, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The service's data directory.
    pub data_dir: PathBuf,
    /// The most that all files together may take.
    pub max_bytes: u64,
    /// How long after it was made an artifact is used.
    pub max_age: Duration,
    /// How much of the file system is left free.
    pub keep_free_bytes: u64,
}

impl StoreConfig {
    /// Up to `max_bytes` of artifacts in this data directory.
    pub fn new(data_dir: impl Into<PathBuf>, max_bytes: u64) -> StoreConfig {
        StoreConfig {
            data_dir: data_dir.into(),
            max_bytes,
            max_age: MAX_AGE,
            keep_free_bytes: KEEP_FREE_BYTES,
        }
    }
}

/// Artifacts on disk. Any number of processes may share one directory.
pub struct Store {
    config: StoreConfig,
    clock: Clock,
    secret: Secret,
    directory: Directory,
    /// What the files take, as far as this process knows.
    bytes: AtomicU64,
    /// How many were written since the last sweep. Held while sweeping.
    since_sweep: Mutex<u64>,
    counts: Counts,
    told: AtomicBool,
}

#[derive(Default)]
struct Counts {
    loaded: AtomicU64,
    stored: AtomicU64,
    not_stored: AtomicU64,
    discarded: [AtomicU64; Flaw::ALL.len()],
}

/// What a [`Store`] has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Artifacts that were read and found sound.
    pub loaded: u64,
    /// Artifacts that were written.
    pub stored: u64,
    /// Artifacts that could not be written.
    pub not_stored: u64,
    /// Artifacts that were not used and were deleted, by the index of [`Flaw::ALL`].
    pub discarded: [u64; Flaw::ALL.len()],
    /// What the files take, as far as this process knows.
    pub bytes: u64,
}

impl StoreStats {
    /// How many artifacts had this flaw.
    pub fn discarded_for(&self, flaw: Flaw) -> u64 {
        self.discarded[flaw as usize]
    }
}

impl Store {
    /// Opens the directory, or makes it, with its key; deletes what was left half written, and what
    /// is too much.
    pub fn open(config: StoreConfig, clock: Clock) -> Result<Store, StoreError> {
        let failed = |path: PathBuf| move |source| StoreError { path, source };
        let key_file = config.data_dir.join(KEY_FILE);
        let secret = Secret::load_or_make(&key_file).map_err(failed(key_file))?;
        let path = config.data_dir.join(DIRECTORY);
        let directory = Directory::open_or_make(&path).map_err(failed(path))?;
        let store = Store {
            config,
            clock,
            secret,
            directory,
            bytes: AtomicU64::new(0),
            since_sweep: Mutex::default(),
            counts: Counts::default(),
            told: AtomicBool::new(false),
        };
        store.sweep(&mut store.since_sweep());
        Ok(store)
    }

    /// The artifact of this name, if there is a sound one.
    pub fn load(&self, name: &Name) -> Option<Bytes> {
        let sound = match self.directory.read(&name.file(), MAX_ARTIFACT_BYTES) {
            Read::Absent => return None,
            Read::Flawed(flaw) => Err(flaw),
            Read::Whole(file) => self.open_envelope(name, file),
        };
        match sound {
            Ok(artifact) => {
                self.counts.loaded.fetch_add(1, Ordering::Relaxed);
                Some(artifact)
            }
            Err(flaw) => {
                self.discard(name, flaw);
                None
            }
        }
    }

    fn open_envelope(&self, name: &Name, file: Vec<u8>) -> Result<Bytes, Flaw> {
        let opened = envelope::open(&self.secret, name, Bytes::from(file))?;
        let now = self.clock.unix_seconds();
        let oldest = now.saturating_sub(self.config.max_age.as_secs());
        // What comes from the future was made while some clock was wrong, and so is its age.
        if (oldest..=now.saturating_add(CLOCK_SKEW.as_secs())).contains(&opened.made_at) {
            Ok(opened.artifact)
        } else {
            Err(Flaw::Age)
        }
    }

    /// Deletes an artifact that cannot be used.
    pub fn discard(&self, name: &Name, flaw: Flaw) {
        self.counts.discarded[flaw as usize].fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            artifact = name.file(),
            reason = flaw.as_str(),
            "a compiled module on disk is not used and is deleted: {flaw}"
        );
        if let Err(error) = self.directory.remove(&name.file()) {
            self.tell_once("cannot delete a compiled module on disk", &error);
        }
    }

    /// Keeps an artifact, given in parts, if there is room for it. Where that fails the service goes on
    /// without.
    pub fn save(&self, name: &Name, artifact: &[&[u8]]) {
        self.save_with(name, artifact, &mut |file, bytes| io::Write::write_all(file, bytes));
    }

    fn save_with(&self, name: &Name, artifact: &[&[u8]], write: directory::Write<'_>) {
        let header = envelope::seal(&self.secret, name, self.clock.unix_seconds(), artifact);
        let parts: Vec<&[u8]> = [&header[..]].into_iter().chain(artifact.iter().copied()).collect();
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if bytes > self.config.max_bytes.min(MAX_ARTIFACT_BYTES) {
            return;
        }
        let written = self
            .directory
            .has_room(bytes.saturating_add(self.config.keep_free_bytes))
            .and_then(|()| self.directory.write(&name.file(), &parts, write));
        match written {
            Ok(()) => {
                self.counts.stored.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(sweep::on_disk(bytes), Ordering::Relaxed);
                let mut since_sweep = self.since_sweep();
                *since_sweep += 1;
                let too_much = self.bytes.load(Ordering::Relaxed) > self.config.max_bytes;
                if too_much || *since_sweep >= WRITES_BETWEEN_SWEEPS {
                    self.sweep(&mut since_sweep);
                }
            }
            Err(error) => {
                self.skip();
                self.tell_once("compiled modules cannot be kept on disk; going on without", &error);
            }
        }
    }

    /// Counts an artifact that was not kept.
    pub(super) fn skip(&self) {
        self.counts.not_stored.fetch_add(1, Ordering::Relaxed);
    }

    fn sweep(&self, since_sweep: &mut u64) {
        let limits = sweep::Limits {
            file_bytes: MAX_ARTIFACT_BYTES,
            bytes: self.config.max_bytes,
            oldest: self.clock.since_epoch().saturating_sub(self.config.max_age),
        };
        match sweep::sweep(&self.directory, &limits) {
            Ok(swept) => {
                self.counts.discarded[Flaw::Length as usize].fetch_add(swept.too_long, Ordering::Relaxed);
                self.bytes.store(swept.bytes, Ordering::Relaxed);
                *since_sweep = 0;
            }
            Err(error) => self.tell_once("the directory of compiled modules cannot be tidied", &error),
        }
    }

    fn since_sweep(&self) -> MutexGuard<'_, u64> {
        // A figure, which any sweep puts right.
        self.since_sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has done, for metrics. Never waits for the disk.
    pub fn stats(&self) -> StoreStats {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        StoreStats {
            loaded: of(&self.counts.loaded),
            stored: of(&self.counts.stored),
            not_stored: of(&self.counts.not_stored),
            discarded: std::array::from_fn(|flaw| of(&self.counts.discarded[flaw])),
            bytes: of(&self.bytes),
        }
    }

    /// A disk that fails fails again and again; the first time is enough for the log, metrics count the
    /// rest.
    fn tell_once(&self, what: &str, error: &io::Error) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, directory = %self.config.data_dir.join(DIRECTORY).display(), "{what}");
        }
    }
}

/// How far clocks of processes that share a directory may be apart.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

/// Why there is no store. The service does without.
#[derive(Debug, thiserror::Error)]
#[error("compiled modules cannot be kept at {}: {source}", path.display())]
pub struct StoreError {
    /// The directory, or the file of its key.
    path: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests;
