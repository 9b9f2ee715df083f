//! `at-functions dev`: the whole pipeline on loopback, with an author of its own.

mod project;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use url::Url;

use crate::clock::Clock;
use crate::config::{Anonymous, Config, Isolation, Settings};
use crate::dev::{Author, Module, Modules, Published, host_router};
use crate::policy::limits::Limit;
use crate::server::{self, Admin, Listener, Service};
use crate::telemetry;

use self::project::Watched;
use super::error::CliError;
use super::files::Scratch;
use super::guest;
use super::project::{Project, Subject};
use super::serve::{on_threads, stop_signal};
use super::wasm;

/// How often the files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);
/// How soon a published change runs: the author is on this machine and may be asked often.
const RECORD_TTL: Duration = Duration::from_millis(300);

/// Run a whole runtime on this machine: no network, no account, no container
///
/// Starts the service with an identity of its own, and beside it an author's signed repo that holds the echo example, or
/// the projects and modules at PATH, built and published again whenever they change. Behind it is the same pipeline as in production: the
/// author's DID is resolved, the record proved by its signature, the code matched to its hash; over loopback http.
/// Everything is forgotten at the end. Calls need no token. Each module is judged as `deploy` and services judge it: a project as
/// its at-functions.toml says, a module alone as the mode that it looks built for. How each call ended, what functions log, and
/// where an output is not what typed clients take is told on stderr. A build that fails leaves what was published.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  at-functions dev
  at-functions dev my-project
  at-functions dev target/wasm32-unknown-unknown/release/my_function.wasm
  at-functions dev build/ --listen 127.0.0.1:0")]
pub(super) struct DevArgs {
    /// Projects, modules (.wasm), or directories of modules, to publish and watch; when absent the project of the current
    /// directory, or where there is none the echo example
    paths: Vec<PathBuf>,
    /// Address of the service; port 0 lets the system choose
    #[arg(long, default_value = "127.0.0.1:3000", value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// Address of /metrics and /readyz
    #[arg(long, default_value = "127.0.0.1:3001", value_name = "ADDR:PORT")]
    admin_listen: SocketAddr,
    /// Address of the author's repo
    #[arg(long, default_value = "127.0.0.1:3002", value_name = "ADDR:PORT")]
    repo_listen: SocketAddr,
    /// Where guests run: in threads, which is soonest ready, or in sealed worker processes as a service on Linux has them
    #[arg(long, default_value = "thread", value_name = "WALL")]
    isolation: Isolation,
    /// What is logged, as `tracing` filters; calls are told in a line of their own
    #[arg(long, env = "AT_FUNCTIONS_LOG", default_value = "info,call=warn", value_name = "FILTER")]
    log: String,
}

/// Serves the author's repo and the service until a signal.
pub(super) fn run(args: DevArgs) -> anyhow::Result<()> {
    // The author's repo and the builds of projects share them with the service.
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    on_threads(cores, serve(args))
}

async fn serve(args: DevArgs) -> anyhow::Result<()> {
    telemetry::start_logs(Default::default(), &args.log).map_err(anyhow::Error::msg)?;
    let metrics = telemetry::start_metrics().context("the metrics recorder")?;
    let stop = stop_signal()?;
    let public = bind("--listen", args.listen).await?;
    let admin = bind("--admin-listen", args.admin_listen).await?;
    let repo = bind("--repo-listen", args.repo_listen).await?;

    let clock = Clock::system();
    let (mut projects, paths) = subjects(args.paths.clone())?;
    let author = Arc::new(Author::at_port(repo.address().port(), clock.clone())?);
    let data_dir = Scratch::make().context("a directory for the service's data")?;
    let config = config(&public, &author, &args, data_dir.path().to_owned())?;
    let service = Service::start_with(&config, clock.clone(), server::sandbox(&config).await?)?;

    let mut modules = Modules::at(paths);
    let watching = modules.is_watching() || !projects.is_empty();
    if !watching {
        publish(&author, Modules::example());
    }
    for found in modules.changed() {
        report(&author, found);
    }
    let mut stop = std::pin::pin!(stop);
    for project in &mut projects {
        tokio::select! {
            biased;
            // A first build may take minutes, and is not waited for.
            () = &mut stop => return Ok(()),
            () = project.keep_up(&author, &clock) => {}
        }
    }
    print!("{}", welcome(&config, &author, &admin, watching, &projects));

    let repo = tokio::spawn(server::serve(repo, host_router(Arc::clone(&author)), std::future::pending()));
    let admin_router = Admin::new(Arc::clone(&service), metrics).router();
    let admin = tokio::spawn(server::serve(admin, admin_router, std::future::pending()));
    let watcher = tokio::spawn(async move {
        if !watching {
            return;
        }
        loop {
            tokio::time::sleep(WATCH_INTERVAL).await;
            for found in modules.changed() {
                report(&author, found);
            }
            for project in &mut projects {
                project.keep_up(&author, &clock).await;
            }
        }
    });
    let router = server::router(service).layer(axum::middleware::from_fn(guest::tell));
    server::serve(public, router, stop).await;
    watcher.abort();
    admin.abort();
    repo.abort();
    Ok(())
}

/// Projects, and paths of modules. Without a path, the project of the current directory, if it is in one.
fn subjects(paths: Vec<PathBuf>) -> Result<(Vec<Watched>, Vec<PathBuf>), CliError> {
    if paths.is_empty() {
        let here = Project::enclosing()?.map(Watched::new);
        return Ok((here.into_iter().collect(), Vec::new()));
    }
    let (mut projects, mut modules) = (Vec::new(), Vec::new());
    for path in paths {
        match Subject::at_any(&path)? {
            Subject::Project(project) => projects.push(Watched::new(*project)),
            Subject::File(path) => modules.push(path),
        }
    }
    Ok((projects, modules))
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<Listener> {
    Listener::bind(flag, address).await.map_err(|error| {
        anyhow::anyhow!("{error}; if another one runs there, {flag} 127.0.0.1:0 has the system choose a port")
    })
}

/// The settings of development: everything on loopback, and nothing asked of any other host.
fn config(public: &Listener, author: &Author, args: &DevArgs, data_dir: PathBuf) -> anyhow::Result<Config> {
    let origin: Url = author.origin().parse().context("the repo's origin")?;
    let config = Config::complete(Settings {
        hostname: Some(format!("localhost:{}", public.address().port())),
        data_dir: Some(data_dir),
        plc_url: Some(origin.clone()),
        handle_resolver: Some(origin),
        anonymous: Some(Anonymous::Public),
        allow_private_network: Some(true),
        // The one who calls may try as hard as they like what their functions take.
        address_limit: Some(Limit::NONE),
        caller_limit: Some(Limit::NONE),
        host_limit: Some(Limit::NONE),
        author_limit: Some(Limit::NONE),
        function_limit: Some(Limit::NONE),
        // There is no next start that it would be kept for.
        artifact_cache: Some(0),
        isolation: Some(args.isolation),
        log: Some(args.log.clone()),
        ..Settings::default()
    })?;
    Ok(Config { record_ttl: RECORD_TTL, show_logs: true, ..config })
}

fn report(author: &Author, found: Result<Module, impl std::fmt::Display>) {
    match found {
        Ok(module) => {
            publish(author, module);
        }
        Err(error) => eprintln!("not published: {error}"),
    }
}

/// Puts a module into the repo, unless a service would refuse it.
fn publish(author: &Author, module: Module) -> Option<Published> {
    let bytes = module.wasm.len();
    let mode = wasm::likely_mode(&module.wasm);
    if let Err(refusal) = wasm::check(&module.wasm, mode) {
        eprintln!("not published: {}: {refusal}", module.rkey);
        return None;
    }
    match author.publish(&module.rkey, mode, module.wasm) {
        Ok(published) => {
            println!("published {}  ({mode}, {bytes} bytes, record {})", published.uri, published.cid);
            Some(published)
        }
        Err(error) => {
            eprintln!("not published: {}: {error}", module.rkey);
            None
        }
    }
}

/// The first screen: what runs, and what to type next.
fn welcome(
    config: &Config,
    author: &Author,
    admin: &Listener,
    watching: bool,
    projects: &[Watched],
) -> String {
    let (endpoint, service) = (config.hostname.origin(), config.hostname.did());
    // As it was called: after `cargo run` it is not in the PATH.
    let called =
        std::env::args().next().filter(|name| !name.contains(|c: char| c.is_whitespace() || c == '\''));
    let program = called.as_deref().unwrap_or("at-functions");
    let watched = if watching { "; files are published again when they change" } else { "" };
    let mut text = format!(
        "\nservice  {service}#{}\n         {endpoint}, calls need no token\n\
         author   {}\n         {}, a signed repo in memory{watched}\n\
         admin    http://{}/metrics, /readyz\n\n",
        config.service_id,
        author.did(),
        author.origin(),
        admin.address(),
    );
    match author.functions().first() {
        None if !projects.is_empty() => {
            text.push_str("Nothing is published yet: the build has to succeed first.\n\n");
        }
        None => text.push_str("Nothing is published yet: build a .wasm file at the path that you gave.\n\n"),
        Some(uri) => {
            let example = projects.iter().find_map(|project| project.example.clone());
            let input = example.unwrap_or_else(|| serde_json::json!({"hello": "world"})).to_string();
            // As a shell takes it between single quotes.
            let input = input.replace('\'', r"'\''");
            let body = format!(r#"{{"function":"{uri}","input":{input}}}"#);
            text.push_str(&format!(
                "Call it:\n  \
                 curl -s {endpoint}/xrpc/at.functions.run -H 'content-type: application/json' -d '{body}'\n\n\
                 The same from a second terminal, and what else there is to see:\n  \
                 {program} invoke {uri} --input '{input}' --anonymous --service {service}\n  \
                 {program} describe {uri}\n  \
                 {program} list {}\n",
                author.did(),
            ));
            if !watching {
                text.push_str(&format!("\nYour own:\n  {program} dev path/to/module.wasm\n"));
            }
            text.push('\n');
        }
    }
    text.push_str("Ctrl-C stops it, and all of it is gone.\n");
    text
}
