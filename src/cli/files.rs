//! Files that a command is given, `-` for stdin: read no further than is of use, and on a thread of
//! their own, because a pipe may keep its reader waiting and Ctrl-C must still be heard.

use std::io::Read;
use std::path::Path;

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

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_named() {
        let error = read(Path::new("/nonexistent/x"), 1).await.unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nonexistent/x: "), "{error}");
        assert!(matches!(read(Path::new("/"), 1).await, Err(CliError::File { .. })));
    }
}
