//! What the network does for tests that no XRPC method does: other PDSes, identities, handles.

use serde_json::{Value, json};

use super::xrpc::{client, text};
use super::{Network, Pds};

impl Network {
    /// One more PDS, which only the test that asked for it uses, and so may stop.
    pub(crate) async fn own_pds(&'static self) -> OwnPds {
        let description = self.control("startPds", json!({})).await;
        let pds = serde_json::from_value(description).expect("a PDS is described as at the start");
        OwnPds { pds, network: self }
    }

    /// Registers an account's identity in the directory: nobody need live at `pds_url`. `signing_key` is a did:key.
    pub(crate) async fn create_identity(&self, handle: &str, pds_url: &str, signing_key: &str) -> String {
        let identity = json!({ "handle": handle, "pds": pds_url, "signingKey": signing_key });
        text(&self.control("createIdentity", identity).await, "/did")
    }

    /// Changes what the directory says of a DID, and nothing else: any of `signingKey` (a did:key), `handle`, `pds`.
    pub(crate) async fn update_identity(&self, did: &str, mut changes: Value) {
        changes["did"] = did.into();
        self.control("updateIdentity", changes).await;
    }

    /// Has the directory write a DID's document in the form that it had before `Multikey`.
    pub(crate) async fn write_legacy_document(&self, did: &str) {
        self.control("writeLegacyDocument", json!({ "did": did })).await;
    }

    /// Ends a DID for good in the directory.
    pub(crate) async fn tombstone(&self, did: &str) {
        self.control("tombstone", json!({ "did": did })).await;
    }

    /// Has the handle resolver answer `did` for `handle`, whosever it is; `None` undoes it.
    pub(crate) async fn set_handle(&self, handle: &str, did: Option<&str>) {
        self.control("setHandle", json!({ "handle": handle, "did": did })).await;
    }

    /// A DID's document, as the directory serves it; its status where that is not 200.
    pub(crate) async fn did_document(&self, did: &str) -> Result<Value, u16> {
        let url = format!("{}/{did}", self.plc_url());
        let response = client().get(url).send().await.expect("the directory answers");
        match response.status().as_u16() {
            200 => Ok(response.json().await.expect("a DID document is JSON")),
            status => Err(status),
        }
    }

    /// Performs one of the actions in `tests/network/control.mjs`.
    pub(super) async fn control(&self, action: &str, arguments: Value) -> Value {
        let url = format!("{}/{action}", self.control_url);
        let response = client().post(url).json(&arguments).send().await.expect("the network answers");
        let status = response.status();
        let answer: Value = response.json().await.expect("the network answers in JSON");
        assert!(status.is_success(), "{action} {arguments}: {answer}");
        answer
    }
}

/// A PDS that belongs to one test.
pub(crate) struct OwnPds {
    pds: Pds,
    network: &'static Network,
}

impl OwnPds {
    /// Has it refuse connections, and cuts those that are open.
    pub(crate) async fn stop(&self) {
        self.network.control("stopPds", json!({ "url": self.url })).await;
    }

    /// Starts it again where it stopped: same port, same data.
    pub(crate) async fn start_again(&self) {
        self.network.control("startPdsAgain", json!({ "url": self.url })).await;
    }
}

impl std::ops::Deref for OwnPds {
    type Target = Pds;

    fn deref(&self) -> &Pds {
        &self.pds
    }
}
