//! The only way out to the network.
//!
//! In: a URL with budgets of time and bytes. Out: a bounded answer, or why there is none.
//! Never: reach an address that is not public unicast (unless the operator lifted that for
//! development), follow a redirect unchecked, or use a proxy or cookie.
//!
//! The walls, in the order in which a request meets them: the URL (`url`), the target host's queue
//! and its wish to be left alone (`hosts`, `gate`), the addresses that its name resolves to, at each
//! connect (`dns`, `address`), the address that really answered and the size of what it says (`client`).

mod address;
mod budget;
mod client;
mod counted;
mod dns;
mod error;
mod gate;
mod hosts;
mod memory;
mod url;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ::url::Url;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use self::client::{Hop, HttpClient};
use self::counted::Counted;
use self::dns::{Lookup, SystemDns};
use self::hosts::{HostLimits, Hosts};
use self::url::Rules;
use crate::identity::Did;

pub(crate) use self::budget::Budgets;
pub use self::counted::{Ended, Way};
pub use self::error::{EgressError, StartError};
pub(crate) use self::gate::{Gate, GateLimits, Place};
pub use self::url::BlockReason;

/// No exchange goes on for longer, whatever its caller says.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(600);
/// How long a question for TXT records may take, and how many may be open.
const TXT_TIMEOUT: Duration = Duration::from_secs(3);
const TXT_AT_ONCE: usize = 256;

/// What the operator decides about the way out.
#[derive(Clone, Copy, Debug, Default)]
pub struct EgressConfig {
    /// Lifts the rules on addresses and names, and allows plain http: for development and tests.
    pub allow_private_network: bool,
}

/// The way out. Cheap to clone; all clones share its queues.
#[derive(Clone)]
pub struct Egress(Arc<Parts>, Option<Way>);

struct Parts {
    rules: Rules,
    client: HttpClient,
    lookup: Arc<dyn Lookup>,
    hosts: Hosts,
    questions: Semaphore,
}

/// A GET request with its budgets.
#[derive(Clone, Copy, Debug)]
pub struct Get<'a> {
    /// What to ask for.
    pub url: &'a Url,
    /// The `Accept` header.
    pub accept: &'static str,
    /// The longest body of a 2xx answer, after decompression.
    pub max_bytes: usize,
    /// For the whole exchange: waiting for the host's turn, all redirects, the last byte.
    pub timeout: Duration,
    /// Whether redirects are followed.
    pub redirects: Redirects,
    /// For whom this is, among those who wait for the same host.
    pub for_author: Option<&'a Did>,
    /// Whether it counts against what one author's functions may ask a host: what they choose to read
    /// does. Where a redirect leads always does.
    pub rationed: bool,
}

/// What to do about redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// A redirect is an answer like any other.
    None,
    /// At most so many are followed, each checked like a request of its own.
    Follow(u8),
}

/// An answer of any status but 429.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The `Content-Type` header, where it is text.
    pub content_type: Option<String>,
    /// The body, decompressed: all of it for a 2xx status, at most its first 16 KiB for others.
    pub body: Bytes,
}

impl Response {
    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Egress {
    /// Opens the way out with the machine's name servers and trusted certificates.
    pub fn new(config: EgressConfig) -> Result<Egress, StartError> {
        let rules = if config.allow_private_network { Rules::private_network() } else { Rules::public() };
        let dns = SystemDns::new(config.allow_private_network)?;
        Egress::with_parts(rules, Arc::new(dns), HostLimits::default())
    }

    fn with_parts(rules: Rules, lookup: Arc<dyn Lookup>, limits: HostLimits) -> Result<Egress, StartError> {
        let client = HttpClient::new(&rules, Arc::clone(&lookup))?;
        let (hosts, questions) = (Hosts::new(limits), Semaphore::new(TXT_AT_ONCE));
        Ok(Egress(Arc::new(Parts { rules, client, lookup, hosts, questions }), None))
    }

    /// The same, with its requests counted in the metrics as being for `way`.
    pub fn counted_as(self, way: Way) -> Egress {
        Egress(self.0, Some(way))
    }

    /// Sends a GET request and reads the answer, within its budgets.
    ///
    /// A 429 is answered with [`EgressError::RateLimited`], and so is, at once, every request to that
    /// host until it may be asked again.
    pub async fn get(&self, request: Get<'_>) -> Result<Response, EgressError> {
        let counted = Counted::begin(self.1);
        let answer = self.ask(request).await;
        counted.end(&answer);
        answer
    }

    async fn ask(&self, request: Get<'_>) -> Result<Response, EgressError> {
        let deadline = Instant::now() + request.timeout.min(LONGEST_EXCHANGE);
        self.0.rules.check(request.url).map_err(EgressError::Blocked)?;
        let mut url = request.url.clone();
        let (follow, mut left) = match request.redirects {
            Redirects::None => (false, 0),
            Redirects::Follow(most) => (true, most),
        };
        let (mut waited, mut rationed) = (Duration::ZERO, request.rationed);
        loop {
            if let Some(author) = request.for_author.filter(|_| rationed) {
                self.0.hosts.ration(&url, author)?;
            }
            // Each hop waits for its own host; a slot is never held while waiting for another.
            let began = Instant::now();
            let admission = self.0.hosts.admit(&url, request.for_author, deadline).await?;
            waited += began.elapsed();
            let hop = self.0.client.hop(&url, &request, follow);
            // Not the host's fault where it had less time than our own queue: who fills that must not
            // have others believe that the host does not answer.
            let late =
                |_| if waited * 2 > request.timeout { EgressError::Busy } else { EgressError::Timeout };
            let next = match timeout_at(deadline, hop).await.map_err(late)?? {
                Hop::Answer(response) => return Ok(response),
                Hop::Redirect(next) => next,
                Hop::RateLimited(wish) => {
                    let retry_after = self.0.hosts.leave_alone(&admission, wish, Instant::now());
                    return Err(EgressError::RateLimited { retry_after });
                }
            };
            drop(admission);
            left = left.checked_sub(1).ok_or(EgressError::TooManyRedirects)?;
            self.0.rules.check_redirect(&url, &next).map_err(EgressError::Blocked)?;
            (url, rationed) = (next, true);
        }
    }

    /// The TXT records of a name, one `String` a record. No record is an empty list.
    pub async fn txt(&self, name: &str) -> Result<Vec<String>, EgressError> {
        let _open = self.0.questions.try_acquire().map_err(|_| EgressError::Busy)?;
        let answer = tokio::time::timeout(TXT_TIMEOUT, self.0.lookup.txt(name)).await;
        Ok(answer.map_err(|_| EgressError::Timeout)??)
    }
}
