//! Room on the disk, and what happens without.

use super::*;

#[test]
fn what_was_used_longest_ago_goes_first_when_there_is_too_much() {
    let data = tempfile::tempdir().unwrap();
    let limits = StoreConfig { max_bytes: 10 * 4096, ..config(data.path()) };
    let store = Store::open(limits, now()).unwrap();
    for number in 0..10 {
        store.save(&name(number), &[&[number; 4_000]]);
        // The kernel marks files in steps of some milliseconds.
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(names_in(data.path()).len(), 10);
    for used in [0, 3] {
        assert!(store.load(&name(used)).is_some());
        std::thread::sleep(Duration::from_millis(20));
    }
    store.save(&name(10), &[&[10; 4_000]]);
    let left: Vec<u8> = (0..=10).filter(|number| file_of(data.path(), &name(*number)).exists()).collect();
    // One too many, and a tenth of the room.
    assert_eq!(left, [0, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(store.stats().bytes, 9 * 4096);
}

#[test]
fn what_is_too_much_at_the_start_is_deleted_then() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    (0..20).for_each(|number| store.save(&name(number), &[&[number; 4_000]]));
    assert_eq!(names_in(data.path()).len(), 20);
    let small = StoreConfig { max_bytes: 5 * 4096, ..config(data.path()) };
    let store = Store::open(small.clone(), now()).unwrap();
    assert_eq!((names_in(data.path()).len(), store.stats().bytes), (4, 4 * 4096));
    // And what nobody used for longer than it would be good, however little it is.
    let later = now();
    later.advance(MAX_AGE + Duration::from_secs(60));
    Store::open(small, later).unwrap();
    assert_eq!(names_in(data.path()), Vec::<String>::new());
}

#[test]
fn an_artifact_larger_than_the_whole_store_is_not_kept() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(StoreConfig { max_bytes: 8192, ..config(data.path()) }, now()).unwrap();
    store.save(&name(1), &[&[0; 8192]]);
    assert_eq!(names_in(data.path()), Vec::<String>::new());
    assert_eq!(store.stats(), StoreStats::default());
}

#[test]
fn files_of_others_in_the_directory_are_left_alone() {
    let data = tempfile::tempdir().unwrap();
    drop(open(data.path()));
    let digits = "0".repeat(64);
    let theirs = ["README", "x.new", "artifact.0123.new", &digits];
    for file in theirs {
        fs::write(data.path().join(DIRECTORY).join(file), "theirs").unwrap();
    }
    let later = now();
    later.advance(MAX_AGE * 2);
    Store::open(StoreConfig { max_bytes: 0, ..config(data.path()) }, later).unwrap();
    assert_eq!(names_in(data.path()).len(), theirs.len());
}

#[test]
fn a_disk_that_takes_nothing_costs_nothing_but_the_cache() {
    let no_space = || io::Error::from(io::ErrorKind::StorageFull);
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    for round in 1..=3 {
        let mut parts = 0;
        store.save_with(&name(1), &[&[7; 1_000]], &mut |file, bytes| {
            parts += 1;
            file.write_all(&bytes[..bytes.len() / 2])?;
            // The header fits, the rest does not.
            if parts == 2 { Err(no_space()) } else { file.write_all(&bytes[bytes.len() / 2..]) }
        });
        assert_eq!(store.stats(), StoreStats { not_stored: round, ..StoreStats::default() });
        assert_eq!(names_in(data.path()), Vec::<String>::new(), "what was half written is gone");
    }
    store.save(&name(1), &[b"there is room again"]);
    assert_eq!(store.load(&name(1)).unwrap(), "there is room again");

    // A disk that is nearly full is left to what matters more.
    let careful = StoreConfig { keep_free_bytes: u64::MAX / 2, ..config(data.path()) };
    let store = Store::open(careful, now()).unwrap();
    store.save(&name(2), &[b"code"]);
    assert_eq!((store.stats().stored, store.stats().not_stored), (0, 1));
    assert_eq!(names_in(data.path()), [name(1).file()]);
    assert!(store.load(&name(1)).is_some());
}

#[test]
fn a_directory_that_is_taken_away_costs_nothing_but_the_cache() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    store.save(&name(1), &[b"code"]);
    fs::remove_dir_all(data.path().join(DIRECTORY)).unwrap();
    assert_eq!(store.load(&name(1)), None);
    store.save(&name(1), &[b"code"]);
    assert_eq!((store.stats().stored, store.stats().not_stored), (1, 1));
}

#[test]
fn only_the_first_failure_of_a_disk_is_told() {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let logs = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(logs);
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    fs::remove_dir_all(data.path().join(DIRECTORY)).unwrap();
    (0..5).for_each(|number| store.save(&name(number), &[b"code"]));
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(
        text.matches("compiled modules cannot be kept on disk; going on without").count(),
        1,
        "{text}"
    );
    assert_eq!(store.stats().not_stored, 5);
}

#[test]
fn a_file_longer_than_any_artifact_does_not_push_the_others_out() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    (1..=3).for_each(|number| store.save(&name(number), &[b"code"]));
    let long = fs::OpenOptions::new().write(true).open(file_of(data.path(), &name(3))).unwrap();
    long.set_len(1 << 40).unwrap();
    let store = open(data.path());
    assert_eq!(store.stats().discarded_for(Flaw::Length), 1);
    assert_eq!(store.stats().bytes, 2 * 4096);
    let left = (1..=3).filter(|number| store.load(&name(*number)).is_some()).count();
    assert_eq!(left, 2);
}
