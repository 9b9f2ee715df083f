//! The way of a template's project on the network: deployed, called, raised, pinned, rolled back, deleted.
//!
//! In: a project of `at-functions new`, built; out: what callers get through their PDS. The walk itself, with all that comes
//! before a deployment, is in `projects::templates`.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use super::accounts::{Person, stderr};
use super::{Network, Service};

/// An author at a terminal, logged in, with a service to call.
pub(crate) struct Walker {
    person: Person<'static>,
    service: Service,
}

/// A version of a function, as it was deployed.
pub(crate) struct Version {
    uri: String,
    cid: String,
}

impl Walker {
    /// Nobody where the tests against the network are left out, which is said then.
    pub(crate) async fn start() -> Option<Walker> {
        let network = Network::shared()?;
        // Where guests run makes no difference to an author; threads begin at once.
        let service = Service::start(network, &["--isolation=thread"]).await;
        let account = network.create_account(network.pds(0)).await;
        let person = Person::new(network);
        person.log_in(&account, &account.create_app_password("laptop").await).await;
        Some(Walker { person, service })
    }

    /// Deploys the project, which is built first where its sources are newer. Calls that are pinned to it are
    /// served at once.
    pub(crate) async fn deploys(&self, project: &Path, told: &[&str]) -> Version {
        let mut deploy = self.person.command(&["deploy", text(project), "--yes", "--json"]);
        // Where its build finds its compiler.
        let path = std::env::var_os("PATH").expect("a PATH");
        let output = deploy.env("PATH", path).output().await.expect("it runs");
        let stderr = stderr(&output);
        assert!(output.status.success(), "{stderr}");
        for line in told {
            assert!(stderr.contains(line), "{line} in {stderr}");
        }
        let deployed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let of = |name: &str| deployed[name].as_str().expect("a text").to_owned();
        Version { uri: of("uri"), cid: of("cid") }
    }

    /// What the project cannot be deployed for.
    pub(crate) async fn is_refused(&self, project: &Path) -> String {
        let (code, told) = self.person.refusal(&["deploy", text(project), "--yes"]).await;
        assert_eq!(code, 2, "{told}");
        told
    }

    /// The output of a call through the author's PDS, pinned to a version.
    pub(crate) async fn calls(&self, version: &Version, input: &Value) -> Value {
        let output = self.invoked(version, input).await;
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).expect("an output is JSON")
    }

    /// The error of a call that is refused, pinned to a version.
    pub(crate) async fn is_not_served(&self, version: &Version, error: &str) {
        let output = self.invoked(version, &json!({})).await;
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.starts_with(&format!("error: {error} ")), "{told}");
    }

    async fn invoked(&self, version: &Version, input: &Value) -> Output {
        let (input, audience) = (input.to_string(), self.service.audience());
        let pinned = ["--input", &input, "--cid", &version.cid, "--service", &audience];
        self.person.invokes(&version.uri, &pinned).await
    }

    /// Brings the version before back, which has its own CID again.
    pub(crate) async fn rolls_back_to(&self, version: &Version, name: &str) {
        let back = self.person.json(&["rollback", name, "--yes"]).await;
        assert_eq!(back["cid"], version.cid);
    }

    /// Takes the function off the network.
    pub(crate) async fn deletes(&self, version: &Version, name: &str) {
        self.person.text(&["delete", name, "--yes"]).await;
        assert_eq!(self.person.json(&["list"]).await["functions"], json!([]));
        let (code, told) = self.person.refusal(&["describe", &version.uri]).await;
        assert_eq!(code, 1, "{told}");
        assert!(told.contains("there is no such record, as the author's signature proves"), "{told}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}
