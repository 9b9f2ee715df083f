//! Several processes in one directory, and one that is killed.

use super::*;

#[test]
fn many_processes_that_start_at_once_agree_on_one_key() {
    let data = tempfile::tempdir().unwrap();
    let stores: Vec<Store> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| open(data.path()))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    stores[0].save(&name(1), &[b"code"]);
    assert!(stores.iter().all(|store| store.load(&name(1)).unwrap() == "code"));
    let beside: Vec<_> = fs::read_dir(data.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(beside.len(), 2, "nothing is left beside key and directory: {beside:?}");
}

#[test]
fn two_stores_in_one_directory_never_see_half_a_file() {
    let data = tempfile::tempdir().unwrap();
    // Small enough that both sweep all the time.
    let limits = StoreConfig { max_bytes: 40 * 4096, ..config(data.path()) };
    let stores = [0, 1].map(|_| Store::open(limits.clone(), now()).unwrap());
    // Each writer has a pattern and lengths of its own; a mixture of two would show.
    let artifact = |number: u8, writer: usize| vec![number | (writer as u8) << 6; 20_000 + 8_192 * writer];
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (stores, artifact) = (&stores, &artifact);
            scope.spawn(move || {
                for round in 0..100u8 {
                    let number = round.wrapping_mul(7).wrapping_add(writer as u8) % 8;
                    stores[writer % 2].save(&name(number), &[&artifact(number, writer)]);
                    let Some(read) = stores[1 - writer % 2].load(&name((number + 1) % 8)) else { continue };
                    let whole = (0..4).any(|writer| read == artifact((number + 1) % 8, writer));
                    assert!(whole, "{} bytes", read.len());
                }
            });
        }
    });
    for store in &stores {
        let stats = store.stats();
        assert_eq!(stats.discarded.iter().sum::<u64>(), 0, "{stats:?}");
        assert_eq!(stats.stored + stats.not_stored, 200, "{stats:?}");
        // A sweep may take away what was created and is not locked yet: seldom.
        assert!(stats.loaded > 20 && stats.not_stored < 20, "{stats:?}");
    }
    assert!(names_in(data.path()).iter().all(|name| name.ends_with(name::SUFFIX)));
}

/// A process that does not outlive the test, however that ends.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The variable that makes the next test the process that it kills.
const VICTIM: &str = "TEST_OF_A_KILLED_WRITER_IN";

#[test]
fn a_writer_that_is_killed_leaves_only_what_the_next_start_cleans_up() {
    if let Some(data_dir) = std::env::var_os(VICTIM) {
        let store = open(Path::new(&data_dir));
        store.save_with(&name(1), &[&[7; 100_000]], &mut |file, bytes| {
            file.write_all(bytes)?;
            if bytes.len() == 100_000 {
                // All is written and nothing is renamed.
                println!("\nwritten");
                loop {
                    std::thread::park();
                }
            }
            Ok(())
        });
        unreachable!("the writer is killed");
    }
    let data = tempfile::tempdir().unwrap();
    open(data.path()).save(&name(2), &[b"code"]);
    let test =
        "workers::store::tests::sharing::a_writer_that_is_killed_leaves_only_what_the_next_start_cleans_up";
    let mut victim = Victim(
        Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(VICTIM, data.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let output = BufReader::new(victim.0.stdout.take().unwrap());
    assert!(output.lines().any(|line| line.unwrap() == "written"));
    let unfinished = || names_in(data.path()).iter().filter(|name| name.ends_with(".new")).count();
    // While it lives, others leave its file alone.
    let store = open(data.path());
    assert_eq!((unfinished(), store.load(&name(1))), (1, None));
    victim.0.kill().unwrap();
    victim.0.wait().unwrap();
    assert_eq!((unfinished(), store.load(&name(1))), (1, None));
    let store = open(data.path());
    assert_eq!(names_in(data.path()), [name(2).file()]);
    assert_eq!((store.load(&name(1)), store.stats().discarded), (None, [0; Flaw::ALL.len()]));
    assert_eq!(store.load(&name(2)).unwrap(), "code");
}
