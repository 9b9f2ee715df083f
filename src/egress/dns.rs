//! Names to addresses, through the rule on addresses.
//!
//! The HTTP client asks here each time it connects and connects to what it is told, so there is
//! no second look-up that could answer differently (DNS rebinding).

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::RData;

use super::address::Addresses;
use super::{EgressError, StartError};

/// Two servers' turns fit into the 3 s that resolving an identity may take.
const TIMEOUT: Duration = Duration::from_millis(1400);
/// An answer is asked for again after five minutes, whatever its server says, and its absence after half a minute.
const LONGEST_TTL: Duration = Duration::from_secs(300);
const LONGEST_NEGATIVE_TTL: Duration = Duration::from_secs(30);
/// A name may have hundreds of addresses; these many are tried.
const MAX_ADDRESSES: usize = 8;

pub(super) type Answer<T> = Pin<Box<dyn Future<Output = Result<Vec<T>, LookupError>> + Send>>;

/// Whoever answers questions about names.
pub(crate) trait Lookup: Send + Sync + 'static {
    /// The addresses of a name, unfiltered.
    fn addresses(&self, name: &str) -> Answer<IpAddr>;
    /// The TXT records of a name, each with its parts joined. None is no error.
    fn txt(&self, name: &str) -> Answer<String>;
}

/// Why a name has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LookupError {
    /// The name exists for nobody, or has nothing of the kind asked for.
    #[error("the name has no address")]
    NoSuchName,
    /// No server answered in time or sense.
    #[error("no answer from the name servers")]
    Failed,
}

impl From<LookupError> for EgressError {
    fn from(error: LookupError) -> EgressError {
        match error {
            LookupError::NoSuchName => EgressError::NoSuchHost,
            LookupError::Failed => EgressError::Unreachable,
        }
    }
}

/// The machine's name servers.
pub(super) struct SystemDns {
    resolver: TokioResolver,
    /// Whether the machine's search domains apply, as they do to names of private networks.
    /// Otherwise a public name could be completed to one inside the operator's network.
    search: bool,
}

impl SystemDns {
    pub(super) fn new(search: bool) -> Result<SystemDns, StartError> {
        let start = |error: NetError| StartError::Dns(error.to_string());
        let mut builder = TokioResolver::builder_tokio().map_err(start)?;
        let options = builder.options_mut();
        options.timeout = TIMEOUT;
        options.attempts = 1;
        options.positive_max_ttl = Some(LONGEST_TTL);
        options.negative_max_ttl = Some(LONGEST_NEGATIVE_TTL);
        options.max_active_requests = 512;
        Ok(SystemDns { resolver: builder.build().map_err(start)?, search })
    }

    fn qualify(&self, name: &str) -> String {
        if self.search { name.to_owned() } else { format!("{name}.") }
    }
}

impl Lookup for SystemDns {
    fn addresses(&self, name: &str) -> Answer<IpAddr> {
        let (resolver, name) = (self.resolver.clone(), self.qualify(name));
        Box::pin(async move {
            let found = resolver.lookup_ip(name).await.map_err(|error| judge(&error))?;
            Ok(found.iter().collect())
        })
    }

    fn txt(&self, name: &str) -> Answer<String> {
        let (resolver, name) = (self.resolver.clone(), self.qualify(name));
        Box::pin(async move {
            match resolver.txt_lookup(name).await {
                Ok(found) => Ok(found.answers().iter().filter_map(|record| text_of(&record.data)).collect()),
                Err(error) if error.is_no_records_found() => Ok(Vec::new()),
                Err(error) => Err(judge(&error)),
            }
        })
    }
}

fn judge(error: &NetError) -> LookupError {
    if error.is_no_records_found() { LookupError::NoSuchName } else { LookupError::Failed }
}

fn text_of(data: &RData) -> Option<String> {
    match data {
        RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        _ => None,
    }
}

/// A name all of whose addresses are refused. Travels inside the HTTP client's error.
#[derive(Debug, thiserror::Error)]
#[error("the name has no address that may be connected to")]
pub(super) struct NoAllowedAddress;

/// What the HTTP client asks for addresses.
///
/// From an answer that mixes allowed and refused addresses the refused ones are dropped: only what
/// is returned here is ever connected to, and a public host may well have an internal address beside
/// its public one.
pub(super) struct FilteringResolver {
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) addresses: Addresses,
}

impl reqwest::dns::Resolve for FilteringResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let answer = self.lookup.addresses(name.as_str());
        let addresses = self.addresses.clone();
        Box::pin(async move {
            let found = answer.await?;
            if found.is_empty() {
                return Err(LookupError::NoSuchName.into());
            }
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| addresses.allow(*address))
                .take(MAX_ADDRESSES)
                // The client puts the URL's port, or its scheme's, in the place of 0.
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            if allowed.is_empty() {
                return Err(NoAllowedAddress.into());
            }
            Ok(Box::new(allowed.into_iter()) as reqwest::dns::Addrs)
        })
    }
}
