//! Where the commands keep what lives longer than they do: sessions, and the modules that were deployed.
//!
//! `AT_FUNCTIONS_HOME` holds all of it where it is set. Otherwise sessions are state and modules are data, each in the
//! folder that the system has for that (<https://specifications.freedesktop.org/basedir-spec/latest/>).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::CliError;

/// Our folder in the system's.
const FOLDER: &str = "at-functions";

/// The folders of this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// What is of use on this machine alone: sessions.
    pub(super) state: PathBuf,
    /// What is worth a copy: deployed modules.
    pub(super) data: PathBuf,
}

impl Home {
    /// By the environment; `None` where it names no place.
    pub(super) fn of_user() -> Option<Home> {
        Home::by(|name| std::env::var_os(name))
    }

    fn by(variable: impl Fn(&str) -> Option<OsString>) -> Option<Home> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(home) = set("AT_FUNCTIONS_HOME") {
            return Some(Home { state: home.clone(), data: home });
        }
        // The specification has relative paths ignored.
        let absolute = |name: &str| set(name).filter(|path| path.is_absolute());
        let usual = |below: &str| match () {
            () if cfg!(windows) => set("LOCALAPPDATA"),
            () if cfg!(target_os = "macos") => Some(set("HOME")?.join("Library/Application Support")),
            () => Some(set("HOME")?.join(below)),
        };
        let folder = |name: &str, below: &str| Some(absolute(name).or_else(|| usual(below))?.join(FOLDER));
        Some(Home {
            state: folder("XDG_STATE_HOME", ".local/state")?,
            data: folder("XDG_DATA_HOME", ".local/share")?,
        })
    }

    /// The folder in which `what` is kept, or what to set so that there is one.
    pub(super) fn required(home: Option<&Home>) -> Result<&Home, CliError> {
        home.ok_or_else(|| {
            CliError::setting("AT_FUNCTIONS_HOME", "set it, or HOME: nothing says where to keep things")
        })
    }

    /// Where sessions are.
    pub(super) fn accounts(&self) -> PathBuf {
        self.state.join("accounts")
    }

    /// Where deployed modules are.
    pub(super) fn deployed(&self) -> PathBuf {
        self.data.join("deployed")
    }
}

/// A DID as the name of a file: its colons and percent signs are not for every file system.
pub(super) fn file_name(did: &crate::identity::Did) -> String {
    did.as_str().replace([':', '%'], "_")
}

/// A path as people know it, for a message.
pub(super) fn shown(path: &Path) -> String {
    super::output::printable(&path.display().to_string())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn home(variables: &[(&str, &str)]) -> Option<Home> {
        Home::by(|name| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_variables_say_where_things_are_kept() {
        let at = |state: &str, data: &str| Some(Home { state: state.into(), data: data.into() });
        let usual = at("/home/a/.local/state/at-functions", "/home/a/.local/share/at-functions");
        type Variables<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Variables<'_>, Option<Home>); 6] = [
            (&[("HOME", "/home/a")], usual.clone()),
            (
                &[("HOME", "/home/a"), ("XDG_STATE_HOME", "/s")],
                at("/s/at-functions", "/home/a/.local/share/at-functions"),
            ),
            (&[("HOME", "/home/a"), ("XDG_STATE_HOME", "relative"), ("XDG_DATA_HOME", "")], usual),
            (&[("XDG_STATE_HOME", "/s"), ("XDG_DATA_HOME", "/d")], at("/s/at-functions", "/d/at-functions")),
            (&[("AT_FUNCTIONS_HOME", "/f"), ("XDG_STATE_HOME", "/s"), ("HOME", "/home/a")], at("/f", "/f")),
            (&[("XDG_STATE_HOME", "/s")], None),
        ];
        for (variables, expected) in cases {
            assert_eq!(home(variables), expected, "{variables:?}");
        }
    }
}
