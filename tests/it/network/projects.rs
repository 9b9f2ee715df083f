//! A project's way: deployed, compared, raised, rolled back, on the real PDS and service.

use std::path::Path;

use serde_json::{Value, json};

use super::accounts::{Person, stderr};
use super::functions::constant;
use super::{Network, Service};

/// Writes a project, and builds it.
async fn write(person: &Person<'_>, project: &Path, version: &str, answer: &str, more: &str) {
    let manifest = format!("name = \"fn\"\nversion = \"{version}\"\n{more}\n[build]\nmodule = \"fn.wasm\"\n");
    std::fs::write(project.join("at-functions.toml"), manifest).expect("a file can be written");
    std::fs::write(project.join("fn.wasm"), constant(answer)).expect("a file can be written");
    let built = person.json(&["build", project.to_str().expect("a path that is text")]).await;
    assert_eq!(built["fits"], true, "{built}");
}

#[tokio::test]
async fn a_project_is_deployed_compared_raised_and_rolled_back() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &["--anonymous=public"]).await;
    let author = network.create_account(network.pds(0)).await;
    let person = Person::new(network);
    person.log_in(&author, &author.create_app_password("laptop").await).await;
    let dir = tempfile::tempdir().expect("a directory");
    let project = dir.path().to_str().expect("a path that is text");
    write(&person, dir.path(), "0.1.0", "\"one\"", "").await;

    let (code, told) = person.refusal(&["deploy", project]).await;
    assert_eq!(code, 2);
    assert!(told.contains("--yes: give it where nobody can be asked"), "{told}");
    let first = person.json(&["deploy", project, "--yes"]).await;
    let uri = first["uri"].as_str().expect("a uri");
    assert_eq!(uri, format!("at://{}/at.functions.metadata/fn", author.did));
    let again = person.json(&["deploy", project, "--yes"]).await;
    assert_eq!(again, json!({"uri": uri, "cid": first["cid"], "unchanged": true}));

    // Other code under the same version is refused, and nothing is written.
    write(&person, dir.path(), "0.1.0", "\"two\"", "").await;
    let (code, told) = person.refusal(&["deploy", project, "--yes"]).await;
    assert_eq!(code, 2);
    assert!(told.contains("other code is deployed as 0.1.0: raise the version (to 0.1.1, say)"), "{told}");
    assert_eq!(person.json(&["list"]).await["functions"][0]["cid"], first["cid"]);

    write(&person, dir.path(), "0.2.0", "\"two\"", "public = true\nmax-duration-ms = 500").await;
    let wait = format!("--wait={}", service.did());
    let output = person.run(&["deploy", project, "--yes", "--json", &wait]).await;
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    let second: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for line in ["  version        0.1.0 -> 0.2.0\n", "  maxDurationMs  100 -> 500\n", "the service has it\n"]
    {
        assert!(told.contains(line), "{line} in {told}");
    }
    let audience = service.audience();
    let call = async |cid: &Value| {
        let cid = cid.as_str().expect("a cid");
        let arguments = ["invoke", uri, "--cid", cid, "--service", &audience, "--anonymous"];
        person.json(&arguments).await["output"].clone()
    };
    assert_eq!(call(&second["cid"]).await, "two");

    let kept = person.json(&["rollback", "--list"]).await;
    let told = |index: usize| [&kept["kept"][index]["version"], &kept["kept"][index]["current"]];
    assert_eq!([told(0), told(1)], [[&json!("0.2.0"), &json!(true)], [&json!("0.1.0"), &json!(false)]]);
    // The record has its CID again, so that callers who pinned it are served.
    let back = person.json(&["rollback", "fn", "--yes"]).await;
    assert_eq!((&back["cid"], &back["version"]), (&first["cid"], &json!("0.1.0")));
    assert_eq!(call(&first["cid"]).await, "one");
    let (code, told) = person.refusal(&["rollback", "fn", "--yes"]).await;
    assert_eq!(code, 2);
    assert!(told.contains("no version before the one that is deployed is kept"), "{told}");
    let forth = person.json(&["rollback", uri, "--yes", "--to", "0.2.0"]).await;
    assert_eq!(forth["cid"], second["cid"]);
    // What was deleted comes back too.
    person.text(&["delete", "fn", "--yes"]).await;
    assert_eq!(person.json(&["rollback", "fn", "--yes"]).await["cid"], second["cid"]);
    assert_eq!(call(&second["cid"]).await, "two");
}
