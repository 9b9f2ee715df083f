//! The service: its parts, put together from the settings.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::auth::{Verifier, VerifierConfig};
use crate::clock::Clock;
use crate::config::{Config, UndeclaredReads};
use crate::egress::{Egress, EgressConfig, Way};
use crate::identity::{Resolver, ResolverConfig, service_document, service_key};
use crate::policy::Policy;
use crate::registry::Registry;
use crate::repo::RevFloor;
use crate::sandbox::Sandbox;
use crate::workers::{Stats, Store, StoreConfig, Workers, WorkersConfig};

use super::isolation;
use super::issuers::ResolvedIssuers;
use super::schemas::Checks;

/// Everything that a call passes through.
pub struct Service {
    pub(super) checks: Checks,
    pub(super) clock: Clock,
    pub(super) did_document: Value,
    pub(super) max_duration: Duration,
    pub(super) max_memory_mb: u16,
    pub(super) max_payload_bytes: usize,
    pub(super) policy: Policy,
    pub(super) registry: Registry,
    pub(super) show_logs: bool,
    pub(super) undeclared_reads: UndeclaredReads,
    pub(super) verifier: Verifier,
    pub(super) workers: Workers,
}

impl Service {
    /// Puts the service together, with guests in threads of this process.
    pub fn start(config: &Config, clock: Clock) -> Result<Arc<Service>, StartError> {
        Service::start_with(config, clock, isolation::threads(config)?)
    }

    /// Puts the service together: opens its data directory, makes or loads its key. Guests run in
    /// `sandbox`. Nothing listens yet.
    pub fn start_with(
        config: &Config,
        clock: Clock,
        sandbox: Arc<dyn Sandbox>,
    ) -> Result<Arc<Service>, StartError> {
        let key = service_key::load_or_create(&config.data_dir).map_err(StartError::of)?;
        let revs = RevFloor::open(&config.data_dir.join("revs.redb")).map_err(StartError::of)?;
        // Two ways out, so that what authors' hosts do to the one (their queues, their wish to be left
        // alone, a DID document that names the PLC directory as its PDS) does not reach the other.
        let way_out = EgressConfig { allow_private_network: config.allow_private_network };
        let to_identities = Egress::new(way_out).map_err(StartError::of)?.counted_as(Way::Identities);
        let to_repos = Egress::new(way_out).map_err(StartError::of)?.counted_as(Way::Repos);
        let resolver = Arc::new(Resolver::new(
            ResolverConfig {
                plc_url: config.plc_url.clone(),
                handle_resolver: config.handle_resolver.clone(),
                allow_localhost: config.allow_private_network,
            },
            to_identities,
            clock.clone(),
        ));
        let endpoint = Url::parse(&config.hostname.origin()).map_err(StartError::of)?;
        let mut replay_secret = [0; 32];
        getrandom::fill(&mut replay_secret)
            .map_err(|_| StartError::of("the machine's random source failed"))?;
        let verifier = Verifier::new(
            VerifierConfig::new(config.hostname.did().clone(), config.service_id.as_str(), replay_secret),
            Arc::new(ResolvedIssuers(Arc::clone(&resolver))),
            clock.clone(),
        );
        let workers = Workers::start(
            WorkersConfig { memory_budget_bytes: config.memory_budget_bytes, ..WorkersConfig::default() },
            sandbox,
            artifact_store(config, clock.clone()),
        );
        Ok(Arc::new(Service {
            checks: Checks::new(),
            clock: clock.clone(),
            did_document: service_document(
                config.hostname.did(),
                &config.service_id,
                &endpoint,
                &key.public(),
            ),
            max_duration: config.max_duration,
            max_memory_mb: config.max_memory_mb,
            max_payload_bytes: config.max_payload_bytes,
            policy: Policy::new(config.anonymous),
            registry: Registry::new(
                resolver,
                to_repos,
                Arc::new(revs),
                clock,
                config.record_ttl,
                config.code_ttl,
            ),
            show_logs: config.show_logs,
            undeclared_reads: config.undeclared_reads,
            verifier,
            workers,
        }))
    }
}

/// Where compiled modules are kept. The service can do without, so what is wrong is told and no more.
fn artifact_store(config: &Config, clock: Clock) -> Option<Store> {
    if config.artifact_cache_bytes == 0 {
        return None;
    }
    let store = Store::open(StoreConfig::new(&config.data_dir, config.artifact_cache_bytes), clock);
    store.inspect_err(|error| tracing::warn!("{error}; each is compiled again after a restart")).ok()
}

impl Service {
    /// The state of the pool that runs guests.
    pub fn worker_stats(&self) -> Stats {
        self.workers.stats()
    }
}

/// Why the service did not start.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl StartError {
    pub(super) fn of(error: impl std::fmt::Display) -> StartError {
        StartError(error.to_string())
    }
}
