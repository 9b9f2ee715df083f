//! An account on one of the PDSes, and what its owner does.

use at_functions::identity::Curve;
use serde_json::{Value, json};

use super::xrpc::{Answer, Call, text};
use super::{Network, Pds};

/// An account with a session at its PDS.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) did: String,
    pub(crate) handle: String,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) access_jwt: String,
    pub(crate) pds: Pds,
}

/// Where a new signing key is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyHome {
    /// In the directory and in the PDS, which makes a new commit with it: how a rotation should be.
    Everywhere,
    /// In the directory, while the PDS signs on with the old one.
    DirectoryOnly,
}

impl Network {
    /// A new account on `pds`, under a name of its own.
    pub(crate) async fn create_account(&self, pds: &Pds) -> Account {
        let name = self.new_name();
        let (handle, email) = (format!("{name}{}", pds.handle_domain), format!("{name}@example.com"));
        let password = format!("password of {name}");
        let wanted = json!({ "handle": handle, "email": email, "password": password });
        let call = Call::procedure(&pds.url, "com.atproto.server.createAccount").json(&wanted);
        let made = call.send().await.ok();
        let (did, access_jwt) = (text(&made, "/did"), text(&made, "/accessJwt"));
        Account { did, handle, email, password, access_jwt, pds: pds.clone() }
    }

    /// Gives an account a new signing key, and tells it as a did:key.
    pub(crate) async fn rotate_key(&self, account: &Account, curve: Curve, home: KeyHome) -> String {
        let curve = match curve {
            Curve::K256 => "k256",
            Curve::P256 => "p256",
        };
        let directory_only = home == KeyHome::DirectoryOnly;
        let wanted = json!({ "did": account.did, "curve": curve, "directoryOnly": directory_only });
        text(&self.control("rotateKey", wanted).await, "/signingKey")
    }

    /// Moves an account with its records and blobs to another PDS, as a client that migrates does. It gets a
    /// handle under the new PDS's domain; the session at the old PDS goes on, of an account deactivated there.
    pub(crate) async fn migrate(&self, account: &Account, to: &Pds) -> Account {
        let Account { did, email, password, .. } = account;
        let handle = format!("{}{}", self.new_name(), to.handle_domain);
        let wanted =
            json!({ "did": did, "email": email, "password": password, "handle": handle, "to": to.url });
        self.control("migrate", wanted).await;
        let moved = Account { handle, pds: to.clone(), ..account.clone() };
        moved.sign_in(&account.password).await
    }
}

impl Account {
    /// Begins a query to the account's PDS, in its name.
    pub(crate) fn query(&self, nsid: &str) -> Call {
        Call::query(&self.pds.url, nsid).bearer(&self.access_jwt)
    }

    /// Begins a procedure at the account's PDS, in its name.
    pub(crate) fn procedure(&self, nsid: &str) -> Call {
        Call::procedure(&self.pds.url, nsid).bearer(&self.access_jwt)
    }

    /// The same account with a session made with `password`, which may be an app password.
    pub(crate) async fn sign_in(&self, password: &str) -> Account {
        let wanted = json!({ "identifier": self.did, "password": password });
        let call = Call::procedure(&self.pds.url, "com.atproto.server.createSession").json(&wanted);
        let access_jwt = text(&call.send().await.ok(), "/accessJwt");
        Account { access_jwt, password: password.to_owned(), ..self.clone() }
    }

    /// A new app password.
    pub(crate) async fn create_app_password(&self, name: &str) -> String {
        let call = self.procedure("com.atproto.server.createAppPassword").json(&json!({ "name": name }));
        text(&call.send().await.ok(), "/password")
    }

    /// Asks the PDS for a token for the service `audience` and the method `lxm`, by default one of 60 s;
    /// `expires_at` is in seconds since the epoch.
    pub(crate) async fn service_auth(
        &self,
        audience: &str,
        lxm: Option<&str>,
        expires_at: Option<u64>,
    ) -> Answer {
        let mut call = self.query("com.atproto.server.getServiceAuth").param("aud", audience);
        if let Some(lxm) = lxm {
            call = call.param("lxm", lxm);
        }
        if let Some(expires_at) = expires_at {
            call = call.param("exp", expires_at);
        }
        call.send().await
    }

    /// A token for one call of `lxm` at the service `audience`, 60 s long.
    pub(crate) async fn service_token(&self, audience: &str, lxm: &str) -> String {
        text(&self.service_auth(audience, Some(lxm), None).await.ok(), "/token")
    }

    /// Uploads a blob, and tells what a record says to refer to it.
    pub(crate) async fn upload_blob(&self, content_type: &str, bytes: &[u8]) -> Value {
        let call = self.procedure("com.atproto.repo.uploadBlob").body(content_type, bytes.to_vec());
        call.send().await.ok()["blob"].take()
    }

    /// Writes a record, new or in place of an older one, and tells its at-uri and CID.
    pub(crate) async fn put_record(&self, collection: &str, rkey: &str, record: &Value) -> (String, String) {
        let wanted = json!({ "repo": self.did, "collection": collection, "rkey": rkey, "record": record });
        let put = self.procedure("com.atproto.repo.putRecord").json(&wanted).send().await.ok();
        (text(&put, "/uri"), text(&put, "/cid"))
    }

    /// Deletes a record.
    pub(crate) async fn delete_record(&self, collection: &str, rkey: &str) {
        let wanted = json!({ "repo": self.did, "collection": collection, "rkey": rkey });
        self.procedure("com.atproto.repo.deleteRecord").json(&wanted).send().await.ok();
    }

    /// The owner takes the account off the network.
    pub(crate) async fn deactivate(&self) {
        self.procedure("com.atproto.server.deactivateAccount").json(&json!({})).send().await.ok();
    }

    /// The owner puts the account back on the network.
    pub(crate) async fn activate(&self) {
        self.procedure("com.atproto.server.activateAccount").send().await.ok();
    }

    /// The PDS's administrator takes the whole account down, or puts it up again.
    pub(crate) async fn take_down(&self, down: bool) {
        let subject = json!({ "$type": "com.atproto.admin.defs#repoRef", "did": self.did });
        self.set_takedown(subject, down).await;
    }

    /// The PDS's administrator takes one blob of the account down, or puts it up again.
    pub(crate) async fn take_down_blob(&self, cid: &str, down: bool) {
        let subject = json!({ "$type": "com.atproto.admin.defs#repoBlobRef", "did": self.did, "cid": cid });
        self.set_takedown(subject, down).await;
    }

    async fn set_takedown(&self, subject: Value, down: bool) {
        let wanted = json!({ "subject": subject, "takedown": { "applied": down, "ref": "test" } });
        let call = Call::procedure(&self.pds.url, "com.atproto.admin.updateSubjectStatus");
        call.admin(&self.pds.admin_password).json(&wanted).send().await.ok();
    }
}
