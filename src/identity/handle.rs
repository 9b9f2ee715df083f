//! Handles: DNS names that point to a DID.

use std::fmt;
use std::sync::Arc;

use super::did::is_domain_name;

/// Top-level names that no handle may have (atproto.com/specs/handle). `.test` is for development.
const RESERVED_TLDS: [&str; 8] =
    ["alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion"];

/// A handle, in lower case. That it belongs to a DID is for the resolver to prove.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(Arc<str>);

impl Handle {
    /// Parses a handle, folding it to lower case.
    pub fn parse(text: &str) -> Result<Handle, InvalidHandle> {
        let lower = text.to_ascii_lowercase();
        let tld = lower.rsplit('.').next().unwrap_or_default();
        if !is_domain_name(&lower) {
            return Err(InvalidHandle::Syntax);
        }
        if RESERVED_TLDS.contains(&tld) {
            return Err(InvalidHandle::ReservedTld);
        }
        Ok(Handle(lower.into()))
    }

    /// The handle in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHandle {
    /// A name that can never resolve on the public network.
    #[error("handles under this top-level name never resolve")]
    ReservedTld,
    /// No domain name of two labels or more.
    #[error("a handle is a domain name such as alice.example.com")]
    Syntax,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_fold_to_lower_case() {
        assert_eq!(Handle::parse("Alice.Bsky.Social").unwrap().as_str(), "alice.bsky.social");
        assert_eq!(Handle::parse("8.cn").unwrap().as_str(), "8.cn");
    }

    #[test]
    fn names_that_are_no_handles_are_refused() {
        for text in
            ["", "alice", "alice..com", "alice.com.", "-a.com", "a_b.com", "a.b.0", "did:plc:x", "a.com/b"]
        {
            assert_eq!(Handle::parse(text), Err(InvalidHandle::Syntax), "{text}");
        }
        for text in ["alice.local", "alice.internal", "alice.onion", "alice.EXAMPLE"] {
            assert_eq!(Handle::parse(text), Err(InvalidHandle::ReservedTld), "{text}");
        }
    }
}
