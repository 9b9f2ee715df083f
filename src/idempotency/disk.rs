//! The file of kept answers: a redb database, for its owner's eyes only.

use std::fs::OpenOptions;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bytes::Bytes;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, StorageBackend, TableDefinition};

use super::Answer;
use super::key::Id;
use super::ledger::{Entry, number_of, outcome_of};

/// Name → owner, payload, outcome, time, length. Apart from the answers, so that the books are read
/// without them.
const ENTRIES: TableDefinition<'_, &[u8; 32], Row> = TableDefinition::new("answer-entries");
/// Name → the answer's bytes.
const ANSWERS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("answer-bodies");

type Row = (&'static [u8; 16], &'static [u8; 32], u8, u64, u64);

/// Memory for pages of the file.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// An open file.
pub(super) struct Disk(Database);

/// What one commit changes, in order.
pub(super) enum Change {
    Drop(Id),
    Keep(Id, Entry, Bytes),
}

impl Disk {
    /// Opens the file, or makes it, and checks all of it. One process at a time can have it open.
    pub(super) fn open(path: &Path) -> Result<Disk, DiskError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| DiskError::of(redb::Error::Io(error)))?;
        #[cfg(unix)]
        {
            // One that was there may have been copied here with another mode.
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            file.set_permissions(private).map_err(|error| DiskError::of(redb::Error::Io(error)))?;
        }
        #[cfg(unix)]
        if let Some(directory) = path.parent() {
            // Makes the new name survive a power cut; only Unix lets a directory be opened for that.
            let flushed = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
            flushed.map_err(|error| DiskError::of(redb::Error::Io(error)))?;
        }
        Disk::open_on(redb::backends::FileBackend::new(file).map_err(DiskError::of)?)
    }

    /// The same on anything that holds bytes.
    pub(super) fn open_on(backend: impl StorageBackend) -> Result<Disk, DiskError> {
        // Some damage makes redb panic rather than answer an error.
        sound(move || {
            let mut database = Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(backend)
                .map_err(DiskError::of)?;
            // What a crash leaves behind was mended just now. Whatever else is wrong may have taken answers away.
            if !database.check_integrity().map_err(DiskError::of)? {
                return Err(DiskError::Damaged);
            }
            // So that reading finds the tables, and tables of other types are noticed now.
            let transaction = database.begin_write().map_err(DiskError::of)?;
            transaction.open_table(ENTRIES).map_err(DiskError::of)?;
            transaction.open_table(ANSWERS).map_err(DiskError::of)?;
            transaction.commit().map_err(DiskError::of)?;
            Ok(Disk(database))
        })
    }

    /// Everything that is kept, without the answers.
    pub(super) fn entries(&self) -> Result<Vec<(Id, Entry)>, DiskError> {
        sound(|| {
            let transaction = self.0.begin_read().map_err(DiskError::of)?;
            let table = transaction.open_table(ENTRIES).map_err(DiskError::of)?;
            let mut entries = Vec::new();
            for row in table.iter().map_err(DiskError::of)? {
                let (id, row) = row.map_err(DiskError::of)?;
                let (owner, payload, outcome, at, bytes) = row.value();
                let outcome = outcome_of(outcome).ok_or(DiskError::Damaged)?;
                entries.push((*id.value(), Entry { owner: *owner, payload: *payload, outcome, at, bytes }));
            }
            Ok(entries)
        })
    }

    /// The answer of this name.
    pub(super) fn read(&self, id: &Id) -> Result<Option<Answer>, DiskError> {
        sound(|| {
            let transaction = self.0.begin_read().map_err(DiskError::of)?;
            let entries = transaction.open_table(ENTRIES).map_err(DiskError::of)?;
            let answers = transaction.open_table(ANSWERS).map_err(DiskError::of)?;
            let row = entries.get(id).map_err(DiskError::of)?;
            let body = answers.get(id).map_err(DiskError::of)?;
            let (Some(row), Some(body)) = (row, body) else { return Ok(None) };
            let outcome = outcome_of(row.value().2).ok_or(DiskError::Damaged)?;
            Ok(Some(Answer { outcome, body: Bytes::copy_from_slice(body.value()) }))
        })
    }

    /// Makes all of these changes or none. They are on disk when this returns.
    pub(super) fn commit(&self, changes: &[Change]) -> Result<(), DiskError> {
        sound(|| {
            let transaction = self.0.begin_write().map_err(DiskError::of)?;
            {
                let mut entries = transaction.open_table(ENTRIES).map_err(DiskError::of)?;
                let mut answers = transaction.open_table(ANSWERS).map_err(DiskError::of)?;
                for change in changes {
                    match change {
                        Change::Drop(id) => {
                            entries.remove(id).map_err(DiskError::of)?;
                            answers.remove(id).map_err(DiskError::of)?;
                        }
                        Change::Keep(id, entry, body) => {
                            let Some(outcome) = number_of(entry.outcome) else { continue };
                            let row = (&entry.owner, &entry.payload, outcome, entry.at, entry.bytes);
                            entries.insert(id, row).map_err(DiskError::of)?;
                            answers.insert(id, &**body).map_err(DiskError::of)?;
                        }
                    }
                }
            }
            transaction.commit().map_err(DiskError::of)
        })
    }
}

/// What `work` on the database comes to; a panic in it is damage.
fn sound<T>(work: impl FnOnce() -> Result<T, DiskError>) -> Result<T, DiskError> {
    // Whoever gets this error opens the database anew.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(DiskError::Damaged))
}

/// Why answers cannot be kept or read, for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error(
        "the file of kept answers is damaged; remove it, and the answers of the last 24 hours are forgotten"
    )]
    Damaged,
    #[error("the file of kept answers is open in another process; only one service can use a data directory")]
    Locked,
    #[error("the file of kept answers: {0}")]
    Storage(#[source] Box<redb::Error>),
}

impl DiskError {
    fn of(error: impl Into<redb::Error>) -> DiskError {
        use redb::Error;
        match error.into() {
            Error::DatabaseAlreadyOpen => DiskError::Locked,
            Error::Corrupted(_) | Error::UpgradeRequired(_) | Error::TableTypeMismatch { .. } => {
                DiskError::Damaged
            }
            // How redb says that a file does not begin as its files do.
            Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => DiskError::Damaged,
            other => DiskError::Storage(Box::new(other)),
        }
    }
}
