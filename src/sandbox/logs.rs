//! What a guest says to its author: a few lines, and no more.

use std::fmt;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    /// Of interest while the function is written.
    Debug,
    /// Of interest.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

impl LogLevel {
    /// Every level, from the least to the most; a core module names one by its place here.
    pub const ALL: [LogLevel; 4] = [LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];

    /// The level as it is written on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line of a guest's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// What the guest wrote, as it wrote it: control characters included.
    pub message: String,
}

/// The lines of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// The lines, in the guest's order.
    #[serde(deserialize_with = "few_lines")]
    pub lines: Vec<LogLine>,
    /// Whether there was more than there is room for.
    pub cut: bool,
}

impl Logs {
    /// Lines that a run may write.
    pub const MAX_LINES: usize = 256;
    /// Bytes of one line; what follows is cut.
    pub const MAX_LINE_BYTES: usize = 4 * 1024;
    /// Bytes of all lines.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Adds a line, or as much of it as there is room for.
    pub(crate) fn add(&mut self, level: LogLevel, message: &str) {
        // A guest may write on and on; its lines need not be summed up each time.
        if self.lines.len() == Logs::MAX_LINES {
            self.cut = true;
            return;
        }
        let used: usize = self.lines.iter().map(|line| line.message.len()).sum();
        let room = Logs::MAX_LINE_BYTES.min(Logs::MAX_BYTES - used);
        if room == 0 && !message.is_empty() {
            self.cut = true;
            return;
        }
        let kept = &message[..message.floor_char_boundary(room)];
        self.cut |= kept.len() < message.len();
        self.lines.push(LogLine { level, message: kept.to_owned() });
    }
}

/// Reads as many lines as there may be; more are an error before there is memory for them.
fn few_lines<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LogLine>, D::Error> {
    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = Vec<LogLine>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {} lines", Logs::MAX_LINES)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> Result<Vec<LogLine>, A::Error> {
            let mut few = Vec::new();
            while let Some(line) = lines.next_element()? {
                if few.len() == Logs::MAX_LINES {
                    return Err(Error::invalid_length(few.len() + 1, &self));
                }
                few.push(line);
            }
            Ok(few)
        }
    }

    deserializer.deserialize_seq(Few)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_in_order_until_there_are_too_many() {
        let mut logs = Logs::default();
        for number in 0..300 {
            logs.add(LogLevel::Info, &number.to_string());
        }
        let kept: Vec<_> = logs.lines.iter().map(|line| line.message.clone()).collect();
        assert_eq!(kept, (0..256).map(|number| number.to_string()).collect::<Vec<_>>());
        assert!(logs.cut);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut logs = Logs::default();
        logs.add(LogLevel::Warn, &format!("a{}", "é".repeat(4_000)));
        assert_eq!(
            logs.lines,
            [LogLine { level: LogLevel::Warn, message: format!("a{}", "é".repeat(2_047)) }]
        );
        assert!(logs.cut);
    }

    #[test]
    fn all_lines_together_have_a_bound() {
        let mut logs = Logs::default();
        for _ in 0..100 {
            logs.add(LogLevel::Debug, &"x".repeat(5_000));
        }
        assert_eq!(logs.lines.len(), 16);
        assert_eq!(logs.lines.iter().map(|line| line.message.len()).sum::<usize>(), 65_536);
        assert!(logs.cut);
    }

    #[test]
    fn what_fits_is_not_called_cut() {
        let mut logs = Logs::default();
        logs.add(LogLevel::Error, "");
        logs.add(LogLevel::Error, &"x".repeat(4_096));
        assert_eq!((logs.lines.len(), logs.cut), (2, false));
    }
}
