//! The highest revision of each repo that was ever fully verified, kept over restarts.
//!
//! An old signed commit still verifies, so without this memory a host could answer with an author's
//! past: code that was fixed, or a grant that was taken back.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::tid::Tid;
use crate::identity::Did;

/// DID → the value of a TID.
const FLOORS: TableDefinition<'_, &str, u64> = TableDefinition::new("rev-floor");

/// Memory for pages of the file, which hold about thirty authors each.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A file of the highest verified revision per repo. Nothing lowers one.
///
/// Reading is served from cached pages. Only a raise that changes something writes, and then waits
/// for the disk: raises that come while one is written share the next write.
pub struct RevFloor {
    database: Database,
    /// Raises that no write has taken up yet.
    waiting: Mutex<HashMap<Did, Tid>>,
    /// Held while writing.
    writing: Mutex<()>,
}

impl RevFloor {
    /// Opens the file, or makes it, and checks all of it. One process at a time can have it open.
    pub fn open(path: &Path) -> Result<RevFloor, RevFloorError> {
        // Some damage makes redb panic rather than answer an error.
        let database =
            std::panic::catch_unwind(|| open_checked(path)).map_err(|_| RevFloorError::Damaged)??;
        Ok(RevFloor { database, waiting: Mutex::default(), writing: Mutex::default() })
    }

    /// The highest revision of this repo that was raised to.
    pub fn highest(&self, did: &Did) -> Result<Option<Tid>, RevFloorError> {
        let table = self.database.begin_read()?.open_table(FLOORS)?;
        Ok(table.get(did.as_str())?.map(|value| Tid::from_value(value.value())))
    }

    /// Raises the floor of a repo to a revision that was fully verified; a lower one changes nothing.
    /// It is on disk when this returns. Blocks for a write if it changes something.
    pub fn raise(&self, did: &Did, rev: Tid) -> Result<(), RevFloorError> {
        if self.highest(did)? >= Some(rev) {
            return Ok(());
        }
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let highest = waiting.entry(did.clone()).or_insert(rev);
            *highest = rev.max(*highest);
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let raises = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        // Whoever wrote before may have taken this raise along.
        if !raises.is_empty() {
            self.write(&raises)?;
        }
        if self.highest(did)? >= Some(rev) { Ok(()) } else { Err(RevFloorError::NotWritten) }
    }

    fn write(&self, raises: &HashMap<Did, Tid>) -> Result<(), RevFloorError> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(FLOORS)?;
            for (did, rev) in raises {
                let highest = table.get(did.as_str())?.map(|value| value.value());
                if highest.is_none_or(|highest| highest < rev.value()) {
                    table.insert(did.as_str(), rev.value())?;
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

fn open_checked(path: &Path) -> Result<Database, RevFloorError> {
    let mut database = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
    // What a crash leaves behind was mended just now. Whatever else is wrong may have taken floors away.
    if !database.check_integrity()? {
        return Err(RevFloorError::Damaged);
    }
    // So that reading finds the table, and a table of other types is noticed now.
    let transaction = database.begin_write()?;
    transaction.open_table(FLOORS)?;
    transaction.commit()?;
    Ok(database)
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
mod tests {
    use std::sync::Arc;

    use super::*;

    fn did(name: &str) -> Did {
        Did::parse(&format!("did:web:{name}.example.com")).unwrap()
    }

    fn rev(micros: u64) -> Tid {
        Tid::from_micros(micros, 0)
    }

    #[test]
    fn the_highest_revision_stays_over_restarts_and_is_never_lowered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revs.redb");
        {
            let floor = RevFloor::open(&path).unwrap();
            assert_eq!(floor.highest(&did("a")).unwrap(), None);
            floor.raise(&did("a"), rev(5)).unwrap();
            floor.raise(&did("a"), rev(3)).unwrap();
            floor.raise(&did("b"), rev(1)).unwrap();
            assert_eq!(floor.highest(&did("a")).unwrap(), Some(rev(5)));
        }
        let floor = RevFloor::open(&path).unwrap();
        assert_eq!(floor.highest(&did("a")).unwrap(), Some(rev(5)));
        assert_eq!(floor.highest(&did("b")).unwrap(), Some(rev(1)));
        assert_eq!(floor.highest(&did("c")).unwrap(), None);
        floor.raise(&did("a"), rev(6)).unwrap();
        assert_eq!(floor.highest(&did("a")).unwrap(), Some(rev(6)));
    }

    #[test]
    fn a_raise_is_on_disk_when_it_returns() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revs.redb");
        let floor = RevFloor::open(&path).unwrap();
        for micros in 1..5 {
            floor.raise(&did("a"), rev(micros)).unwrap();
            // What a crash at this moment would leave.
            let left = directory.path().join("left.redb");
            std::fs::copy(&path, &left).unwrap();
            assert_eq!(RevFloor::open(&left).unwrap().highest(&did("a")).unwrap(), Some(rev(micros)));
        }
    }

    #[test]
    fn only_a_raise_that_changes_something_writes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revs.redb");
        let floor = RevFloor::open(&path).unwrap();
        floor.raise(&did("a"), rev(5)).unwrap();
        let before = std::fs::read(&path).unwrap();
        floor.raise(&did("a"), rev(5)).unwrap();
        floor.raise(&did("a"), rev(4)).unwrap();
        assert!(std::fs::read(&path).unwrap() == before);
        floor.raise(&did("a"), rev(6)).unwrap();
        assert!(std::fs::read(&path).unwrap() != before);
    }

    #[test]
    fn raises_from_many_threads_leave_the_highest() {
        let directory = tempfile::tempdir().unwrap();
        let floor = Arc::new(RevFloor::open(&directory.path().join("revs.redb")).unwrap());
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let floor = Arc::clone(&floor);
                std::thread::spawn(move || {
                    for step in 0..20 {
                        // Ascending in half of the threads, descending in the others.
                        let micros = if thread % 2 == 0 { step } else { 19 - step } * 8 + thread;
                        for name in ["a", "b"] {
                            floor.raise(&did(name), rev(micros)).unwrap();
                            assert!(floor.highest(&did(name)).unwrap() >= Some(rev(micros)));
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(floor.highest(&did("a")).unwrap(), Some(rev(19 * 8 + 7)));
        assert_eq!(floor.highest(&did("b")).unwrap(), Some(rev(19 * 8 + 7)));
    }

    #[test]
    fn a_file_that_is_open_elsewhere_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revs.redb");
        let _first = RevFloor::open(&path).unwrap();
        assert!(matches!(RevFloor::open(&path), Err(RevFloorError::Locked)));
    }

    #[test]
    fn a_file_that_is_not_ours_is_told_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revs.redb");
        for content in [b"not a database at all".to_vec(), vec![0; 8192], vec![0xff; 100_000]] {
            std::fs::write(&path, &content).unwrap();
            let error = RevFloor::open(&path).unwrap_err();
            assert!(matches!(error, RevFloorError::Damaged), "{error:?}");
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_damaged_file_is_told_or_has_lost_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revs.redb");
        let dids: Vec<_> = (0..100).map(|number| did(&format!("author-{number}"))).collect();
        {
            let floor = RevFloor::open(&path).unwrap();
            dids.iter().for_each(|did| floor.raise(did, rev(5)).unwrap());
        }
        let good = std::fs::read(&path).unwrap();
        let mut told = 0;
        // A stride that is prime hits headers, pages and free space alike.
        for start in (1..good.len() - 64).step_by(1031) {
            let spoiled = [&good[..start], &[0x5a; 64], &good[start + 64..]].concat();
            for bytes in [&good[..start], &spoiled] {
                std::fs::write(&path, bytes).unwrap();
                match RevFloor::open(&path) {
                    Ok(floor) => {
                        let kept = dids.iter().all(|did| floor.highest(did).unwrap() == Some(rev(5)));
                        assert!(kept, "{} bytes, spoiled at {start}", bytes.len());
                    }
                    Err(RevFloorError::Damaged) => told += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
        assert!(told > 70, "{told}");
    }

    #[test]
    fn a_table_of_another_kind_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("revs.redb");
        {
            let database = Database::create(&path).unwrap();
            let other: TableDefinition<'_, u64, u64> = TableDefinition::new("rev-floor");
            let transaction = database.begin_write().unwrap();
            transaction.open_table(other).unwrap();
            transaction.commit().unwrap();
        }
        assert!(matches!(RevFloor::open(&path), Err(RevFloorError::Damaged)));
    }

    #[test]
    fn a_path_that_cannot_be_a_file_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let error = RevFloor::open(&directory.path().join("no/such/directory/revs.redb")).unwrap_err();
        assert!(matches!(error, RevFloorError::Storage(_)), "{error:?}");
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
