//! The service's own key: made on the first start, kept in one file of the data directory.
//!
//! The file holds 64 lower-case hex digits (a secp256k1 scalar) and a line end, mode 0600. It is
//! written beside its place, flushed, and linked into it, so that it is there whole or not at all,
//! and of two processes that start at once one makes the key and both use it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use super::key::SigningKey;

/// The key's file in the data directory.
pub const FILE_NAME: &str = "service.key";

/// Hex digits of a key.
const DIGITS: usize = 64;

/// How often a fresh scalar is drawn: one outside the group's order comes once in 2^128.
const DRAWS: usize = 4;

/// The key in `data_dir`. Fails when there is none.
pub fn load(data_dir: &Path) -> Result<SigningKey, ServiceKeyError> {
    let path = data_dir.join(FILE_NAME);
    read(&path)?.ok_or(ServiceKeyError::Missing { path })
}

/// The key in `data_dir`; the directory and the key are made when they do not exist.
pub fn load_or_create(data_dir: &Path) -> Result<SigningKey, ServiceKeyError> {
    load_or_create_with(data_dir, &mut |bytes| getrandom::fill(bytes).map_err(|_| ServiceKeyError::Random))
}

/// A source of secret bytes.
type Random<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<(), ServiceKeyError>;

fn load_or_create_with(data_dir: &Path, random: Random<'_>) -> Result<SigningKey, ServiceKeyError> {
    let path = data_dir.join(FILE_NAME);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    make_directory(data_dir).map_err(|source| ServiceKeyError::Write { path: data_dir.into(), source })?;
    let key = draw(random)?;
    match write_new(data_dir, &path, &key, random) {
        Ok(()) => Ok(key),
        // Another process was first: its key counts.
        Err(ServiceKeyError::Write { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            load(data_dir)
        }
        Err(error) => Err(error),
    }
}

fn draw(random: Random<'_>) -> Result<SigningKey, ServiceKeyError> {
    for _ in 0..DRAWS {
        let mut bytes = [0; 32];
        random(&mut bytes)?;
        if let Ok(key) = SigningKey::from_bytes(&bytes) {
            return Ok(key);
        }
    }
    Err(ServiceKeyError::Random)
}

/// `None` when there is no file.
fn read(path: &Path) -> Result<Option<SigningKey>, ServiceKeyError> {
    let failed = |source| ServiceKeyError::Read { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Asked of the open file, not of its name, so that it cannot be exchanged in between.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(ServiceKeyError::NotAFile { path: path.into() });
    }
    refuse_open_permissions(path, &metadata)?;
    let mut text = String::new();
    // A key and its line end; what is longer is no key, however long it is.
    match file.take(DIGITS as u64 + 3).read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(ServiceKeyError::Malformed { path: path.into() });
        }
        Err(error) => return Err(failed(error)),
    }
    parse(text.trim_end()).map(Some).ok_or_else(|| ServiceKeyError::Malformed { path: path.into() })
}

fn parse(digits: &str) -> Option<SigningKey> {
    let bytes = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?;
    SigningKey::from_bytes(bytes.as_slice().try_into().ok()?).ok()
}

/// Puts the key in its place, or fails with `AlreadyExists`.
fn write_new(
    data_dir: &Path,
    path: &Path,
    key: &SigningKey,
    random: Random<'_>,
) -> Result<(), ServiceKeyError> {
    let mut suffix = [0; 8];
    random(&mut suffix)?;
    let beside = data_dir.join(format!("{FILE_NAME}.{}.new", HEXLOWER.encode(&suffix)));
    let written = write_whole(&beside, key).and_then(|()| fs::hard_link(&beside, path));
    // Whether or not the link was made, the name beside it is of no more use.
    let removed = fs::remove_file(&beside);
    written
        .and(removed)
        .and_then(|()| flush_directory(data_dir))
        .map_err(|source| ServiceKeyError::Write { path: path.into(), source })
}

fn write_whole(path: &Path, key: &SigningKey) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(HEXLOWER.encode(&key.to_secret_bytes()).as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes the new name survive a power cut; only Unix lets a directory be opened for that.
fn flush_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

#[cfg(unix)]
fn refuse_open_permissions(path: &Path, metadata: &fs::Metadata) -> Result<(), ServiceKeyError> {
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(ServiceKeyError::Exposed { path: path.into(), mode }) }
}

#[cfg(not(unix))]
fn refuse_open_permissions(_: &Path, _: &fs::Metadata) -> Result<(), ServiceKeyError> {
    Ok(())
}

/// Why the service has no key of its own. Each message says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceKeyError {
    /// Others than the file's owner may read or write it.
    #[error("others may read {} (mode {mode:04o}): run `chmod 600 {}`, and replace the key if it may have leaked", path.display(), path.display())]
    Exposed {
        /// The key's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold a key.
    #[error("{} is damaged: expected 64 hex digits; restore it from a backup (without it the service has a new key)", path.display())]
    Malformed {
        /// The key's file.
        path: PathBuf,
    },
    /// There is no key yet.
    #[error("there is no key at {}: the service makes one when it first starts", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// Its name belongs to a directory or device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system has no random bytes for a new key")]
    Random,
    /// It could not be read.
    #[error("cannot read the service's key {}: {source}", path.display())]
    Read {
        /// The key's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be written.
    #[error("cannot write the service's key to {}: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn no_random(_: &mut [u8]) -> Result<(), ServiceKeyError> {
        Err(ServiceKeyError::Random)
    }

    fn write(dir: &Path, content: &[u8], mode: u32) -> PathBuf {
        let path = dir.join(FILE_NAME);
        fs::write(&path, content).expect("a file can be written in a directory of our own");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode is ours to set");
        path
    }

    #[test]
    fn a_data_directory_that_cannot_be_is_told_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = load_or_create(&file.join("data")).unwrap_err().to_string();
        let start =
            format!("cannot read the service's key {}/data/service.key: Not a directory", file.display());
        assert!(error.starts_with(&start), "{error}");
    }

    #[test]
    fn the_key_made_first_is_the_key_loaded_later() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("new/data");
        let made = load_or_create(&dir).unwrap();
        assert_eq!(load_or_create_with(&dir, &mut no_random).unwrap().public(), made.public());
        assert_eq!(load(&dir).unwrap().public(), made.public());
        let names: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [FILE_NAME], "nothing is left beside the key");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.join(FILE_NAME)), 0o600);
        assert_eq!(mode(&dir), 0o700);
    }

    #[test]
    fn two_data_directories_have_two_keys() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_ne!(load_or_create(a.path()).unwrap().public(), load_or_create(b.path()).unwrap().public());
    }

    #[test]
    fn a_key_that_another_process_made_meanwhile_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let theirs = SigningKey::from_bytes(&[1; 32]).unwrap();
        let mut meanwhile = |bytes: &mut [u8]| {
            if !dir.path().join(FILE_NAME).exists() {
                write_whole(&dir.path().join(FILE_NAME), &theirs).unwrap();
            }
            bytes.fill(2);
            Ok(())
        };
        let key = load_or_create_with(dir.path(), &mut meanwhile).unwrap();
        assert_eq!(key.public(), theirs.public());
    }

    #[test]
    fn many_processes_that_start_at_once_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| load_or_create(dir.path()).unwrap().public())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(load(dir.path()).unwrap().public(), keys[0]);
    }

    #[test]
    fn a_scalar_outside_the_group_is_drawn_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut draws = [[0xff; 32], [0; 32], [5; 32]].into_iter();
        let mut random = |bytes: &mut [u8]| {
            let draw = draws.next().unwrap_or([9; 32]);
            bytes.copy_from_slice(&draw[..bytes.len()]);
            Ok(())
        };
        let key = load_or_create_with(dir.path(), &mut random).unwrap();
        assert_eq!(key.to_secret_bytes(), [5; 32]);
        let mut stuck = |bytes: &mut [u8]| {
            bytes.fill(0);
            Ok(())
        };
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(load_or_create_with(empty.path(), &mut stuck), Err(ServiceKeyError::Random)));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        for mode in [0o604, 0o640, 0o602, 0o660, 0o777] {
            let dir = tempfile::tempdir().unwrap();
            let path = write(dir.path(), "01".repeat(32).as_bytes(), mode);
            let error = load_or_create(dir.path()).unwrap_err();
            assert!(matches!(&error, ServiceKeyError::Exposed { mode: m, .. } if *m == mode), "{mode:o}");
            assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
        }
    }

    #[test]
    fn a_damaged_key_is_refused_and_left_as_it_is() {
        let long = "01".repeat(33);
        let zero = "00".repeat(32);
        let order = "ff".repeat(32);
        let huge = "0".repeat(1 << 20);
        let cases: [&[u8]; 8] = [
            b"",
            b"\n",
            b"hello",
            &[0xff; 64],
            long.as_bytes(),
            zero.as_bytes(),
            order.as_bytes(),
            huge.as_bytes(),
        ];
        for content in cases {
            let dir = tempfile::tempdir().unwrap();
            let path = write(dir.path(), content, 0o600);
            let error = load_or_create(dir.path()).unwrap_err();
            assert!(matches!(error, ServiceKeyError::Malformed { .. }), "{error:?}");
            assert_eq!(fs::read(&path).unwrap(), content);
        }
    }

    #[test]
    fn a_key_with_any_line_end_or_none_is_read() {
        for end in ["", "\n", "\r\n"] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), format!("{}{end}", "0A".repeat(32)).as_bytes(), 0o400);
            assert_eq!(load(dir.path()).unwrap().to_secret_bytes(), [10; 32]);
        }
    }

    #[test]
    fn a_missing_key_and_a_directory_in_its_place_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(load(dir.path()), Err(ServiceKeyError::Missing { .. })));
        fs::create_dir(dir.path().join(FILE_NAME)).unwrap();
        assert!(matches!(load_or_create(dir.path()), Err(ServiceKeyError::NotAFile { .. })));
    }
}
