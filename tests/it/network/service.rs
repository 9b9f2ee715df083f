//! The service under test, as its operator starts it: our binary, in a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::Network;
use super::peer::did_of_port;
use super::xrpc::Call;
use crate::ports::closed_port;

/// How often a starting service is asked whether it is up, and how often in all: two minutes.
const POLL_EVERY: Duration = Duration::from_millis(50);
const POLLS: u32 = 2_400;

/// A running `at-functions serve`; killed when dropped, and its data with it.
pub(crate) struct Service {
    process: Child,
    arguments: Vec<String>,
    port: u16,
    admin_port: u16,
    data: TempDir,
}

impl Service {
    /// Starts the service on `network`, with the settings of a development set-up and `more` arguments, and
    /// waits until it is up. The test fails, with the service's own words, if it does not come up.
    pub(crate) async fn start(network: &Network, more: &[&str]) -> Service {
        Service::try_start(network, more).await.unwrap_or_else(|words| panic!("{words}"))
    }

    /// The same, for tests of what must not start: the error tells how it ended and what it said.
    pub(crate) async fn try_start(network: &Network, more: &[&str]) -> Result<Service, String> {
        let (plc, resolver) = (network.plc_url().to_string(), network.handle_resolver_url().to_string());
        Service::try_start_among(&plc, &resolver, more).await
    }

    /// The same, with a PLC directory and a resolver of handles that are no part of a network.
    pub(crate) async fn try_start_among(plc: &str, resolver: &str, more: &[&str]) -> Result<Service, String> {
        let data = TempDir::new().expect("a temporary directory can be made");
        let (port, admin_port) = (closed_port(), closed_port());
        let data_dir = data.path().join("data").display().to_string();
        let usual = [
            format!("--hostname=localhost:{port}"),
            format!("--listen=127.0.0.1:{port}"),
            format!("--admin-listen=127.0.0.1:{admin_port}"),
            format!("--data-dir={data_dir}"),
            format!("--plc-url={plc}"),
            format!("--handle-resolver={resolver}"),
            "--allow-private-network".to_owned(),
        ];
        // What a test says of a setting stands in place of the usual.
        let name = |argument: &str| argument.split('=').next().map(str::to_owned);
        let given: Vec<_> = more.iter().map(|argument| name(argument)).collect();
        let mut arguments = vec!["serve".to_owned()];
        arguments.extend(usual.into_iter().filter(|argument| !given.contains(&name(argument))));
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let process = spawn(&arguments, &log_in(&data));
        let mut service = Service { process, arguments, port, admin_port, data };
        service.wait_until_up().await?;
        Ok(service)
    }

    /// Kills it without a warning, as a power cut would, and starts it again on the same data and port.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.arguments, &log_in(&self.data));
        self.wait_until_up().await.unwrap_or_else(|words| panic!("{words}"));
    }

    /// Kills it and leaves its data; calls through a PDS then meet a closed port.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself; either way it is gone after `wait`.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Sends it SIGHUP, at which it reads its policy file.
    pub(crate) fn hang_up(&self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.expect("a child has a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("a child can be signalled");
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it answers: `http://localhost:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Where it answers its operator: `/metrics`, `/readyz`.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://localhost:{}", self.admin_port)
    }

    /// Its DID: the audience of tokens meant for it.
    pub(crate) fn did(&self) -> String {
        did_of_port(self.port)
    }

    /// How an `atproto-proxy` header names it.
    pub(crate) fn audience(&self) -> String {
        format!("{}#at_functions", self.did())
    }

    /// Begins a direct call of a procedure.
    pub(crate) fn procedure(&self, nsid: &str) -> Call {
        Call::procedure(&self.url(), nsid)
    }

    /// Begins a direct call of a query.
    pub(crate) fn query(&self, nsid: &str) -> Call {
        Call::query(&self.url(), nsid)
    }

    /// The directory given to it with `--data-dir`.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// All that it has written to stdout and stderr since its last start.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(log_in(&self.data)).unwrap_or_default()).into_owned()
    }

    async fn wait_until_up(&mut self) -> Result<(), String> {
        for _ in 0..POLLS {
            if let Some(status) = self.process.try_wait().expect("the service is a child of this process") {
                return Err(format!("the service ended before it was up ({status}):\n{}", self.log()));
            }
            let health = self.query("_health").try_send().await;
            if health.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        Err(format!("the service was not up after {:?}:\n{}", POLL_EVERY * POLLS, self.log()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

fn log_in(data: &TempDir) -> PathBuf {
    data.path().join("log")
}

fn spawn(arguments: &[String], log: &Path) -> Child {
    let log = File::create(log).expect("a file can be made in a directory of our own");
    let mut command = Command::new(env!("CARGO_BIN_EXE_at-functions"));
    // Settings of whoever runs the tests are not those of the service under test.
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AT_FUNCTIONS_"))
    {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
    command.spawn().expect("the binary under test was built with this test")
}
