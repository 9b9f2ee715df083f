//! The highest revision of each repo that was ever fully verified, kept over restarts.
//!
//! An old signed commit still verifies, so without this memory a host could answer with an author's
//! past: code that was fixed, or a grant that was taken back.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::Duration;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::tid::Tid;
use crate::identity::Did;

/// DID → the value of a TID.
const FLOORS: TableDefinition<'_, &str, u64> = TableDefinition::new("rev-floor");
/// What is written to see whether anything can be: how often that was.
const MENDED: TableDefinition<'_, &str, u64> = TableDefinition::new("rev-floor-mended");

/// Memory for pages of the file, which hold about thirty authors each.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Raises that are remembered while the file cannot be written, at some 150 bytes each.
const MAX_WAITING: usize = 65_536;
/// How often what could not be written is tried again.
const MEND_EVERY: Duration = Duration::from_secs(5);

/// A file of the highest verified revision per repo. Nothing lowers one.
///
/// Reading is served from cached pages. Only a raise that changes something writes, and then waits
/// for the disk: raises that come while one is written share the next write. When the disk fails, what
/// is not written is kept in memory, and [`RevFloor::watch`] tries again.
pub struct RevFloor {
    open: Open,
    /// `None` while the file cannot be used.
    database: RwLock<Option<Database>>,
    /// Raises that are not on disk.
    waiting: Mutex<HashMap<Did, Tid>>,
    /// Held while writing.
    writing: Mutex<()>,
    /// What is the matter with the file, while something is.
    trouble: Mutex<Option<String>>,
}

type Open = Box<dyn Fn() -> Result<Database, RevFloorError> + Send + Sync>;

impl RevFloor {
    /// Opens the file, or makes it, and checks all of it. One process at a time can have it open.
    pub fn open(path: &Path) -> Result<RevFloor, RevFloorError> {
        let path = path.to_owned();
        RevFloor::over(Box::new(move || {
            let builder = builder();
            checked(|| builder.create(&path))
        }))
    }

    fn over(open: Open) -> Result<RevFloor, RevFloorError> {
        let database = open()?;
        // So that reading finds the table, and a table of other types is noticed now.
        let transaction = database.begin_write()?;
        transaction.open_table(FLOORS)?;
        transaction.commit()?;
        Ok(RevFloor {
            open,
            database: RwLock::new(Some(database)),
            waiting: Mutex::default(),
            writing: Mutex::default(),
            trouble: Mutex::default(),
        })
    }

    /// The highest revision of this repo that was raised to.
    pub fn highest(&self, did: &Did) -> Result<Option<Tid>, RevFloorError> {
        Ok(self.written(did)?.max(lock(&self.waiting).get(did).copied()))
    }

    /// Raises the floor of a repo to a revision that was fully verified; a lower one changes nothing.
    /// It is on disk when this returns. Blocks for a write if it changes something. After an error it counts
    /// all the same, for as long as this process lives.
    pub fn raise(&self, did: &Did, rev: Tid) -> Result<(), RevFloorError> {
        // What cannot be read now may be lower.
        if self.written(did).is_ok_and(|highest| highest >= Some(rev)) {
            return Ok(());
        }
        {
            let mut waiting = lock(&self.waiting);
            if waiting.len() >= MAX_WAITING && !waiting.contains_key(did) {
                return Err(RevFloorError::NotWritten);
            }
            let highest = waiting.entry(did.clone()).or_insert(rev);
            *highest = rev.max(*highest);
        }
        if self.trouble().is_some() {
            return Err(RevFloorError::NotWritten);
        }
        let _writing = lock(&self.writing);
        // Whoever wrote before may have taken this raise along.
        if self.written(did)? >= Some(rev) {
            return Ok(());
        }
        self.write_waiting(false)?;
        if self.written(did)? >= Some(rev) { Ok(()) } else { Err(RevFloorError::NotWritten) }
    }

    /// Why the file cannot be written or read, if it cannot.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Tries again what could not be written, every few seconds from now on, until nobody else holds the floors.
    pub async fn watch(floors: Weak<RevFloor>) {
        let mut looks = tokio::time::interval(MEND_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let Some(floors) = floors.upgrade() else { return };
            if floors.trouble().is_some() {
                // What panics is tried again, too.
                let _ = tokio::task::spawn_blocking(move || floors.mend()).await;
            }
        }
    }

    /// Tries again what could not be written. Blocks while the disk does.
    fn mend(&self) {
        let _writing = lock(&self.writing);
        if self.trouble().is_some() && self.reopen().is_ok() && self.write_waiting(true).is_ok() {
            *lock(&self.trouble) = None;
            tracing::info!("the file of revisions is written again");
        }
    }

    /// What of this repo is on disk.
    fn written(&self, did: &Did) -> Result<Option<Tid>, RevFloorError> {
        let database = self.database();
        let database = database.as_ref().ok_or(RevFloorError::Closed)?;
        let read = || -> Result<_, RevFloorError> {
            let table = database.begin_read()?.open_table(FLOORS)?;
            Ok(table.get(did.as_str())?.map(|value| Tid::from_value(value.value())))
        };
        read().inspect_err(|error| self.tell(error))
    }

    /// Something is the matter with the file, from now on.
    fn tell(&self, error: &RevFloorError) {
        if lock(&self.trouble).replace(error.to_string()).is_none() {
            tracing::error!(%error, "the highest revisions of repos cannot be kept on disk");
        }
    }

    /// Writes what waits, by whoever holds `writing`, and with `anyway` something else besides.
    fn write_waiting(&self, anyway: bool) -> Result<(), RevFloorError> {
        // They stay where they are until they are on disk, so that they count.
        let raises = lock(&self.waiting).clone();
        let written = {
            let database = self.database();
            database
                .as_ref()
                .ok_or(RevFloorError::Closed)
                .and_then(|database| write(database, &raises, anyway))
        };
        match &written {
            Ok(()) => {
                lock(&self.waiting).retain(|did, rev| raises.get(did).is_none_or(|written| written < rev))
            }
            Err(error) => {
                self.tell(error);
                // After an error redb does nothing more until it is opened anew. Where that works, it is read.
                let _ = self.reopen();
            }
        }
        written
    }

    /// Opens the file anew, by whoever holds `writing`.
    fn reopen(&self) -> Result<(), RevFloorError> {
        let old = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(old);
        let opened = (self.open)();
        match opened {
            Ok(database) => {
                *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
                Ok(())
            }
            Err(error) => {
                self.tell(&error);
                Err(error)
            }
        }
    }

    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(database: &Database, raises: &HashMap<Did, Tid>, anyway: bool) -> Result<(), RevFloorError> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(FLOORS)?;
        for (did, rev) in raises {
            let highest = table.get(did.as_str())?.map(|value| value.value());
            if highest.is_none_or(|highest| highest < rev.value()) {
                table.insert(did.as_str(), rev.value())?;
            }
        }
    }
    if anyway {
        let mut table = transaction.open_table(MENDED)?;
        let times = table.get("times")?.map_or(0, |times| times.value());
        table.insert("times", times + 1)?;
    }
    transaction.commit()?;
    Ok(())
}

/// What is behind a lock here is right after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// A database that was opened, if all of it is sound.
fn checked(open: impl FnOnce() -> Result<Database, redb::DatabaseError>) -> Result<Database, RevFloorError> {
    let opened = move || {
        let mut database = open()?;
        // What a crash leaves behind was mended just now. Whatever else is wrong may have taken floors away.
        if database.check_integrity()? { Ok(database) } else { Err(RevFloorError::Damaged) }
    };
    // Some damage makes redb panic rather than answer an error.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(opened)).map_err(|_| RevFloorError::Damaged)?
}

impl std::fmt::Debug for RevFloor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RevFloor")
    }
}

/// Why the floors cannot be read or written. Without them no record can be trusted to be current.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevFloorError {
    /// It could not be used lately, and has not been opened anew yet.
    #[error("the file of revisions cannot be used now")]
    Closed,
    /// The file is not one of ours, or is damaged.
    #[error("the file of revisions is damaged; restore it, or remove it to trust each author's next answer")]
    Damaged,
    /// Another process has the file open.
    #[error("the file of revisions is open in another process; only one service can use a data directory")]
    Locked,
    /// A write that this raise was a part of failed.
    #[error("the revision could not be written")]
    NotWritten,
    /// Another fault of the database or disk.
    #[error("the file of revisions: {0}")]
    Storage(#[source] Box<redb::Error>),
}

impl<E: Into<redb::Error>> From<E> for RevFloorError {
    fn from(error: E) -> RevFloorError {
        use redb::Error;
        match error.into() {
            Error::DatabaseAlreadyOpen => RevFloorError::Locked,
            Error::Corrupted(_) | Error::UpgradeRequired(_) | Error::TableTypeMismatch { .. } => {
                RevFloorError::Damaged
            }
            // How redb says that a file does not begin as its files do.
            Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => RevFloorError::Damaged,
            other => RevFloorError::Storage(Box::new(other)),
        }
    }
}

#[cfg(test)]
mod tests;
