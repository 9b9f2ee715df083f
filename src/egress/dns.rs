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

type Builder = hickory_resolver::ResolverBuilder<hickory_resolver::net::runtime::TokioRuntimeProvider>;

/// The machine's name servers.
pub(super) struct SystemDns {
    resolver: TokioResolver,
    /// Whether the machine's search domains apply, as they do to names of private networks.
    /// Otherwise a public name could be completed to one inside the operator's network.
    search: bool,
}

impl SystemDns {
    pub(super) fn new(search: bool) -> Result<SystemDns, StartError> {
        let builder = TokioResolver::builder_tokio().map_err(|error| StartError::Dns(error.to_string()))?;
        SystemDns::with_builder(builder, search)
    }

    fn with_builder(mut builder: Builder, search: bool) -> Result<SystemDns, StartError> {
        let options = builder.options_mut();
        options.timeout = TIMEOUT;
        options.attempts = 1;
        options.positive_max_ttl = Some(LONGEST_TTL);
        options.negative_max_ttl = Some(LONGEST_NEGATIVE_TTL);
        options.max_active_requests = 512;
        let resolver = builder.build().map_err(|error| StartError::Dns(error.to_string()))?;
        Ok(SystemDns { resolver, search })
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

#[cfg(test)]
mod tests {
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{A, CNAME, TXT};
    use hickory_resolver::proto::rr::{Name, Record, RecordType};
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server on loopback, asked as the machine's would be.
    async fn dns() -> SystemDns {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let answer = answer(&Message::from_vec(&buffer[..length]).unwrap());
                socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
            }
        });
        let mut connection = ConnectionConfig::udp();
        connection.port = address.port();
        let mut server = NameServerConfig::udp(address.ip());
        server.connections = vec![connection];
        let mut config = ResolverConfig::from_name_servers(vec![server]);
        config.add_search(Name::from_ascii("office.com.").unwrap());
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        SystemDns::with_builder(builder, false).unwrap()
    }

    fn answer(question: &Message) -> Message {
        let query = &question.queries[0];
        let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
        answer.add_query(query.clone());
        let mut add = |name: &Name, data| answer.answers.push(Record::from_rdata(name.clone(), 60, data));
        let text = |parts: &[&str]| RData::TXT(TXT::new(parts.iter().map(|&part| part.into()).collect()));
        match (query.name().to_ascii().as_str(), query.query_type()) {
            ("a.com.", RecordType::A) => add(query.name(), RData::A(A::new(192, 0, 2, 7))),
            ("_atproto.a.com.", RecordType::TXT) => {
                add(query.name(), text(&["did=did:plc:", "abc"]));
                add(query.name(), text(&["other"]));
            }
            ("_atproto.alias.com.", RecordType::TXT) => {
                let target = Name::from_ascii("_atproto.a.com.").unwrap();
                add(query.name(), RData::CNAME(CNAME(target.clone())));
                add(&target, text(&["did=did:web:a.com"]));
            }
            // What a search domain would complete a name to.
            ("gone.com.office.com.", RecordType::A) => add(query.name(), RData::A(A::new(10, 0, 0, 1))),
            ("broken.com." | "_atproto.broken.com.", _) => {
                answer.metadata.response_code = ResponseCode::ServFail;
            }
            ("a.com.", _) => {}
            _ => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        answer
    }

    #[tokio::test]
    async fn names_have_addresses_or_none_or_nobody_knows() {
        let dns = dns().await;
        assert_eq!(dns.addresses("a.com").await, Ok(vec!["192.0.2.7".parse().unwrap()]));
        assert_eq!(dns.addresses("gone.com").await, Err(LookupError::NoSuchName));
        assert_eq!(dns.addresses("broken.com").await, Err(LookupError::Failed));
    }

    #[tokio::test]
    async fn text_records_are_joined_each_and_their_absence_is_no_error() {
        let dns = dns().await;
        assert_eq!(dns.txt("_atproto.a.com").await, Ok(vec!["did=did:plc:abc".into(), "other".into()]));
        assert_eq!(dns.txt("_atproto.alias.com").await, Ok(vec!["did=did:web:a.com".into()]));
        assert_eq!(dns.txt("_atproto.gone.com").await, Ok(vec![]));
        assert_eq!(dns.txt("_atproto.broken.com").await, Err(LookupError::Failed));
        assert_eq!(dns.txt(&"a".repeat(300)).await, Err(LookupError::Failed));
    }
}
