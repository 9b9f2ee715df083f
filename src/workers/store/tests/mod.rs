//! Artifacts on disk, and everything that can be wrong with them.

mod damage;
mod disk;
mod sharing;

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ipld_core::cid::Cid;
use ipld_core::cid::multihash::Multihash;
use rustix::fs::{CWD, FileType, Mode as FileMode};
use tempfile::TempDir;

use super::*;
use crate::lexicon::Mode;

const MIB: u64 = 1 << 20;

fn name(number: u8) -> Name {
    let cid = Cid::new_v1(0x55, Multihash::wrap(0x12, &[number; 32]).unwrap());
    Name::new(&cid, Mode::PureV1, 9)
}

fn now() -> Clock {
    // Files are marked by the kernel's clock.
    Clock::manual(Clock::system().unix_seconds())
}

fn config(data_dir: &Path) -> StoreConfig {
    StoreConfig { keep_free_bytes: 0, ..StoreConfig::new(data_dir, 100 * MIB) }
}

fn open(data_dir: &Path) -> Store {
    Store::open(config(data_dir), now()).unwrap()
}

fn file_of(data_dir: &Path, name: &Name) -> PathBuf {
    data_dir.join(DIRECTORY).join(name.file())
}

fn names_in(data_dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(data_dir.join(DIRECTORY)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_was_saved_is_loaded_also_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let artifact = b"machine code".repeat(1_000);
    let first = open(data.path());
    assert_eq!(first.load(&name(1)), None);
    first.save(&name(1), &[&artifact]);
    assert_eq!(first.load(&name(1)).unwrap(), artifact);
    let second = open(data.path());
    assert_eq!(second.load(&name(1)).unwrap(), artifact);
    assert_eq!(second.load(&name(2)), None);
    let expected = StoreStats { loaded: 1, bytes: 12_288, ..StoreStats::default() };
    assert_eq!(second.stats(), expected);
    assert_eq!(names_in(data.path()), [name(1).file()]);
}

#[test]
fn all_of_it_is_for_the_services_user_alone() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    fs::create_dir(&data).unwrap();
    open(&data).save(&name(1), &[b"code"]);
    assert_eq!(mode_of(&data.join(DIRECTORY)), 0o700);
    assert_eq!(mode_of(&data.join(KEY_FILE)), 0o600);
    assert_eq!(mode_of(&file_of(&data, &name(1))), 0o600);
    // A directory that others could look into is closed again.
    fs::set_permissions(data.join(DIRECTORY), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(open(&data).load(&name(1)).unwrap(), "code");
    assert_eq!(mode_of(&data.join(DIRECTORY)), 0o700);
}

type Damage = fn(&Path);
