//! How a compile ended, for the metrics.

use crate::sandbox::{CompileError, Compiled};

/// How a compile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompileEnd {
    /// There was no room for it in the sandbox.
    Busy,
    /// There is an artifact.
    Compiled,
    /// The compiler failed for a reason of its own.
    Lost,
    /// The module breaks a rule.
    Refused,
}

impl CompileEnd {
    /// All there are.
    pub const ALL: [CompileEnd; 4] =
        [CompileEnd::Busy, CompileEnd::Compiled, CompileEnd::Lost, CompileEnd::Refused];

    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            CompileEnd::Busy => "busy",
            CompileEnd::Compiled => "compiled",
            CompileEnd::Lost => "lost",
            CompileEnd::Refused => "refused",
        }
    }

    pub(super) fn of(compiled: &Result<Compiled, CompileError>) -> CompileEnd {
        match compiled {
            Ok(_) => CompileEnd::Compiled,
            Err(CompileError::Busy) => CompileEnd::Busy,
            Err(CompileError::Lost) => CompileEnd::Lost,
            Err(CompileError::Refused(_)) => CompileEnd::Refused,
        }
    }
}
