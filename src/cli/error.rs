//! What can go wrong in a command, the exit code of each, and what the person should do.

use std::io;
use std::path::PathBuf;

use super::advice;
use super::output::{Exit, printable};
use crate::identity::service_key::ServiceKeyError;
use crate::lexicon::Authority;
use crate::repo::ProofError;

/// Characters of a server's own words that are shown: it may send any amount of them.
const SHOWN_CHARS: usize = 600;

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum CliError {
    /// A project's own build failed, or what it made cannot be used; the text says what to do.
    #[error("{0}")]
    Build(String),
    /// The person was asked and did not say yes.
    #[error("nothing was {0}")]
    Declined(&'static str),
    /// A session that was kept is over.
    #[error("the session of {who} at {host} has ended: `at-functions login --handle {who}`")]
    Ended { who: Authority, host: String },
    /// A login in the browser came to nothing; the text says why.
    #[error("{0}")]
    NotLoggedIn(String),
    /// A file that was named could not be used.
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A file of the commands' own could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// The service's key in a data directory could not be used.
    #[error(transparent)]
    Key(#[from] ServiceKeyError),
    /// The author's repo has no such record: its signature proves that too.
    #[error("{0}: there is no such record, as the author's signature proves")]
    Absent(String),
    /// Something that a flag, variable or file gave is wrong, or was needed and not given.
    #[error("{what}: {why}")]
    Setting { what: String, why: String },
    /// A server answered with an error of its own.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Guests cannot be compiled or run on this machine.
    #[error("cannot run functions here: {0}")]
    Sandbox(String),
    /// The runtime could not be started.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// No answer came.
    #[error("{host}: {why}")]
    Unreachable { host: String, why: Unreachable },
    /// A name that leads nowhere.
    #[error("{name}: {why}")]
    Unresolved { name: String, why: Unresolved },
    /// What a PDS sent as a signed record is not that.
    #[error("{host} sent a record that does not prove itself: {why}")]
    Unproved { host: String, why: ProofError },
    /// An answer came that is none of the protocol's.
    #[error("{host} gave an unusable answer: {why}")]
    Unusable { host: String, why: String },
}

/// Why no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreachable {
    #[error("no connection could be made")]
    Connect,
    #[error("the connection was lost before the answer was complete")]
    Lost,
    #[error("no answer came in time")]
    Timeout,
    #[error("the answer is longer than any that is expected")]
    TooLarge,
}

/// Why a handle, DID or service leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unresolved {
    #[error("no such account (the DID is not registered, or was deleted)")]
    Did,
    #[error("its DID document is damaged, or of another DID")]
    Document,
    #[error("nothing says which DID this handle belongs to")]
    Handle,
    #[error("the DID {0} does not claim this handle back")]
    HandleMismatch(String),
    #[error("its DID document has no #atproto key that can be used, so nothing in its repo can be proved")]
    Key,
    #[error("its DID document names no PDS that can be used (https, no path)")]
    Pds,
    #[error("the DID document has no such service with a usable endpoint (https, no path)")]
    Service,
}

/// An XRPC error: a status with `{error, message}` (<https://atproto.com/specs/xrpc>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Who answered: a host name.
    pub(super) host: String,
    /// HTTP status.
    pub(super) status: u16,
    /// The error's name; empty when the body had none.
    pub(super) name: String,
    /// What the server says about it; may be empty.
    pub(super) message: String,
}

impl std::error::Error for Refusal {}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.name.is_empty() { "error without a name" } else { &self.name };
        write!(f, "{} (HTTP {} from {})", shown(name), self.status, self.host)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", shown(&self.message)) }
    }
}

impl Refusal {
    pub(super) fn exit(&self) -> Exit {
        match self.status {
            // Not the network's fault: what came back did not prove itself, and will not next time.
            502 if self.name == "UnverifiedFunction" => Exit::Refused,
            429 | 502..=504 => Exit::Network,
            _ => Exit::Refused,
        }
    }
}

impl CliError {
    pub(super) fn setting(what: impl Into<String>, why: impl std::fmt::Display) -> CliError {
        CliError::Setting { what: what.into(), why: why.to_string() }
    }

    pub(super) fn exit(&self) -> Exit {
        match self {
            CliError::Absent(_)
            | CliError::Build(_)
            | CliError::Declined(_)
            | CliError::Ended { .. }
            | CliError::NotLoggedIn(_)
            | CliError::Unproved { .. }
            | CliError::Unresolved { .. } => Exit::Refused,
            CliError::File { .. } | CliError::Key(_) | CliError::Setting { .. } | CliError::Write { .. } => {
                Exit::Usage
            }
            CliError::Refused(refusal) => refusal.exit(),
            CliError::Runtime(_)
            | CliError::Sandbox(_)
            | CliError::Unreachable { .. }
            | CliError::Unusable { .. } => Exit::Network,
        }
    }

    /// What to do about it, where the message itself does not say.
    pub(super) fn advice(&self) -> Option<&'static str> {
        match self {
            CliError::Absent(_) => Some("Check the at-uri: `at-functions list AUTHOR` shows what there is."),
            CliError::Key(ServiceKeyError::Missing { .. }) => {
                Some("Check --data-dir; --create-key makes the key now.")
            }
            CliError::Unproved { .. } => {
                Some("It may be damaged or forged, and no service runs it: try again, then tell the author.")
            }
            CliError::Refused(refusal) => {
                advice::for_refusal(refusal.status, &refusal.name, &refusal.message)
            }
            CliError::Unreachable { .. } => {
                Some("Check the host's name and your connection, then try again.")
            }
            CliError::Unresolved { why, .. } => match why {
                Unresolved::Did => Some("Check the spelling of the DID, and --plc-url if you gave it."),
                Unresolved::Handle => Some(
                    "Check its spelling and your connection. --pds URL asks that PDS instead of DNS; a DID needs neither.",
                ),
                Unresolved::Key => Some("Tell the author: their account's DID document is broken."),
                Unresolved::HandleMismatch(_) => Some("Use the DID itself if you trust it."),
                Unresolved::Pds => Some("Give your own PDS with --pds URL or AT_FUNCTIONS_PDS."),
                Unresolved::Document | Unresolved::Service => Some(
                    "Check --service; `at-functions did check HOST` says what is wrong with a service's document.",
                ),
            },
            CliError::Unusable { .. } => {
                Some("Check that the address is that of a PDS or of an AT Functions service.")
            }
            _ => None,
        }
    }
}

/// A server's words, fit for a terminal.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", printable(&text[..end])),
        None => printable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, name: &str) -> Refusal {
        Refusal { host: "pds.test".into(), status, name: name.into(), message: "why".into() }
    }

    #[test]
    fn trouble_that_may_pass_has_an_exit_code_of_its_own() {
        let cases = [
            (400, "FunctionNotFound", Exit::Refused),
            (401, "AuthMissing", Exit::Refused),
            (403, "CallerBlocked", Exit::Refused),
            (413, "PayloadTooLarge", Exit::Refused),
            (429, "RateLimitExceeded", Exit::Network),
            (500, "InternalServerError", Exit::Refused),
            (501, "MethodNotImplemented", Exit::Refused),
            (502, "UpstreamFailure", Exit::Network),
            (502, "UnverifiedFunction", Exit::Refused),
            (503, "NotEnoughResources", Exit::Network),
            (504, "RepoTimeout", Exit::Network),
        ];
        for (status, name, exit) in cases {
            assert_eq!(CliError::from(refusal(status, name)).exit(), exit, "{status} {name}");
        }
    }

    #[test]
    fn a_refusal_shows_who_said_what() {
        assert_eq!(refusal(400, "InvalidInput").to_string(), "InvalidInput (HTTP 400 from pds.test): why");
        let bare = Refusal { name: String::new(), message: String::new(), ..refusal(418, "") };
        assert_eq!(bare.to_string(), "error without a name (HTTP 418 from pds.test)");
    }

    #[test]
    fn a_servers_words_cannot_drive_the_terminal_or_fill_it() {
        let hostile = Refusal { message: "\x1b]0;owned\x07\n\u{9b}2J".into(), ..refusal(400, "X\r") };
        assert_eq!(hostile.to_string(), r"X\u{d} (HTTP 400 from pds.test): \u{1b}]0;owned\u{7}\u{a}\u{9b}2J");
        assert_eq!(shown(&"é".repeat(10_000)).chars().count(), SHOWN_CHARS + 3);
    }
}
