//! The service: its parts, put together from the settings.

use std::sync::Arc;

use serde_json::Value;
use url::Url;

use crate::audit::{self, AuditLog, AuditLogConfig};
use crate::auth::{Verifier, VerifierConfig};
use crate::clock::Clock;
use crate::config::Config;
use crate::egress::{Egress, EgressConfig, Way};
use crate::idempotency::{self, Idempotency};
use crate::identity::{Hosting, Resolver, ResolverConfig, service_document, service_key};
use crate::memo::{self, Memo, MemoConfig};
use crate::policy::{Basis, Policies};
use crate::registry::Registry;
use crate::repo::RevFloor;
use crate::sandbox::Sandbox;
use crate::workers::{Stats, Store, StoreConfig, Workers, WorkersConfig};

use super::XrpcError;
use super::descriptors;
use super::isolation;
use super::issuers::ResolvedIssuers;
use super::limited::Gates;
use super::schemas::Checks;

/// Everything that a call passes through.
pub struct Service {
    pub(super) audit: AuditLog,
    pub(super) checks: Checks,
    pub(super) clock: Clock,
    pub(super) did_document: Value,
    pub(super) gates: Gates,
    pub(super) hosting: Hosting,
    /// Apart from that of callers: anybody can name any author, and must not use up what callers may have asked.
    pub(super) hosting_of_authors: Hosting,
    /// Calls that their callers name; absent where the operator keeps no answers.
    pub(super) idempotency: Option<Idempotency<XrpcError>>,
    pub(super) max_payload_bytes: usize,
    pub(super) memo: Memo,
    pub(super) policies: Arc<Policies>,
    pub(super) registry: Registry,
    revs: Arc<RevFloor>,
    pub(super) show_logs: bool,
    pub(super) verifier: Verifier,
    pub(super) workers: Workers,
}

impl Service {
    /// Puts the service together, with guests in threads of this process.
    pub fn start(config: &Config, clock: Clock) -> Result<Arc<Service>, StartError> {
        Service::start_with(config, clock, isolation::threads(config)?)
    }

    /// Puts the service together: reads the policy file, opens its data directory, makes or loads its key.
    /// Guests run in `sandbox`. Nothing listens yet.
    pub fn start_with(
        config: &Config,
        clock: Clock,
        sandbox: Arc<dyn Sandbox>,
    ) -> Result<Arc<Service>, StartError> {
        let policies = Policies::open(config.policy.as_deref(), Basis::of(config), clock.clone());
        let policies = Arc::new(policies.map_err(StartError::of)?);
        let key = service_key::load_or_create(&config.data_dir).map_err(StartError::of)?;
        let revs = Arc::new(RevFloor::open(&config.data_dir.join("revs.redb")).map_err(StartError::of)?);
        tokio::spawn(RevFloor::watch(Arc::downgrade(&revs)));
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
        let kept_outputs = MemoConfig {
            bytes: config.memo_cache_bytes,
            across_callers: config.memo_across_callers,
            engine: sandbox.fingerprint(),
        };
        let bounds = WorkersConfig::default();
        let workers = Workers::start(
            WorkersConfig {
                memory_budget_bytes: config.memory_budget_bytes,
                max_artifacts: bounds.max_artifacts.min(descriptors::for_artifacts()),
                ..bounds
            },
            sandbox,
            artifact_store(config, clock.clone()),
        );
        if config.policy.is_some() {
            tokio::spawn(Policies::watch(Arc::downgrade(&policies)));
        }
        let service_did = config.hostname.did().as_str();
        let audit = AuditLog::open(&audit_log(config), service_did, key.clone(), clock.clone());
        Ok(Arc::new(Service {
            audit: audit.map_err(StartError::of)?,
            checks: Checks::new(),
            clock: clock.clone(),
            did_document: service_document(
                config.hostname.did(),
                &config.service_id,
                &endpoint,
                &key.public(),
            ),
            gates: Gates::new(config),
            hosting: Hosting::new(to_repos.clone(), clock.clone()),
            hosting_of_authors: Hosting::new(to_repos.clone(), clock.clone()),
            idempotency: kept_answers(config, clock.clone())?,
            max_payload_bytes: config.max_payload_bytes,
            memo: Memo::new(kept_outputs, clock.clone()),
            policies,
            registry: Registry::new(
                resolver,
                to_repos,
                Arc::clone(&revs),
                clock,
                config.record_ttl,
                config.code_ttl,
            ),
            revs,
            show_logs: config.show_logs,
            verifier,
            workers,
        }))
    }
}

fn audit_log(config: &Config) -> AuditLogConfig {
    AuditLogConfig {
        data_dir: config.data_dir.clone(),
        rule: config.audit,
        max_bytes: config.audit_max_bytes,
        keep: config.audit_keep,
    }
}

/// Where answers are kept for callers who may ask for them again.
fn kept_answers(config: &Config, clock: Clock) -> Result<Option<Idempotency<XrpcError>>, StartError> {
    if config.idempotency_store_bytes == 0 {
        return Ok(None);
    }
    let limits = idempotency::Limits::of(config.idempotency_store_bytes);
    let store = idempotency::Store::open(&config.data_dir, limits, clock).map_err(StartError::of)?;
    Ok(Some(Idempotency::new(store)))
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
    /// Reads the policy file now, as a look that finds it changed does a little later. Says whether it is in force.
    pub async fn reload_policy(&self) -> bool {
        let policies = Arc::clone(&self.policies);
        tokio::task::spawn_blocking(move || policies.reload()).await.unwrap_or(false)
    }

    /// Whether the highest revisions of repos can be kept on disk now.
    pub fn keeps_revisions(&self) -> bool {
        self.revs.trouble().is_none()
    }

    /// What is kept on disk and cannot be written now, each with why.
    pub(super) fn unwritten(&self) -> impl Iterator<Item = String> {
        let of_answers = self.idempotency.as_ref().and_then(Idempotency::trouble);
        self.revs.trouble().into_iter().chain(of_answers)
    }

    /// The state of the audit log.
    pub fn audit_stats(&self) -> audit::Stats {
        self.audit.stats()
    }

    /// The state of the pool that runs guests.
    pub fn worker_stats(&self) -> Stats {
        self.workers.stats()
    }

    /// Outputs that are kept so that the same call need not run again.
    pub fn memo_stats(&self) -> memo::Stats {
        self.memo.stats()
    }

    /// What is kept for calls with an idempotency key; nothing where none are taken.
    pub fn kept_answers(&self) -> idempotency::Stats {
        self.idempotency.as_ref().map(Idempotency::stats).unwrap_or_default()
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
