//! What can be wrong with an artifact on disk.

use std::fmt;

/// Why an artifact on disk is not used. Whatever it is, the module is compiled anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// It was made too long ago, or will only be made.
    Age,
    /// It is longer than any artifact, or too short to be one.
    Length,
    /// The file has other names too.
    Links,
    /// A directory, a link or a device is in its place.
    NotAFile,
    /// It belongs to somebody else.
    Owner,
    /// Others may read or write it.
    Permissions,
    /// Its content is not what this service wrote under this name with this key.
    Unauthentic,
    /// The engine does not take it.
    Unloadable,
    /// It cannot be read.
    Unreadable,
}

impl Flaw {
    /// All there are, in the order of their values.
    pub const ALL: [Flaw; 9] = [
        Flaw::Age,
        Flaw::Length,
        Flaw::Links,
        Flaw::NotAFile,
        Flaw::Owner,
        Flaw::Permissions,
        Flaw::Unauthentic,
        Flaw::Unloadable,
        Flaw::Unreadable,
    ];

    /// The label in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Flaw::Age => "age",
            Flaw::Length => "length",
            Flaw::Links => "links",
            Flaw::NotAFile => "notAFile",
            Flaw::Owner => "owner",
            Flaw::Permissions => "permissions",
            Flaw::Unauthentic => "unauthentic",
            Flaw::Unloadable => "unloadable",
            Flaw::Unreadable => "unreadable",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flaw::Age => "it is too old, or from the future",
            Flaw::Length => "its length is no artifact's",
            Flaw::Links => "it has other names too",
            Flaw::NotAFile => "something else is in its place",
            Flaw::Owner => "it belongs to another user",
            Flaw::Permissions => "its mode is not 0600",
            Flaw::Unauthentic => "it is not what was written",
            Flaw::Unloadable => "the engine does not take it",
            Flaw::Unreadable => "it cannot be read",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flaw_stands_at_its_own_index() {
        for (index, flaw) in Flaw::ALL.into_iter().enumerate() {
            assert_eq!(flaw as usize, index, "{flaw:?}");
        }
    }
}
