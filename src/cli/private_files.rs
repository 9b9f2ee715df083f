//! Files that nobody but their owner may read: written whole or not at all, in folders of their own.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use super::error::CliError;

/// Writes a file in place of what may be there. A reader sees the one or the other, also after a power cut.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    write_inner(path, bytes).map_err(|source| CliError::Write { path: path.into(), source })
}

fn write_inner(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_folder(folder)?;
    let random = getrandom::u64().map_err(io::Error::other)?;
    let beside = folder.join(format!(".{random:016x}.new"));
    let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&beside);
    }
    written?;
    // Only Unix lets a directory be opened for this.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = options().create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Opens a file that exists to be locked.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    path.parent().map_or(Ok(()), make_folder)?;
    options().create(true).truncate(false).open(path)
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// The bytes of a file of up to `limit` bytes; `None` when there is no such file.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, CliError> {
    let failed = |source| CliError::File { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > limit {
        true => Err(failed(io::ErrorKind::FileTooLarge.into())),
        false => Ok(Some(bytes)),
    }
}

/// The same of a secret: one that others may read is none any more.
pub(super) fn read_secret(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, CliError> {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(path) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions());
        if mode & 0o077 != 0 {
            let why = format!(
                "others may read or write it (mode {:o}), and it is a key to your account: chmod 600 it, if you trust them all",
                mode & 0o777
            );
            return Err(CliError::setting(super::home::shown(path), why));
        }
    }
    read(path, limit)
}

/// Removes a file; one that is not there is removed already.
pub(super) fn remove(path: &Path) -> Result<(), CliError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(CliError::Write { path: path.into(), source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_and_its_folders_are_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        assert_eq!(read_secret(&path, 10).unwrap(), None);
        for text in ["one", "two"] {
            write(&path, text.as_bytes()).unwrap();
            assert_eq!(read_secret(&path, 3).unwrap().unwrap(), text.as_bytes());
        }
        assert_eq!(
            [mode(&path), mode(&dir.path().join("a/b")), mode(&dir.path().join("a"))],
            [0o600, 0o700, 0o700]
        );
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1, "nothing is left beside it");
        assert!(read(&path, 2).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let told = read_secret(&path, 3).unwrap_err().to_string();
        assert!(told.contains("mode 640") && told.contains("chmod 600"), "{told}");
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read(&path, 3).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_written_is_told_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        // A folder stands where the file should.
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        assert!(matches!(write(&path, b"x"), Err(CliError::Write { .. })));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
