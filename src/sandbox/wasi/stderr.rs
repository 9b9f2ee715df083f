//! What a command writes to stderr: lines for the log, of which the last also explain a failure.

use std::collections::VecDeque;

use crate::sandbox::host::Host;
use crate::sandbox::{LogLevel, Logs};

/// Lines that are handed to the log: one more than it keeps, so that it knows that it was cut.
const MAX_LINES: usize = Logs::MAX_LINES + 1;
/// Bytes of one line that are looked at: more than the log keeps, so that it knows what it cut.
const MAX_LINE_BYTES: usize = Logs::MAX_LINE_BYTES + 8;
/// Bytes of one write that are looked at, so that no write takes long. Programs write lines.
pub(super) const MAX_WRITE_BYTES: usize = 64 * 1024;
/// Lines that are told of a command that failed, ...
const LAST_LINES: usize = 4;
/// ... and bytes of each.
const LAST_LINE_BYTES: usize = 256;

/// Cuts what is written into lines.
#[derive(Default)]
pub(in crate::sandbox) struct Stderr {
    /// The line that has not ended, without what is beyond its bound.
    line: Vec<u8>,
    lines: usize,
    last: VecDeque<String>,
}

impl Stderr {
    /// Takes in what is written.
    pub(super) fn write(&mut self, bytes: &[u8], host: &mut Host) {
        for piece in bytes[..bytes.len().min(MAX_WRITE_BYTES)].split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let room = MAX_LINE_BYTES - self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.end_line(host);
            }
        }
    }

    /// Takes in the line that did not end before the command did.
    pub(super) fn finish(&mut self, host: &mut Host) {
        self.end_line(host);
    }

    fn end_line(&mut self, host: &mut Host) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if line.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(line);
        if self.lines < MAX_LINES {
            self.lines += 1;
            host.log(LogLevel::Warn, &text);
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(text[..text.floor_char_boundary(LAST_LINE_BYTES)].to_owned());
    }

    /// The last lines, to stand behind the message of a failure.
    pub(super) fn last_words(&self) -> String {
        if self.last.is_empty() {
            return String::new();
        }
        let lines: Vec<String> = self.last.iter().map(|line| printable(line)).collect();
        format!("; the last of its stderr: {}", lines.join(" | "))
    }
}

fn printable(line: &str) -> String {
    let escaped =
        |char: char| if char.is_control() { char.escape_default().to_string() } else { char.into() };
    line.chars().map(escaped).collect()
}
