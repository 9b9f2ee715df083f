//! Why there is no answer.

use std::time::Duration;

use super::url::BlockReason;

/// Why a request has no answer. Nothing in it names an address or a path of the operator's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// A redirect that does not say where to.
    #[error("the host redirects to no URL")]
    BadRedirect,
    /// The request, or a redirect, breaks a rule. Nothing was sent to the place it names.
    #[error("the URL may not be asked for: {0}")]
    Blocked(BlockReason),
    /// Too much is under way to this host, for this author, or in all.
    #[error("too many requests are waiting; try again")]
    Busy,
    /// The name servers say that the host's name has no address.
    #[error("the host does not exist")]
    NoSuchHost,
    /// The host asked to be left alone (429), now or before.
    #[error("the host limits its callers; try again in {} s", retry_after.as_secs().max(1))]
    RateLimited {
        /// How long from now.
        retry_after: Duration,
    },
    /// The answer was not complete in time.
    #[error("the host did not answer in time")]
    Timeout,
    /// The answer is longer than the budget.
    #[error("the answer is too large")]
    TooLarge,
    /// More redirects than may be followed.
    #[error("the host redirects too often")]
    TooManyRedirects,
    /// No connection, no TLS, or no HTTP.
    #[error("the host cannot be reached")]
    Unreachable,
}

/// Why the way out cannot be opened at start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The machine's name servers are not known.
    #[error("the system's DNS configuration cannot be read: {0}")]
    Dns(String),
    /// The machine's trusted certificates cannot be loaded.
    #[error("TLS cannot be set up (are CA certificates installed?): {0}")]
    Tls(String),
}
