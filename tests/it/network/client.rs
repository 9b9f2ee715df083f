//! A Bluesky client: the reference implementation's own client library, in a process of its own.

use std::process::Stdio;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::{Account, Network, install};

/// One call of the client library, as `tests/network/client.mjs` takes it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ClientCall {
    /// The method called, a procedure.
    pub(crate) nsid: &'static str,
    /// Whom the PDS is to proxy it to.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) body: Value,
    /// A lexicon document of the method: with it the call goes through the library's typed client, which
    /// checks the answer; without it, through its plain fetch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lexicon: Option<Value>,
}

/// A service in a DID document.
#[derive(Debug, Serialize)]
pub(crate) struct Proxy {
    pub(crate) did: String,
    pub(crate) id: String,
}

/// What the client library made of the answer.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct ClientAnswer {
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) data: Value,
    pub(crate) error: Option<String>,
    pub(crate) message: Option<String>,
    /// Every exchange that it took, after signing in.
    pub(crate) sent: Vec<Exchange>,
}

/// One HTTP exchange of the client with the PDS.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) path: String,
    pub(crate) status: u16,
}

impl Network {
    /// Signs in as `account` with the client library, and makes one call.
    pub(crate) async fn call_as_client(&self, account: &Account, call: ClientCall) -> ClientAnswer {
        let mut wanted = serde_json::to_value(call).expect("a call is JSON");
        wanted["service"] = account.pds.url.as_str().into();
        wanted["identifier"] = account.did.as_str().into();
        wanted["password"] = account.password.as_str().into();
        let mut client = Command::new(&self.node)
            .arg("client.mjs")
            .current_dir(install::PROJECT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node starts");
        let mut stdin = client.stdin.take().expect("stdin is piped");
        stdin.write_all(wanted.to_string().as_bytes()).await.expect("the client reads its input");
        drop(stdin);
        let output = client.wait_with_output().await.expect("the client ends");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("the client answered no JSON ({error}): {}", String::from_utf8_lossy(&output.stderr))
        })
    }
}
