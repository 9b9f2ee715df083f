//! The service's settings: each one is a flag, an `AT_FUNCTIONS_*` variable and a key of the TOML
//! file named by `--config`, in that order of precedence.
//!
//! In: arguments, environment, a file. Out: a [`Config`] whose values are checked.
//! Never: ignore a setting that is wrong, or one that nobody knows.

// The comments on settings are their help texts, in which a link would show its brackets.
#![allow(rustdoc::bare_urls)]

mod choices;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{CommandFactory, Parser};
use serde::Deserialize;
use url::Url;

use crate::idempotency::Limits;
use crate::identity::{Hostname, ServiceId};
use crate::policy::limits::{Limit, Rates, TrustedProxies};

pub use self::choices::{Anonymous, AuditRule, Isolation, LogFormat, UndeclaredReads};

/// What the settings' environment variables start with.
pub const VARIABLE_PREFIX: &str = "AT_FUNCTIONS_";

/// Variables of this prefix that are not the service's: the credentials and addresses that the
/// author's and the caller's commands read, and the switch of the tests.
const VARIABLES_OF_OTHER_COMMANDS: [&str; 9] = [
    "AT_FUNCTIONS_DNS",
    "AT_FUNCTIONS_HANDLE",
    "AT_FUNCTIONS_HOME",
    "AT_FUNCTIONS_PASSWORD",
    "AT_FUNCTIONS_PASSWORD_FILE",
    "AT_FUNCTIONS_PDS",
    "AT_FUNCTIONS_SERVICE",
    "AT_FUNCTIONS_SKIP_NETWORK_TESTS",
    "AT_FUNCTIONS_CONFIG",
];

/// How long a proved record is believed to be the newest.
const RECORD_TTL: Duration = Duration::from_secs(30);
/// How long code runs on after its author's PDS stopped giving it out, at most.
const CODE_TTL: Duration = Duration::from_secs(3600);

/// Worker processes for each core. Most of them wait most of the time.
const WORKERS_PER_CORE: usize = 16;

const MIB: u64 = 1024 * 1024;

/// The settings as they are given, each one or not at all. The same names serve clap (kebab-case,
/// `--plc-url`), the environment (`AT_FUNCTIONS_PLC_URL`) and TOML (`plc_url`).
#[derive(Clone, Debug, Default, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Public host name of this service: its identity is did:web:HOSTNAME. `localhost:PORT` is for development
    #[arg(long, env = "AT_FUNCTIONS_HOSTNAME", value_name = "HOST")]
    pub hostname: Option<String>,
    /// Address to listen on, behind your TLS front [default: 127.0.0.1:3000]
    #[arg(long, env = "AT_FUNCTIONS_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Address of /metrics and /readyz, for operators only [default: 127.0.0.1:3001]
    #[arg(long, env = "AT_FUNCTIONS_ADMIN_LISTEN", value_name = "ADDR:PORT")]
    pub admin_listen: Option<SocketAddr>,
    /// Directory of the service's key and state, created when absent [default: data]
    #[arg(long, env = "AT_FUNCTIONS_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// PLC directory that did:plc identities are resolved from [default: https://plc.directory]
    #[arg(long, env = "AT_FUNCTIONS_PLC_URL", value_name = "URL")]
    pub plc_url: Option<Url>,
    /// Service whose com.atproto.identity.resolveHandle resolves handles, in place of DNS and well-known
    #[arg(long, env = "AT_FUNCTIONS_HANDLE_RESOLVER", value_name = "URL")]
    pub handle_resolver: Option<Url>,
    /// Fragment that names this service in its DID document [default: at_functions]
    #[arg(long, env = "AT_FUNCTIONS_SERVICE_ID", value_name = "ID")]
    pub service_id: Option<String>,
    /// Calls without a token: refused, or allowed for public functions [default: deny]
    #[arg(long, env = "AT_FUNCTIONS_ANONYMOUS", value_name = "RULE")]
    pub anonymous: Option<Anonymous>,
    /// What functions whose record has no allowedHosts may read: any public repo, or nothing [default: any]
    #[arg(long, env = "AT_FUNCTIONS_UNDECLARED_READS", value_name = "RULE")]
    pub undeclared_reads: Option<UndeclaredReads>,
    /// TOML file of rules on callers, authors and functions, read again when it changes and at SIGHUP
    #[arg(long, env = "AT_FUNCTIONS_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Allow private addresses and plain http for outgoing requests: for development and tests only
    #[arg(long, env = "AT_FUNCTIONS_ALLOW_PRIVATE_NETWORK", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub allow_private_network: Option<bool>,
    /// Where guests run: in sealed worker processes, or in threads of this process [default: process on Linux, where alone
    /// there is that wall; thread elsewhere]
    #[arg(long, env = "AT_FUNCTIONS_ISOLATION", value_name = "WALL")]
    pub isolation: Option<Isolation>,
    /// Worker processes at most [default: 16 a core]. Has no effect with `--isolation thread`
    #[arg(long, env = "AT_FUNCTIONS_MAX_WORKERS", value_name = "N")]
    pub max_workers: Option<u32>,
    /// Threads that run guests [default: one a core]
    #[arg(long, env = "AT_FUNCTIONS_GUEST_THREADS", value_name = "N")]
    pub guest_threads: Option<usize>,
    /// Threads that serve connections and verify tokens [default: one for two cores where guests have processes of their own, else one a
    /// core]
    #[arg(long, env = "AT_FUNCTIONS_SERVICE_THREADS", value_name = "N")]
    pub service_threads: Option<usize>,
    /// Memory that all running guests together may reserve [default: half of the machine's, at most 4096]
    #[arg(long, env = "AT_FUNCTIONS_MEMORY_BUDGET", value_name = "MIB")]
    pub memory_budget: Option<u64>,
    /// Disk that compiled modules may take in the data directory, so that a restart need not compile them again; 0 for none [default: 1024]
    #[arg(long, env = "AT_FUNCTIONS_ARTIFACT_CACHE", value_name = "MIB")]
    pub artifact_cache: Option<u64>,
    /// Disk for the answers of calls with an idempotency key, which are kept for 24 hours; 0 refuses such calls [default: 256]
    #[arg(long, env = "AT_FUNCTIONS_IDEMPOTENCY_STORE", value_name = "MIB")]
    pub idempotency_store: Option<u64>,
    /// Memory for outputs of `pure-v1` functions, which the same call of the same caller gets again without a run; 0 for none [default: 64]
    #[arg(long, env = "AT_FUNCTIONS_MEMO_CACHE", value_name = "MIB")]
    pub memo_cache: Option<u64>,
    /// Have all callers share what public `pure-v1` functions answered: how fast an answer comes then tells that somebody had it before
    #[arg(long, env = "AT_FUNCTIONS_MEMO_ACROSS_CALLERS", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub memo_across_callers: Option<bool>,
    /// Highest maxMemoryMb that a run gets, whatever its record asks for [default: 256]
    #[arg(long, env = "AT_FUNCTIONS_MAX_MEMORY_MB", value_name = "MIB")]
    pub max_memory_mb: Option<u16>,
    /// Highest maxDurationMs that a run gets, whatever its record asks for [default: 5000]
    #[arg(long, env = "AT_FUNCTIONS_MAX_DURATION_MS", value_name = "MS")]
    pub max_duration_ms: Option<u16>,
    /// Largest request body and output, in MiB, 1 to 10 [default: 1]
    #[arg(long, env = "AT_FUNCTIONS_MAX_PAYLOAD_MB", value_name = "MIB")]
    pub max_payload_mb: Option<u8>,
    /// What one caller may ask for: how often, how many in a row, how many at once; or none [default: 100/s burst 500 at-once 64]
    #[arg(long, env = "AT_FUNCTIONS_CALLER_LIMIT", value_name = "LIMIT")]
    pub caller_limit: Option<Limit>,
    /// The same for all callers of one PDS that confirms them, and for all others together [default: 1000/s burst 5000 at-once 512]
    #[arg(long, env = "AT_FUNCTIONS_HOST_LIMIT", value_name = "LIMIT")]
    pub host_limit: Option<Limit>,
    /// The same for one address without a token [default: 20/s burst 100 at-once 16]
    #[arg(long, env = "AT_FUNCTIONS_ADDRESS_LIMIT", value_name = "LIMIT")]
    pub address_limit: Option<Limit>,
    /// The same for the functions of one author [default: 1000/s burst 5000 at-once 512]
    #[arg(long, env = "AT_FUNCTIONS_AUTHOR_LIMIT", value_name = "LIMIT")]
    pub author_limit: Option<Limit>,
    /// The same for one function [default: 1000/s burst 5000 at-once 512]
    #[arg(long, env = "AT_FUNCTIONS_FUNCTION_LIMIT", value_name = "LIMIT")]
    pub function_limit: Option<Limit>,
    /// Networks of the fronts whose X-Forwarded-For tells who calls without a token, with commas [default: none]
    #[arg(long, env = "AT_FUNCTIONS_TRUSTED_PROXIES", value_name = "NETWORKS")]
    pub trusted_proxies: Option<TrustedProxies>,
    /// What happens to calls while the audit log cannot be written: refused, or answered without a line [default: refuse]
    #[arg(long, env = "AT_FUNCTIONS_AUDIT", value_name = "RULE")]
    pub audit: Option<AuditRule>,
    /// How large a file of the audit log gets before the next one is begun [default: 64]
    #[arg(long, env = "AT_FUNCTIONS_AUDIT_MAX_MB", value_name = "MIB")]
    pub audit_max_mb: Option<u64>,
    /// Files of the audit log that are kept, older ones are deleted; 0 for all [default: 16]
    #[arg(long, env = "AT_FUNCTIONS_AUDIT_KEEP", value_name = "N")]
    pub audit_keep: Option<usize>,
    /// How log lines are written; pretty is another name for text [default: text]
    #[arg(long, env = "AT_FUNCTIONS_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// What is logged, as `tracing` filters [default: info]
    #[arg(long, env = "AT_FUNCTIONS_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// OpenTelemetry collector that spans of calls are sent to, as OTLP over HTTP: http://localhost:4318 [default: none]
    #[cfg(feature = "otlp")]
    #[arg(long, env = "AT_FUNCTIONS_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<Url>,
}

/// The settings, complete and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The public name, which gives the DID and the origin that its document states.
    pub hostname: Hostname,
    /// Where the service listens.
    pub listen: SocketAddr,
    /// Where metrics and readiness are served.
    pub admin_listen: SocketAddr,
    /// The directory of keys and state.
    pub data_dir: PathBuf,
    /// The PLC directory.
    pub plc_url: Url,
    /// The service that resolves handles, if not DNS and well-known.
    pub handle_resolver: Option<Url>,
    /// The fragment of the service in its DID document.
    pub service_id: ServiceId,
    /// The rule for calls without a token.
    pub anonymous: Anonymous,
    /// The rule for functions that declare no reads.
    pub undeclared_reads: UndeclaredReads,
    /// The file of the operator's rules, if there is one.
    pub policy: Option<PathBuf>,
    /// Whether outgoing requests may reach private addresses and use plain http.
    pub allow_private_network: bool,
    /// Where guests run.
    pub isolation: Isolation,
    /// Worker processes at most, where there are any.
    pub max_workers: usize,
    /// Threads that run guests.
    pub guest_threads: usize,
    /// Threads that do everything else.
    pub service_threads: usize,
    /// Bytes that all running guests together may reserve.
    pub memory_budget_bytes: u64,
    /// Bytes that compiled modules may take on disk; none are kept where it is 0.
    pub artifact_cache_bytes: u64,
    /// Bytes of answers that are kept for calls with an idempotency key; such calls are refused where it is 0.
    pub idempotency_store_bytes: u64,
    /// Bytes of outputs that are kept so that the same call need not run again; none where it is 0.
    pub memo_cache_bytes: u64,
    /// Whether callers share what public functions answered.
    pub memo_across_callers: bool,
    /// The operator's ceiling for `maxMemoryMb`.
    pub max_memory_mb: u16,
    /// The operator's ceiling for `maxDurationMs`.
    pub max_duration: Duration,
    /// The largest request body and output.
    pub max_payload_bytes: usize,
    /// How often, and how many at once.
    pub rates: Rates,
    /// The fronts that are believed who asked them.
    pub trusted_proxies: TrustedProxies,
    /// How long a proved record is believed to be the newest. Not a setting: the network's caches are
    /// built on 30 s; only `dev`, whose author is on the same machine, looks sooner.
    pub record_ttl: Duration,
    /// How long a blob that was fetched is believed to be given out still. Not a setting either.
    pub code_ttl: Duration,
    /// Whether answers hold what the function logged whoever calls, and not only for its author. Not a
    /// setting: only `dev`, whose callers are its author, turns it on.
    pub show_logs: bool,
    /// The rule for calls whose line in the audit log cannot be written.
    pub audit: AuditRule,
    /// How large a file of the audit log gets before the next one is begun.
    pub audit_max_bytes: u64,
    /// Files of the audit log that are kept; 0 for all.
    pub audit_keep: usize,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What is logged.
    pub log: String,
    /// The collector that spans of calls are sent to, if there is one.
    #[cfg(feature = "otlp")]
    pub otlp_endpoint: Option<Url>,
}

impl Config {
    /// Puts flags and variables (already merged by clap) over the file at `config`, then defaults
    /// under both, and checks every value.
    pub fn load(flags: Settings, config: Option<&Path>) -> Result<Config, ConfigError> {
        refuse_unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()))?;
        let file = match config {
            None => Settings::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ConfigError(format!("--config {}: {error}", path.display())))?;
                Settings::from_toml(&text)
                    .map_err(|error| ConfigError(format!("--config {}: {error}", path.display())))?
            }
        };
        Config::complete(flags.over(file))
    }

    /// Fills in defaults and checks each value.
    pub fn complete(settings: Settings) -> Result<Config, ConfigError> {
        let hostname = settings.hostname.ok_or_else(|| {
            ConfigError(
                "--hostname is missing: the public host name of this service, such as \
                 functions.example.com (or localhost:3000 for development)"
                    .into(),
            )
        })?;
        let hostname = Hostname::parse(&hostname)
            .map_err(|error| ConfigError(format!("--hostname {hostname}: {error}")))?;
        let service_id = match settings.service_id {
            None => ServiceId::default(),
            Some(id) => {
                ServiceId::parse(&id).map_err(|error| ConfigError(format!("--service-id {id}: {error}")))?
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let max_payload_mb = u64::from(settings.max_payload_mb.unwrap_or(1));
        let max_memory_mb = settings.max_memory_mb.unwrap_or(256);
        let memory_budget_mb = settings.memory_budget.unwrap_or_else(default_memory_budget_mb);
        let artifact_cache_mb = settings.artifact_cache.unwrap_or(1024);
        let idempotency_store_mb = settings.idempotency_store.unwrap_or(256);
        let memo_cache_mb = settings.memo_cache.unwrap_or(64);
        let max_duration_ms = settings.max_duration_ms.unwrap_or(5000);
        in_range("--guest-threads", settings.guest_threads.unwrap_or(cores) as u64, 1, 1024)?;
        let isolation = settings.isolation.unwrap_or_default();
        let service_threads = settings.service_threads.unwrap_or_else(|| service_threads(isolation, cores));
        in_range("--service-threads", service_threads as u64, 1, 1024)?;
        let max_workers = settings.max_workers.map_or(WORKERS_PER_CORE * cores, |most| most as usize);
        in_range("--max-workers", max_workers as u64, 1, 4096)?;
        in_range("--max-payload-mb", max_payload_mb, 1, 10)?;
        in_range("--max-memory-mb", max_memory_mb.into(), 1, 256)?;
        in_range("--max-duration-ms", max_duration_ms.into(), 1, 5000)?;
        in_range("--memory-budget", memory_budget_mb, max_memory_mb.into(), 1024 * 1024)?;
        in_range("--memo-cache", memo_cache_mb, 0, 1024 * 1024)?;
        in_range("--artifact-cache", artifact_cache_mb, 0, 1024 * 1024)?;
        let rates = Rates::default();
        let audit_max_mb = settings.audit_max_mb.unwrap_or(64);
        in_range("--audit-max-mb", audit_max_mb, 1, 1024 * 1024)?;
        if idempotency_store_mb != 0 {
            in_range(
                "--idempotency-store",
                idempotency_store_mb,
                least_store_mb(max_payload_mb),
                1024 * 1024,
            )?;
        }
        let plc_url = match settings.plc_url {
            Some(url) => base_url("--plc-url", url)?,
            // A constant that parses.
            None => Url::parse("https://plc.directory").expect("the default PLC URL parses"),
        };
        Ok(Config {
            hostname,
            listen: settings.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 3000))),
            admin_listen: settings.admin_listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 3001))),
            data_dir: settings.data_dir.unwrap_or_else(|| "data".into()),
            plc_url,
            handle_resolver: settings
                .handle_resolver
                .map(|url| base_url("--handle-resolver", url))
                .transpose()?,
            service_id,
            anonymous: settings.anonymous.unwrap_or_default(),
            undeclared_reads: settings.undeclared_reads.unwrap_or_default(),
            policy: settings.policy,
            allow_private_network: settings.allow_private_network.unwrap_or(false),
            isolation,
            max_workers,
            guest_threads: settings.guest_threads.unwrap_or(cores),
            service_threads,
            memory_budget_bytes: memory_budget_mb * MIB,
            artifact_cache_bytes: artifact_cache_mb * MIB,
            idempotency_store_bytes: idempotency_store_mb * MIB,
            memo_cache_bytes: memo_cache_mb * MIB,
            memo_across_callers: settings.memo_across_callers.unwrap_or(false),
            max_memory_mb,
            max_duration: Duration::from_millis(max_duration_ms.into()),
            max_payload_bytes: (max_payload_mb * MIB) as usize,
            rates: Rates {
                caller: settings.caller_limit.unwrap_or(rates.caller),
                host: settings.host_limit.unwrap_or(rates.host),
                address: settings.address_limit.unwrap_or(rates.address),
                author: settings.author_limit.unwrap_or(rates.author),
                function: settings.function_limit.unwrap_or(rates.function),
            },
            trusted_proxies: settings.trusted_proxies.unwrap_or_default(),
            record_ttl: RECORD_TTL,
            code_ttl: CODE_TTL,
            show_logs: false,
            audit: settings.audit.unwrap_or_default(),
            audit_max_bytes: audit_max_mb * MIB,
            audit_keep: settings.audit_keep.unwrap_or(16),
            log_format: settings.log_format.unwrap_or_default(),
            log: settings.log.unwrap_or_else(|| "info".into()),
            #[cfg(feature = "otlp")]
            otlp_endpoint: settings.otlp_endpoint.map(|url| base_url("--otlp-endpoint", url)).transpose()?,
        })
    }
}

impl Settings {
    /// Reads the TOML form; an unknown key or a wrong value is an error that names it.
    pub fn from_toml(text: &str) -> Result<Settings, toml::de::Error> {
        toml::from_str(text)
    }

    /// These settings where they are given, `below` where they are not.
    pub fn over(self, below: Settings) -> Settings {
        macro_rules! first_given {
            ($($field:ident)*) => {
                Settings {
                    #[cfg(feature = "otlp")]
                    otlp_endpoint: self.otlp_endpoint.or(below.otlp_endpoint),
                    $($field: self.$field.or(below.$field)),*
                }
            };
        }
        first_given! {
            hostname listen admin_listen data_dir plc_url handle_resolver service_id anonymous
            undeclared_reads policy allow_private_network isolation max_workers guest_threads service_threads memory_budget artifact_cache
            idempotency_store memo_cache memo_across_callers max_memory_mb max_duration_ms max_payload_mb caller_limit host_limit address_limit
            author_limit function_limit trusted_proxies audit audit_max_mb audit_keep log_format log
        }
    }

    /// The settings that were given but do nothing with this isolation, to be told at the start.
    pub fn without_effect(&self, isolation: Isolation) -> Vec<&'static str> {
        let given = [
            (
                self.max_workers.is_some() && isolation == Isolation::Thread,
                "--max-workers (there are no worker processes with --isolation thread)",
            ),
            (
                self.memo_across_callers == Some(true) && self.memo_cache == Some(0),
                "--memo-across-callers (--memo-cache is 0, so nothing is kept)",
            ),
        ];
        given.into_iter().filter(|(given, _)| *given).map(|(_, name)| name).collect()
    }
}

fn base_url(flag: &str, url: Url) -> Result<Url, ConfigError> {
    let usable = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.query().is_none()
        && url.fragment().is_none();
    if usable { Ok(url) } else { Err(ConfigError(format!("{flag} {url}: expected https://HOST"))) }
}

fn in_range(flag: &str, value: u64, least: u64, most: u64) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(ConfigError(format!("{flag} is {value}; it must be {least} to {most}")))
    }
}

/// The least for kept answers of which each caller's share holds the largest there is: an output of so
/// many MiB, and up to one for what stands around it.
fn least_store_mb(max_payload_mb: u64) -> u64 {
    Limits::least_for((max_payload_mb + 1) * MIB).div_ceil(MIB)
}

/// Half of the machine's memory, so that the service and its caches have the rest.
fn default_memory_budget_mb() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    total.map_or(1024, |kib| kib / 1024 / 2).clamp(256, 4096)
}

/// Where guests have processes of their own, one thread for two cores keeps both busy with them. With more, each core's caches
/// are filled with the service and the workers in turn (docs/performance.md, "Ways that were tried").
fn service_threads(isolation: Isolation, cores: usize) -> usize {
    match isolation {
        Isolation::Process => cores.div_ceil(2),
        Isolation::Thread => cores,
    }
}

fn refuse_unknown_variables(names: impl Iterator<Item = String>) -> Result<(), ConfigError> {
    #[derive(Parser)]
    struct Known {
        #[command(flatten)]
        _settings: Settings,
    }
    let command = Known::command();
    let known: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str()).collect();
    for name in names {
        let ours = name.starts_with(VARIABLE_PREFIX);
        if ours && !known.contains(&&*name) && !VARIABLES_OF_OTHER_COMMANDS.contains(&&*name) {
            return Err(ConfigError(format!(
                "the variable {name} is no setting; see at-functions serve --help"
            )));
        }
    }
    Ok(())
}

/// A setting that stops the start, named, with what is wrong about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests;
