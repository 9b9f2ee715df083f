//! From a DID to its document, and from a handle to its DID.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::cache::{Ages, Cache, Want};
use super::handles;
use super::service::web_origin;
use super::{Did, DidDocument, DidMethod, Handle, IdentityError, InvalidDocument};
use crate::clock::Clock;
use crate::egress::{BlockReason, Egress, EgressError, Gate, GateLimits, Get, Redirects};

/// The reference gives a resolution 3 s, and so leaves time for the call within a PDS's 10 s.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long one may wait for its turn before that.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Documents of accounts have one or two KiB.
const MAX_BYTES: usize = 64 * 1024;
const ACCEPT: &str = "application/did+ld+json, application/json";

/// What the documents of some fifty thousand accounts need.
const DOCUMENTS_BYTES: u64 = 32 * 1024 * 1024;
const HANDLES_BYTES: u64 = 8 * 1024 * 1024;

const DOCUMENT_AGES: Ages = Ages {
    fresh: Duration::from_secs(3600),
    stale: Duration::from_secs(24 * 3600),
    refused: Duration::from_secs(30),
    trouble: Duration::from_secs(10),
    between_refreshes: Duration::from_secs(10),
};

/// A handle says whose code is run. It may move to another account, so it is looked up more often.
const HANDLE_AGES: Ages =
    Ages { fresh: Duration::from_secs(600), stale: Duration::from_secs(3600), ..DOCUMENT_AGES };

/// Fetches from hosts that identities themselves name. They stand apart from the PLC directory's queue
/// and are fair between sites, so that slow hosts delay neither the directory nor each other's.
const WEB_LIMITS: GateLimits = GateLimits { places: 64, lane_places: 16, queue: 512, lane_queue: 64 };

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct ResolverConfig {
    /// The PLC directory.
    pub plc_url: Url,
    /// A service with `com.atproto.identity.resolveHandle` that is asked instead of the DNS and the handle's host.
    pub handle_resolver: Option<Url>,
    /// Takes `did:web:localhost` and hosts without TLS, for development.
    pub allow_localhost: bool,
}

/// Resolves and remembers identities. Share it in an `Arc`.
pub struct Resolver {
    documents: Cache<Did, Arc<DidDocument>>,
    handles: Cache<Handle, Did>,
    source: Arc<Source>,
}

impl Resolver {
    /// A resolver that knows nothing yet.
    pub fn new(config: ResolverConfig, egress: Egress, clock: Clock) -> Resolver {
        Resolver::with_web(config, egress, clock, Web::Https)
    }

    fn with_web(config: ResolverConfig, egress: Egress, clock: Clock, web: Web) -> Resolver {
        let weigh_document = |_: &Did, document: &Arc<DidDocument>| document.weight();
        let weigh_handle = |handle: &Handle, did: &Did| 256 + handle.as_str().len() + did.as_str().len();
        let source = Source { config, egress, web, sites: Gate::new(WEB_LIMITS) };
        Resolver {
            documents: Cache::new("document", DOCUMENTS_BYTES, weigh_document, DOCUMENT_AGES, clock.clone()),
            handles: Cache::new("handle", HANDLES_BYTES, weigh_handle, HANDLE_AGES, clock),
            source: Arc::new(source),
        }
    }

    /// The DID's document: at most an hour old, or up to a day while a newer one is fetched or cannot be
    /// had.
    pub async fn document(&self, did: &Did) -> Result<Arc<DidDocument>, IdentityError> {
        self.fetch_document(did, Want::Known).await
    }

    /// Whether [`Resolver::document`] would answer without asking anybody.
    pub async fn knows(&self, did: &Did) -> bool {
        self.documents.knows(did).await
    }

    /// Whether it is known, without asking anybody, which DID the handle points to.
    pub async fn knows_handle(&self, handle: &Handle) -> bool {
        self.handles.knows(handle).await
    }

    /// The DID's document as it is now, because the known one did not fit.
    ///
    /// Anybody can cause this in anybody's name, so at most one fetch is made for a DID in ten seconds;
    /// in between, the outcome of the last one is the answer.
    pub async fn refresh(&self, did: &Did) -> Result<Arc<DidDocument>, IdentityError> {
        self.fetch_document(did, Want::Newer).await
    }

    /// The DID that the handle points to and that points back to it.
    pub async fn handle(&self, handle: &Handle) -> Result<Did, IdentityError> {
        let did = self.pointed_to(handle, Want::Known).await?;
        if self.points_back(&did, handle).await? {
            return Ok(did);
        }
        // The handle may have moved to another account since it was looked up.
        let now = self.pointed_to(handle, Want::Newer).await?;
        if now != did && self.points_back(&now, handle).await? {
            Ok(now)
        } else {
            Err(IdentityError::HandleMismatch)
        }
    }

    async fn pointed_to(&self, handle: &Handle, want: Want) -> Result<Did, IdentityError> {
        let source = Arc::clone(&self.source);
        let name = handle.clone();
        self.handles.get(handle, want, async move { source.handle(&name).await }).await
    }

    async fn points_back(&self, did: &Did, handle: &Handle) -> Result<bool, IdentityError> {
        let names = |document: &Arc<DidDocument>| document.handle.as_ref() == Some(handle);
        // The document that is known may be from before the account took the handle.
        Ok(names(&self.document(did).await?) || names(&self.refresh(did).await?))
    }

    async fn fetch_document(&self, did: &Did, want: Want) -> Result<Arc<DidDocument>, IdentityError> {
        let source = Arc::clone(&self.source);
        let name = did.clone();
        self.documents.get(did, want, async move { source.document(&name).await.map(Arc::new) }).await
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("config", &self.source.config).finish_non_exhaustive()
    }
}

/// Where answers come from.
struct Source {
    config: ResolverConfig,
    egress: Egress,
    web: Web,
    sites: Arc<Gate<Box<str>>>,
}

impl Source {
    async fn document(&self, did: &Did) -> Result<DidDocument, IdentityError> {
        let json = match did.method() {
            DidMethod::Plc => self.fetch(did, &self.plc_url(did)?).await?,
            DidMethod::Web { host, port } => {
                let url = self.web_url(host, port)?;
                let _turn = self.turn(host).await?;
                self.fetch(did, &url).await?
            }
        };
        let mut document = DidDocument::parse(did, &json)?;
        if !self.config.allow_localhost {
            document.pds = document.pds.filter(|pds| pds.scheme() == "https");
        }
        Ok(document)
    }

    async fn handle(&self, handle: &Handle) -> Result<Did, IdentityError> {
        match &self.config.handle_resolver {
            Some(service) => handles::by_service(&self.egress, service, handle).await,
            None => {
                let _turn = self.turn(handle.as_str()).await?;
                handles::by_dns_or_https(&self.egress, self.web, handle).await
            }
        }
    }

    async fn fetch(&self, did: &Did, url: &Url) -> Result<bytes::Bytes, IdentityError> {
        let request = Get {
            url,
            accept: ACCEPT,
            max_bytes: MAX_BYTES,
            timeout: TIMEOUT,
            // A redirect would let another host speak for the DID's.
            redirects: Redirects::None,
            // Each DID is a lane of its own: there is never more than one fetch for it.
            for_author: Some(did),
            rationed: false,
        };
        let response = self.egress.get(request).await.map_err(|error| match error {
            EgressError::TooLarge => InvalidDocument::TooLarge.into(),
            other => IdentityError::from(other),
        })?;
        match response.status {
            200 => Ok(response.body),
            // PLC says either for one that is tombstoned (did-method-plc's server, its OpenAPI file).
            404 | 410 => Err(IdentityError::NotFound),
            status => Err(IdentityError::Status(status)),
        }
    }

    /// Source: <https://web.plc.directory/spec/v0.1/did-plc#did-resolution>.
    fn plc_url(&self, did: &Did) -> Result<Url, IdentityError> {
        let mut url = self.config.plc_url.clone();
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().push(did.as_str()),
            Err(()) => return Err(blocked(BlockReason::Scheme)),
        };
        Ok(url)
    }

    /// Source: <https://w3c-ccg.github.io/did-method-web/#read-resolve>.
    fn web_url(&self, host: &str, port: Option<u16>) -> Result<Url, IdentityError> {
        let origin = match (host, port) {
            ("localhost", _) if !self.config.allow_localhost => return Err(blocked(BlockReason::Host)),
            ("localhost", _) => web_origin(host, port),
            _ => self.web.origin(host),
        };
        Url::parse(&format!("{origin}/.well-known/did.json")).map_err(|_| blocked(BlockReason::Host))
    }

    /// Waits for this host's turn among the sites.
    async fn turn(&self, host: &str) -> Result<impl Sized + use<>, IdentityError> {
        let entered = tokio::time::timeout(LONGEST_WAIT, self.sites.enter(site(host).into())).await;
        entered.map_err(|_| IdentityError::Busy)?.map_err(|_| IdentityError::Busy)
    }
}

fn blocked(reason: BlockReason) -> IdentityError {
    IdentityError::Unreachable(EgressError::Blocked(reason))
}

/// The last two labels of a host: who owns one such name owns all hosts below it, mostly. Where many
/// owners share one (`github.io`), they share a lane, which is a quarter of what there is.
fn site(host: &str) -> &str {
    host.rmatch_indices('.').nth(1).map_or(host, |(dot, _)| &host[dot + 1..])
}

/// Where the web server of a host is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Web {
    /// Behind TLS, on the port for it.
    Https,
    /// On one port of loopback, where tests keep all hosts.
    #[cfg(test)]
    Test { port: u16 },
}

impl Web {
    pub(super) fn origin(self, host: &str) -> String {
        match self {
            Web::Https => web_origin(host, None),
            #[cfg(test)]
            Web::Test { port } => format!("http://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests;
