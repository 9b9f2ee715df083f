//! How a function talks with its host: the `mode` of its record.

use std::fmt;

/// The modes that exist; the ABI of each is in `docs/functions.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A core module without imports: JSON in, JSON out.
    PureV1,
}

impl Mode {
    /// Every mode, in the order in which they are listed to people.
    pub const ALL: [Mode; 1] = [Mode::PureV1];

    /// The mode as a record spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::PureV1 => "pure-v1",
        }
    }

    /// The mode of this name, if there is one.
    pub fn parse(text: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
