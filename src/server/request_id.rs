//! The name of one request, in its log lines, its response header and its errors.

use std::fmt;

/// 16 hexadecimal digits, made at random for each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId(String);

impl RequestId {
    /// The header that carries it to direct callers.
    pub(super) const HEADER: &'static str = "x-request-id";

    /// A new one. It names, and protects nothing: where the machine has no randomness, it is zero.
    pub(super) fn random() -> RequestId {
        RequestId(format!("{:016x}", getrandom::u64().unwrap_or(0)))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
