//! The commands of authors and callers, against the real network and the real service.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use at_functions::identity::Curve;
use serde_json::{Value, json};

use super::functions::constant;
use super::{Account, KeyHome, Network, Service};
use crate::patience;

/// Where the example's module stands.
const ECHO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust/echo.wasm");

/// Runs the binary with an account's credentials in its environment.
async fn command(network: &Network, account: Option<&Account>, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_at-functions"));
    command.args(arguments).stdin(Stdio::null()).env("AT_FUNCTIONS_PLC_URL", network.plc_url());
    command.env("AT_FUNCTIONS_ALLOW_PRIVATE_NETWORK", "true");
    command.env("AT_FUNCTIONS_HANDLE_RESOLVER", network.handle_resolver_url());
    if let Some(account) = account {
        command.env("AT_FUNCTIONS_HANDLE", &account.did).env("AT_FUNCTIONS_PASSWORD", &account.password);
    }
    command.output().await.expect("the binary was built with this test")
}

async fn json_of(network: &Network, account: Option<&Account>, arguments: &[&str]) -> Value {
    let output = command(network, account, arguments).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
}

fn file(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::File::create(&path).and_then(|mut file| file.write_all(bytes)).expect("a file can be written");
    path
}

#[tokio::test]
async fn an_author_deploys_looks_calls_and_deletes() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &["--anonymous=public"]).await;
    let author = network.create_account(network.pds(0)).await;
    let app_password = author.create_app_password("functions").await;
    let author = Account { password: app_password, ..author };
    let audience = service.audience();

    let deployed = json_of(network, Some(&author), &["deploy", ECHO, "--name", "echo", "--json"]).await;
    let uri = deployed["uri"].as_str().expect("a uri").to_owned();
    assert_eq!(uri, format!("at://{}/at.functions.metadata/echo", author.did));

    let listed = json_of(network, None, &["list", &author.did, "--json"]).await;
    assert!(listed.to_string().contains(&uri), "{listed}");
    let described = json_of(network, None, &["describe", &uri, "--json"]).await;
    assert_eq!(described["cid"], deployed["cid"], "{described}");
    assert_eq!((&described["verified"], &described["invalidFunction"]), (&json!(true), &Value::Null));

    for how in [&["--service", &audience][..], &["--service", &audience, "--direct"]] {
        let arguments = [&["invoke", &uri, "--input", r#"{"a":1}"#, "--json"], how].concat();
        let answer = json_of(network, Some(&author), &arguments).await;
        assert_eq!(answer["output"]["echo"], json!({ "a": 1 }), "{how:?}");
        assert_eq!(answer["functionCid"], deployed["cid"], "{how:?}");
    }
    let arguments = ["invoke", &uri, "--input", "[2]", "--json", "--service", &audience, "--anonymous"];
    assert_eq!(json_of(network, None, &arguments).await["output"]["echo"], json!([2]));

    for how in [&[][..], &["--direct"], &["--anonymous"]] {
        let arguments = [&["describe", &uri, "--json", "--service", &audience], how].concat();
        let told = json_of(network, Some(&author), &arguments).await;
        assert_eq!((&told["cid"], &told["mayRun"]), (&deployed["cid"], &json!(true)), "{how:?}");
    }

    let deleted = command(network, Some(&author), &["delete", &uri, "--yes"]).await;
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    let listed = json_of(network, None, &["list", &author.did, "--json"]).await;
    assert!(!listed.to_string().contains(&uri), "{listed}");
    let described = command(network, None, &["describe", &uri]).await;
    assert_eq!(described.status.code(), Some(1), "{described:?}");
    let told = String::from_utf8_lossy(&described.stderr);
    assert!(told.contains("there is no such record, as the author's signature proves"), "{told}");
}

#[tokio::test]
async fn an_author_lets_somebody_in_looks_and_takes_it_back() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let friend = network.create_account(network.pds(0)).await;
    let deploy = ["deploy", ECHO, "--name", "hidden", "--private", "--json"];
    let uri = json_of(network, Some(&author), &deploy).await["uri"].as_str().expect("a uri").to_owned();
    let audience = service.audience();
    let granted =
        json_of(network, Some(&author), &["grant", "hidden", &friend.did, "--expires", "1h", "--json"]).await;
    assert_eq!((&granted["function"], &granted["caller"]), (&json!(uri), &json!(friend.did)));
    let invoke = ["invoke", &uri, "--input", "[1]", "--service", &audience, "--json"];
    // On a busy machine the service may say that the function is not compiled yet, and to come back.
    patience::soon(async || command(network, Some(&friend), &invoke).await.status.code() != Some(3)).await;
    assert_eq!(json_of(network, Some(&friend), &invoke).await["output"]["echo"], json!([1]));

    let listed = json_of(network, None, &["grants", &author.did, "--json"]).await;
    assert_eq!(listed["grants"][0]["uri"], granted["uri"]);
    assert_eq!(listed["grants"][0]["state"], "holds");
    assert_eq!(listed["grants"][0]["record"]["expiresAt"], granted["expiresAt"]);

    let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let taken = command(network, Some(&author), &["ungrant", &uri, &friend.did]).await;
    let expected = format!("taken back: {} may no longer run {uri}\n", friend.did);
    assert_eq!((taken.status.code(), text(&taken)), (Some(0), expected));
    let listed = command(network, None, &["grants", &author.did]).await;
    assert_eq!(text(&listed), format!("{} has no grants\n", author.did));
    let again = command(network, Some(&author), &["ungrant", &uri, &friend.did]).await;
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    let absent = command(network, Some(&author), &["grant", "absent", &friend.did]).await;
    assert_eq!(absent.status.code(), Some(1), "{absent:?}");
    let over = command(network, Some(&author), &["grant", "hidden", &friend.did, "--expires", "0m"]).await;
    assert_eq!(over.status.code(), Some(2), "{over:?}");
    let others = command(network, Some(&friend), &["grant", &uri, &friend.did]).await;
    assert_eq!(others.status.code(), Some(2), "{others:?}");
}

#[tokio::test]
async fn describe_believes_no_key_but_the_one_in_the_directory() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let (uri, cid) = author.publish_echo().await;
    network.rotate_key(&author, Curve::P256, KeyHome::Everywhere).await;
    assert_eq!(json_of(network, None, &["describe", &uri, "--json"]).await["cid"], cid);
    network.rotate_key(&author, Curve::K256, KeyHome::DirectoryOnly).await;
    let refused = command(network, None, &["describe", &uri]).await;
    assert_eq!((refused.status.code(), refused.stdout.as_slice()), (Some(1), &b""[..]));
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("the commit's signature is not of the author's key"), "{told}");
}

#[tokio::test]
async fn a_module_that_the_service_would_refuse_is_not_uploaded() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let directory = tempfile::tempdir().expect("a directory");
    let module = wat::parse_str(r#"(module (import "wasi_snapshot_preview1" "fd_writes" (func)))"#);
    let file = file(directory.path(), "wasi.wasm", &module.expect("the module is right"));
    let file = file.to_str().expect("a path that is text");
    let refused = command(network, Some(&author), &["deploy", file, "--name", "wasi"]).await;
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("imports a function `wasi_snapshot_preview1.fd_writes`"), "{told}");
    let listed = json_of(network, None, &["list", &author.did, "--json"]).await;
    assert_eq!(listed["functions"], json!([]));
}

#[tokio::test]
async fn an_exit_code_is_zero_only_for_an_answer_that_is_ok() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &["--anonymous=public"]).await;
    let author = network.create_account(network.pds(0)).await;
    let directory = tempfile::tempdir().expect("a directory");
    let broken = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) i32.const 16)
             (func (export "run") (param i32 i32) (result i64) unreachable))"#,
    )
    .expect("the module is right");
    let file = file(directory.path(), "broken.wasm", &broken);
    let file = file.to_str().expect("a path that is text");
    let deployed = json_of(network, Some(&author), &["deploy", file, "--name", "broken", "--json"]).await;
    let uri = deployed["uri"].as_str().expect("a uri");
    let audience = service.audience();
    let invoke = ["invoke", uri, "--input", "{}", "--service", &audience, "--anonymous"];
    let failed = command(network, None, &invoke).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("trap"), "{failed:?}");
    let absent = format!("at://{}/at.functions.metadata/absent", author.did);
    let invoke = ["invoke", &absent, "--input", "{}", "--service", &audience, "--anonymous"];
    let refused = command(network, None, &invoke).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("FunctionNotFound"), "{refused:?}");
}

#[tokio::test]
async fn a_second_deploy_replaces_the_code() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &["--anonymous=public"]).await;
    let author = network.create_account(network.pds(0)).await;
    let directory = tempfile::tempdir().expect("a directory");
    let audience = service.audience();
    for answer in ["\"one\"", "\"two\""] {
        let file = file(directory.path(), "fn.wasm", &constant(answer));
        let file = file.to_str().expect("a path that is text");
        let deployed = json_of(network, Some(&author), &["deploy", file, "--name", "fn", "--json"]).await;
        // Pinned to the new record, the service reads it anew rather than from its cache.
        let (uri, cid) = (deployed["uri"].as_str().expect("a uri"), deployed["cid"].as_str().expect("a cid"));
        let invoke =
            ["invoke", uri, "--cid", cid, "--input", "{}", "--json", "--service", &audience, "--anonymous"];
        let called = json_of(network, None, &invoke).await;
        assert_eq!(called["output"].to_string(), answer);
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_with_what_to_do() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let wrong = Account { password: "wrong".into(), ..author };
    let output = command(network, Some(&wrong), &["deploy", ECHO, "--name", "echo"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("app password"), "{output:?}");
}
