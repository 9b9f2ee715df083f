//! `at-functions serve`: the service.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::config::{Config, Isolation, Settings};
use crate::server::{self, Admin, Listener, Part, Service};
use crate::telemetry;

/// Run the service: verify callers, prove functions, run them
///
/// Every setting is a flag, a variable (AT_FUNCTIONS_...) and a key of the file given with --config (the flag's name
/// with underscores), in that order of precedence. The only one without a default is --hostname.
///
/// The service speaks plain HTTP/1.1; put a TLS front before it that serves https://HOSTNAME. PDSes find it by its
/// DID document at https://HOSTNAME/.well-known/did.json, which it serves itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  at-functions serve --hostname functions.example.com --data-dir /var/lib/at-functions
  at-functions serve --config /etc/at-functions.toml
  AT_FUNCTIONS_HOSTNAME=functions.example.com at-functions serve

Development, against PDSes on this machine:
  at-functions serve --hostname localhost:3000 --plc-url http://localhost:2582 --allow-private-network

SIGTERM and Ctrl-C stop it: calls in flight are finished first. With --policy, SIGHUP reads that file again.")]
pub(super) struct ServeArgs {
    /// TOML file of settings
    #[arg(long, env = "AT_FUNCTIONS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Serves until a signal, then drains.
pub(super) fn run(args: ServeArgs) -> anyhow::Result<()> {
    let flags = args.settings.clone();
    let config = Config::load(args.settings, args.config.as_deref())?;
    on_threads(config.service_threads, serve(flags, config))
}

/// Runs what stays up to its end.
pub(super) fn on_threads(
    threads: usize,
    running: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.context("the threads of the service")?.block_on(running)
}

async fn serve(flags: Settings, config: Config) -> anyhow::Result<()> {
    telemetry::start_logs(config.log_format, &config.log).map_err(anyhow::Error::msg)?;
    for setting in flags.without_effect(config.isolation) {
        tracing::warn!("without effect: {setting}");
    }
    match config.isolation {
        Isolation::Thread => tracing::warn!(
            "guests run in threads of this process (isolation thread): a flaw in the WebAssembly engine would \
             reach the service's key and network; see SECURITY.md"
        ),
        Isolation::Process => shut_out_debuggers(),
    }
    if config.allow_private_network {
        tracing::warn!(
            "private addresses and plain http are allowed for outgoing requests: for development only"
        );
    }
    let metrics = telemetry::start_metrics().context("the metrics recorder")?;
    #[cfg(feature = "otlp")]
    if let Some(endpoint) = &config.otlp_endpoint {
        telemetry::otlp::start(endpoint, Clock::system()).context("the OTLP client")?;
    }
    let stop = stop_signal()?;
    survive_file_size_limit();
    let public = Listener::bind("--listen", config.listen).await?;
    let admin = Listener::bind("--admin-listen", config.admin_listen).await?;
    let (admin_address, view) = (admin.address(), Admin::starting(metrics));
    let admin = tokio::spawn(server::serve(admin, Arc::clone(&view).router(), std::future::pending()));
    let sandbox = server::sandbox(&config).await?;
    view.readiness().has(Part::Sandbox);
    let service = Service::start_with(&config, Clock::system(), sandbox)?;
    if config.policy.is_some() {
        reload_at_hangup(Arc::downgrade(&service))?;
    }
    view.stands(Arc::clone(&service));
    tracing::info!(
        service = format!("{}#{}", config.hostname.did(), config.service_id),
        listen = public.address().to_string(),
        admin = admin_address.to_string(),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    let stop = async {
        stop.await;
        view.readiness().lacks(Part::Draining, "the service was told to stop");
    };
    server::serve(public, server::router(service), stop).await;
    #[cfg(feature = "otlp")]
    telemetry::otlp::drain().await;
    admin.abort();
    tracing::info!("stopped");
    Ok(())
}

/// Reads the policy file again at each SIGHUP.
fn reload_at_hangup(service: Weak<Service>) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let Some(service) = service.upgrade() else { return };
            service.reload_policy().await;
        }
    });
    Ok(())
}

/// Has a file that reaches the process's limit of size (`RLIMIT_FSIZE`) fail like a full disk, which is dealt with where it
/// is written, rather than end the process.
fn survive_file_size_limit() {
    // Whoever listens to a signal is not ended by it.
    let listening = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    if let Err(error) = listening {
        tracing::warn!(%error, "a limit on the size of files would end the service");
    }
}

/// Keeps other processes of this user, workers among them, out of this one's memory.
fn shut_out_debuggers() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "other processes of this user may read the memory of this one");
    }
}

/// Resolves at the first SIGTERM or SIGINT. A second one ends the process at once.
pub(super) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: finishing the calls in flight");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        });
    })
}
