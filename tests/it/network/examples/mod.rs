//! The examples that somebody would want, on the data of the real PDS: deployed by our own command, called through a PDS.
//!
//! What they read is written as clients write it; what they answer is compared as a whole.

mod alt_text;
mod follow_overlap;
mod thread_summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use super::accounts::{Person, stderr};
use super::{Account, Network, Service};

/// Records that a PDS takes in one write.
const WRITES: usize = 200;

/// An author at a terminal, logged in, with a service to call.
struct Author<'a> {
    person: Person<'a>,
    service: Service,
}

impl Author<'_> {
    /// With a service as operators run it.
    async fn start(network: &Network) -> Author<'_> {
        Author::start_with(network, &[]).await
    }

    /// With a service whose guests run in threads: they begin at once, and are told the same.
    async fn start_in_threads(network: &Network) -> Author<'_> {
        Author::start_with(network, &["--isolation=thread"]).await
    }

    async fn start_with<'a>(network: &'a Network, settings: &[&str]) -> Author<'a> {
        let service = Service::start(network, settings).await;
        let account = network.create_account(network.pds(0)).await;
        let person = Person::new(network);
        person.log_in(&account, &account.create_app_password("laptop").await).await;
        Author { person, service }
    }

    /// Deploys an example as it stands in its folder, and tells its at-uri.
    async fn deploys(&self, example: &str, flags: &[&str]) -> String {
        let project = tempfile::tempdir().expect("a directory");
        let path = copied(example, project.path());
        let path = path.to_str().expect("a path that is text");
        let built = self.person.json(&["build", path]).await;
        assert_eq!(built["fits"], true, "{built}");
        let deployed = self.person.json(&[&["deploy", path, "--yes"], flags].concat()).await;
        deployed["uri"].as_str().expect("a uri").to_owned()
    }

    /// The answer to a call through the author's PDS.
    async fn call(&self, function: &str, input: &Value) -> Value {
        let output = self.invoked(function, input, &["--json"]).await;
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).expect("an answer is JSON")
    }

    /// Calls until the output is this one, ten times at most, and gives the answer: on a busy machine a run may have too
    /// little time now and then.
    async fn answers(&self, function: &str, input: &Value, output: &Value) -> Value {
        let mut answer = self.call(function, input).await;
        for _ in 0..9 {
            if answer["output"] != *output {
                answer = self.call(function, input).await;
            }
        }
        assert_eq!(answer["output"], *output, "{answer}");
        assert_eq!(answer.get("outputSchemaMismatch"), None, "{answer}");
        answer
    }

    async fn invoked(&self, function: &str, input: &Value, more: &[&str]) -> Output {
        let (input, audience) = (input.to_string(), self.service.audience());
        let arguments = ["--input", &input, "--service", &audience];
        self.person.invokes(function, &[&arguments, more].concat()).await
    }

    /// The output of a function that says what is wrong in the only way that its mode has.
    async fn output_of_failure(&self, function: &str, input: &Value) -> Value {
        let answer = self.call(function, input).await;
        assert!(answer["outputSchemaMismatch"].is_string(), "{answer}");
        answer["output"].clone()
    }

    /// What a call says that fails.
    async fn refusal(&self, function: &str, input: &Value) -> String {
        let output = self.invoked(function, input, &[]).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        stderr(&output)
    }
}

/// An example's project, with the module that is committed in place of the build that made it.
fn copied(example: &str, to: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
    let module = format!("{example}.wasm");
    let manifest = fs::read_to_string(from.join("at-functions.toml")).expect("an example has its manifest");
    let (function, _) = manifest.split_once("[build]").expect("an example says how it is built");
    fs::create_dir(to.join("schemas")).expect("a folder can be made");
    for file in [module.as_str(), "schemas/input.json", "schemas/output.json"] {
        fs::copy(from.join(file), to.join(file)).expect("a file can be copied");
    }
    let manifest = format!("{function}[build]\nmodule = \"{module}\"\n");
    fs::write(to.join("at-functions.toml"), manifest).expect("a file can be written");
    to.to_owned()
}

/// The key of a record that was made as the `n`th.
fn tid(n: usize) -> String {
    const DIGITS: &[u8] = b"234567abcdefghijklmnopqrstuvwxyz";
    let digit = |place: u32| char::from(DIGITS[n / 32_usize.pow(place) % 32]);
    format!("3kaaaaaa{}{}{}22", digit(2), digit(1), digit(0))
}

/// When it was made, as it says.
fn time(n: usize) -> String {
    format!("2026-01-01T{:02}:{:02}:{:02}.000Z", n / 3600, n / 60 % 60, n % 60)
}

impl Account {
    /// Writes records in the order in which they are given, many at once. What has not the form of its collection is let in.
    async fn write_all(&self, collection: &str, records: &[(String, Value)]) {
        for records in records.chunks(WRITES) {
            let writes: Vec<_> = records
                .iter()
                .map(|(rkey, value)| {
                    json!({
                        "$type": "com.atproto.repo.applyWrites#create",
                        "collection": collection, "rkey": rkey, "value": value,
                    })
                })
                .collect();
            let wanted = json!({ "repo": self.did, "validate": false, "writes": writes });
            self.procedure("com.atproto.repo.applyWrites").json(&wanted).send().await.ok();
        }
    }
}
