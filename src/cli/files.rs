//! Files that a command is given, `-` for stdin: read no further than is of use, and on a thread of
//! their own, because a pipe may keep its reader waiting and Ctrl-C must still be heard. And the
//! directories that commands make for themselves.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::CliError;

/// The path that means stdin.
pub(super) const STDIN: &str = "-";

/// The bytes of a file or of stdin; of more than `limit` bytes, one more than `limit`.
pub(super) async fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let name = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        if name == Path::new(STDIN) {
            std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)?;
        } else {
            std::fs::File::open(name)?.take(limit + 1).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    });
    // The reading thread does not panic; if it did, that is told as a failed read.
    reading
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(|source| CliError::File { path: path.into(), source })
}

/// A new directory that goes away with the value.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn make() -> std::io::Result<Scratch> {
        let random = getrandom::u64().map_err(std::io::Error::other)?;
        let path = std::env::temp_dir().join(format!("at-functions-{random:016x}"));
        std::fs::create_dir(&path)?;
        Ok(Scratch(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It holds throw-away state and nothing that anybody will miss.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_no_further_than_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"abcdef").unwrap();
        assert_eq!(read(&path, 6).await.unwrap(), b"abcdef");
        assert_eq!(read(&path, 3).await.unwrap(), b"abcd");
        assert_eq!(read(Path::new("/dev/zero"), 10).await.unwrap().len(), 11);
    }

    #[test]
    fn a_scratch_directory_goes_away_with_what_is_in_it() {
        let (one, other) = (Scratch::make().unwrap(), Scratch::make().unwrap());
        assert_ne!(one.path(), other.path());
        std::fs::write(one.path().join("f"), b"x").unwrap();
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && other.path().is_dir());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_named() {
        let error = read(Path::new("/nonexistent/x"), 1).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nonexistent/x: "), "{error}");
        assert!(matches!(read(Path::new("/"), 1).await, Err(CliError::File { .. })));
    }
}
