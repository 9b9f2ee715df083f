//! Questions to the person at the terminal. The reading thread is left behind if Ctrl-C comes first.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use super::error::CliError;

/// Longer than any name or yes.
const MAX_LINE_BYTES: u64 = 1024;

/// Whether there is somebody to ask.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Refuses to go on where nobody can be asked and `--yes` is not given.
pub(super) fn answerable(yes: bool) -> Result<(), CliError> {
    match yes || can_ask() {
        true => Ok(()),
        false => Err(CliError::setting("--yes", "give it where nobody can be asked")),
    }
}

/// Asks a question that only a yes answers with yes.
pub(super) async fn confirmed(question: &str) -> bool {
    matches!(line(question).await, Ok(line) if is_yes(&line))
}

/// Asks for a line of text.
pub(super) async fn line(question: &str) -> io::Result<String> {
    let mut stderr = io::stderr();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()?;
    let reading = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().take(MAX_LINE_BYTES).read_line(&mut line).map(|_| line)
    });
    reading.await.map_err(io::Error::other)?
}

/// Asks for a password, which is not shown as it is typed. Where Ctrl-C ends the question, this never does: the program
/// ends with it.
pub(super) async fn password(question: String) -> io::Result<String> {
    let (asked, ended) = mpsc::channel::<()>();
    let _terminal = Restored(ended);
    let reading = tokio::task::spawn_blocking(move || {
        let answer = rpassword::prompt_password(question);
        drop(asked);
        answer
    });
    match reading.await.map_err(io::Error::other)? {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => std::future::pending().await,
        answer => answer,
    }
}

/// When it goes, the terminal shows again what is typed: the thread that asked has put it back, or had its time to.
struct Restored(mpsc::Receiver<()>);

impl Drop for Restored {
    fn drop(&mut self) {
        // That the other end is gone is what is waited for.
        let _ = self.0.recv_timeout(Duration::from_millis(500));
    }
}

fn is_yes(line: &str) -> bool {
    let line = line.trim();
    line.eq_ignore_ascii_case("y") || line.eq_ignore_ascii_case("yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for line in ["y\n", "Y\n", " yes\r\n", "YES"] {
            assert!(is_yes(line), "{line:?}");
        }
        for line in ["", "\n", "n\n", "yy\n", "yes please\n", "no\n"] {
            assert!(!is_yes(line), "{line:?}");
        }
    }
}
