//! A real AT Protocol network on loopback: the reference PLC directory and two reference PDSes, from npm.
//!
//! What for: tests that would prove little against peers of our own making. In comes a test's wish (an
//! account, a record, a call through a PDS, a key rotation); out goes what the real thing answers.
//! The network is started once a process, on ports of its own, and shared: a test makes its own accounts,
//! and a PDS of its own ([`Network::own_pds`]) if it wants to stop one. It ends with the process, because
//! its standard input does then.
//!
//! ```text
//! let Some(network) = Network::shared() else { return };   // says so itself, where the reader sees it
//! let author = network.create_account(network.pds(0)).await;
//! ```

mod account;
mod accounts;
mod calls;
mod changes;
pub(crate) mod client;
mod commands;
mod control;
mod describe;
mod examples;
mod functions;
mod ground;
mod install;
mod lexicons;
mod oauth;
pub(crate) mod peer;
mod policy;
mod projects;
mod reads;
mod service;
mod tutorial;
pub(crate) mod walk;
pub(crate) mod xrpc;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;

pub(crate) use account::{Account, KeyHome};
pub(crate) use service::Service;
pub(crate) use xrpc::Answer;

/// The network. Everything that a test does begins here, or at an [`Account`] made here.
pub(crate) struct Network {
    plc_url: String,
    control_url: String,
    pdses: [Pds; 2],
    node: PathBuf,
    accounts: AtomicU32,
    /// Its standard input is the thread that the network hangs by.
    _process: Child,
}

/// A reference PDS that all tests share.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pds {
    /// Its origin, as DID documents name it: `http://localhost:PORT`.
    pub(crate) url: String,
    /// Its own DID: the audience of service tokens meant for it.
    pub(crate) did: String,
    /// What the handles of its accounts end in, with the dot.
    pub(crate) handle_domain: String,
    /// The password of its user `admin`.
    pub(crate) admin_password: String,
}

impl Network {
    /// The network of this process, started by whoever asks first.
    ///
    /// `None` only if `AT_FUNCTIONS_SKIP_NETWORK_TESTS` is set; the test is then named on stderr as skipped.
    pub(crate) fn shared() -> Option<&'static Network> {
        // What kept it from starting is tried once, and told to every test.
        static NETWORK: OnceLock<Result<Network, String>> = OnceLock::new();
        if std::env::var_os(install::SKIP_VARIABLE).is_some_and(|value| !value.is_empty() && value != "0") {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            install::say(&format!("SKIPPED {test} ({} is set)", install::SKIP_VARIABLE));
            return None;
        }
        Some(NETWORK.get_or_init(Network::start).as_ref().unwrap_or_else(|why| panic!("{why}")))
    }

    fn start() -> Result<Network, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Up {
            plc_url: String,
            control_url: String,
            pdses: [Pds; 2],
        }
        let node = install::node()?;
        let mut process = Command::new(&node)
            .arg("network.mjs")
            .current_dir(install::PROJECT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node starts");
        let stdout = process.stdout.take().expect("stdout is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("Node's output is text");
        let Ok(Up { plc_url, control_url, pdses }) = serde_json::from_str(&line) else {
            panic!(
                "tests/network/network.mjs did not come up (what it says stands above); it printed {line:?}"
            );
        };
        Ok(Network { plc_url, control_url, pdses, node, accounts: AtomicU32::new(0), _process: process })
    }

    /// The origin of the PLC directory.
    pub(crate) fn plc_url(&self) -> &str {
        &self.plc_url
    }

    /// The origin of a handle resolver that knows the accounts of every PDS here (each PDS refuses the
    /// handles that it does not hold), and what [`Network::set_handle`] told it.
    pub(crate) fn handle_resolver_url(&self) -> &str {
        &self.control_url
    }

    /// One of the two PDSes that all tests share: 0, whose handles end in `.a.test`, or 1, `.b.test`.
    pub(crate) fn pds(&self, index: usize) -> &Pds {
        &self.pdses[index]
    }

    /// A name that no account here has yet.
    pub(crate) fn new_name(&self) -> String {
        format!("user{}", self.accounts.fetch_add(1, Ordering::Relaxed))
    }
}
