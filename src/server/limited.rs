//! Limits around a call: who it is charged to, and what its caller is told of what is left.
//!
//! The headers are those of the reference PDS (`rate-limiter-http.ts`). They reach direct callers only: a
//! PDS passes on none but `Retry-After`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use crate::config::Config;
use crate::policy::limits::{Admitted, Exceeded, Limits, Quota, Rates, TrustedProxies, Who, one_holder};
use crate::policy::{Caller, Policy};
use crate::registry::Function;
use crate::telemetry;

use super::XrpcError;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The headers that [`tell`] sets.
pub(super) const HEADERS: [HeaderName; 4] = [LIMIT, REMAINING, RESET, POLICY];

/// The other end of a connection, among a request's extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// The limits as the operator set them, with who has used how much of each.
pub(super) struct Gates {
    limits: Limits,
    rates: Rates,
    trusted_proxies: TrustedProxies,
}

impl Gates {
    pub(super) fn new(config: &Config) -> Gates {
        let limits = Limits::new(Instant::now());
        Gates { limits, rates: config.rates, trusted_proxies: config.trusted_proxies.clone() }
    }

    /// Charges a call to its caller, of whose PDS `host` is the name where that PDS confirmed it.
    pub(super) fn admit(
        &self,
        caller: &Caller,
        host: Option<&str>,
        head: &Parts,
    ) -> Result<Admitted, XrpcError> {
        let who = match caller {
            Caller::Verified(did) => Who::Caller { did: did.did().as_str(), host },
            Caller::Anonymous => Who::Address(self.address(head)),
        };
        self.limits.admit(&self.rates, who, Instant::now()).map_err(counted)
    }

    /// Charges a call that its caller may make to the function and its author.
    pub(super) fn admit_to(&self, policy: &Policy, function: &Function) -> Result<Admitted, XrpcError> {
        let author = function.author.as_str();
        let name = (author, function.rkey.as_str());
        let rates = policy.call_rates(&function.author, &function.rkey);
        self.limits.admit_to(&rates, author, &name, Instant::now()).map_err(counted)
    }

    /// Whose turn it is when a run of this caller has to wait.
    pub(super) fn party(&self, caller: &Caller, head: &Parts) -> Arc<str> {
        match caller {
            Caller::Verified(did) => did.did().as_str().into(),
            Caller::Anonymous => one_holder(self.address(head)).to_string().into(),
        }
    }

    /// Where a request came from. What came over no connection of ours counts as one sender.
    fn address(&self, head: &Parts) -> IpAddr {
        let peer = head.extensions.get().map_or(Ipv4Addr::UNSPECIFIED.into(), |Peer(address)| *address);
        let said: Vec<&str> =
            // What is no text is no address either, and ends what is believed.
            head.headers.get_all("x-forwarded-for").iter().map(|value| value.to_str().unwrap_or("")).collect();
        self.trusted_proxies.client(peer, said.into_iter())
    }
}

fn counted(exceeded: Exceeded) -> XrpcError {
    telemetry::count_limited(exceeded.kind, exceeded.at_once);
    exceeded.into()
}

/// Tells what is left; `now` counts from the Unix epoch.
pub(super) fn tell(response: &mut Response, quota: Option<Quota>, now: Duration) {
    let Some(quota) = quota else { return };
    let whole_seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let policy = format!("{};w={}", quota.burst, whole_seconds(quota.window));
    let headers = response.headers_mut();
    headers.insert(LIMIT, quota.burst.into());
    headers.insert(REMAINING, quota.remaining.into());
    headers.insert(RESET, whole_seconds(now + quota.full_in).into());
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(POLICY, policy);
    }
}
