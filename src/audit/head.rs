//! The committed head: how far the log reached at least, kept apart from it, so that a log that was cut is known
//! to be.
//!
//! It is in a store of its own (`audit.redb`), and copied to a file beside the log (`audit/head`) that can be read
//! while the service has the store open, and shipped elsewhere.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, TableDefinition};

use super::chain::Head;
use super::error::OpenError;

/// `head`: the number and hash of the last line that is on disk and signed. `first`: the number of the oldest line
/// that is kept.
const HEADS: TableDefinition<'_, &str, (u64, [u8; 32])> = TableDefinition::new("audit");
const HEAD: &str = "head";
const FIRST: &str = "first";
/// The store's file in the data directory.
pub(super) const STORE_NAME: &str = "audit.redb";
/// The copy's file in the log's directory.
const COPY_NAME: &str = "head";
/// It holds two rows.
const CACHE_BYTES: usize = 1024 * 1024;

/// What a log has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// It reaches this line at least.
    pub head: Head,
    /// It begins no later than with this one.
    pub first: u64,
}

/// What was committed of the log in a data directory: from the store, or from its copy while a service has the
/// store open. `None` where nothing was.
pub fn committed(data_dir: &Path) -> Result<Option<Committed>, OpenError> {
    let path = data_dir.join(STORE_NAME);
    if !path.exists() {
        return Ok(None);
    }
    match HeadStore::open(&path) {
        Ok((_, committed)) => Ok(committed),
        Err(OpenError::Locked(_)) => {
            let copy = super::log::directory(data_dir).join(COPY_NAME);
            let text = match fs::read_to_string(&copy) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(OpenError::file(copy)(error)),
            };
            read_copy(&text).map(Some).ok_or(OpenError::DamagedStore(copy))
        }
        Err(error) => Err(error),
    }
}

fn read_copy(text: &str) -> Option<Committed> {
    let (head, first) = text.trim_end().split_once(' ')?;
    Some(Committed { head: head.parse().ok()?, first: first.parse().ok()? })
}

/// The store, open.
pub(super) struct HeadStore {
    path: PathBuf,
    /// Closed by a fault of the disk, after which it does nothing more until it is opened again.
    database: Option<Database>,
}

impl HeadStore {
    /// Opens the store, or makes it, and says what it holds. One process at a time can have it open.
    pub(super) fn open(path: &Path) -> Result<(HeadStore, Option<Committed>), OpenError> {
        // Some damage makes redb panic rather than answer an error.
        let opened = std::panic::catch_unwind(|| open_database(path));
        let (database, committed) =
            opened.map_err(|_| OpenError::DamagedStore(path.into()))?.map_err(|error| told(path, error))?;
        Ok((HeadStore { path: path.into(), database: Some(database) }, committed))
    }

    /// Raises the head; with `first`, the beginning too. It is on disk when this returns.
    pub(super) fn commit(&mut self, head: Head, first: Option<u64>) -> Result<(), OpenError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => match HeadStore::open(&self.path)?.0.database {
                Some(database) => database,
                None => return Err(OpenError::DamagedStore(self.path.clone())),
            },
        };
        write(&database, head, first).map_err(|error| told(&self.path, error))?;
        self.database = Some(database);
        Ok(())
    }
}

fn open_database(path: &Path) -> Result<(Database, Option<Committed>), redb::Error> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
    let table = match database.begin_read()?.open_table(HEADS) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok((database, None)),
        Err(error) => return Err(error.into()),
    };
    let head = table.get(HEAD)?.map(|row| row.value());
    let first = table.get(FIRST)?.map_or(1, |row| row.value().0);
    let committed = head.map(|(seq, hash)| Committed { head: Head { seq, hash }, first });
    Ok((database, committed))
}

fn write(database: &Database, head: Head, first: Option<u64>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(HEADS)?;
        table.insert(HEAD, (head.seq, head.hash))?;
        if let Some(first) = first {
            table.insert(FIRST, (first, [0; 32]))?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn told(path: &Path, error: redb::Error) -> OpenError {
    use redb::Error;
    match error {
        Error::DatabaseAlreadyOpen => OpenError::Locked(path.into()),
        Error::Corrupted(_) | Error::UpgradeRequired(_) | Error::TableTypeMismatch { .. } => {
            OpenError::DamagedStore(path.into())
        }
        // How redb says that a file does not begin as its files do.
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            OpenError::DamagedStore(path.into())
        }
        other => OpenError::Store { path: path.into(), source: Box::new(other) },
    }
}

/// Writes the copy: whole, or not at all.
pub(super) fn copy(directory: &Path, committed: Committed) -> Result<(), OpenError> {
    let (place, beside) = (directory.join(COPY_NAME), directory.join("head.new"));
    let text = format!("{} {}\n", committed.head, committed.first);
    fs::File::create(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&beside, &place))
        .map_err(OpenError::file(place))
}
