//! Floors over restarts, damage, many threads and full disks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

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

/// A disk in memory, which can be full, and outlives who opened it.
#[derive(Clone, Debug, Default)]
struct Memory {
    bytes: Arc<InMemoryBackend>,
    full: Arc<AtomicBool>,
}

impl Memory {
    fn floor(&self) -> RevFloor {
        let memory = self.clone();
        let open = move || checked(|| builder().create_with_backend(memory.clone()));
        RevFloor::over(Box::new(open)).unwrap()
    }

    fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn has_room(&self) -> io::Result<()> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.has_room()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.has_room()?;
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.has_room()?;
        self.bytes.write(offset, data)
    }
}

#[test]
fn a_full_disk_is_told_and_what_it_did_not_take_is_on_it_once_there_is_room() {
    let memory = Memory::default();
    let floor = memory.floor();
    floor.raise(&did("a"), rev(1)).unwrap();
    assert_eq!(floor.trouble(), None);
    memory.fill(true);
    assert!(floor.raise(&did("a"), rev(5)).is_err());
    assert!(floor.raise(&did("b"), rev(2)).is_err());
    let trouble = floor.trouble().unwrap();
    assert!(trouble.starts_with("the file of revisions: "), "{trouble}");
    // It is tried in vain as long as there is no room.
    floor.mend();
    assert!(floor.trouble().is_some());
    memory.fill(false);
    floor.mend();
    assert_eq!(floor.trouble(), None);
    for (name, highest) in [("a", 5), ("b", 2)] {
        assert_eq!(floor.highest(&did(name)).unwrap(), Some(rev(highest)));
    }
    floor.raise(&did("a"), rev(6)).unwrap();
    drop(floor);
    let floor = memory.floor();
    for (name, highest) in [("a", 6), ("b", 2)] {
        assert_eq!(floor.highest(&did(name)).unwrap(), Some(rev(highest)));
    }
}

#[test]
fn a_disk_that_failed_once_is_written_again_though_nothing_waits() {
    let memory = Memory::default();
    let floor = memory.floor();
    memory.fill(true);
    assert!(floor.raise(&did("a"), rev(5)).is_err());
    lock(&floor.waiting).clear();
    floor.mend();
    assert!(floor.trouble().is_some(), "nothing was written that could fail");
    memory.fill(false);
    floor.mend();
    assert_eq!(floor.trouble(), None);
}

#[test]
fn what_waits_for_a_disk_is_bounded_and_counts() {
    let memory = Memory::default();
    let floor = memory.floor();
    lock(&floor.waiting).extend((0..MAX_WAITING).map(|number| (did(&number.to_string()), rev(1))));
    assert!(matches!(floor.raise(&did("a"), rev(5)), Err(RevFloorError::NotWritten)));
    assert_eq!(floor.highest(&did("a")).unwrap(), None);
    assert_eq!(floor.highest(&did("7")).unwrap(), Some(rev(1)));
    floor.raise(&did("7"), rev(2)).unwrap();
    assert!(lock(&floor.waiting).is_empty());
    floor.raise(&did("a"), rev(5)).unwrap();
}
