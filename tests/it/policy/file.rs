//! The policy file: when it counts, and when it does not.

use std::process::Stdio;
use std::time::Duration;

use at_functions::clock::Clock;
use at_functions::config::{Config, Settings, UndeclaredReads};
use at_functions::identity::Did;
use at_functions::lexicon::RecordKey;
use at_functions::policy::{Basis, Policy};
use at_functions::server::Service;
use serde_json::{Value, json};

use super::{Governed, author, grant, name_of, private};
use crate::patience::soon;
use crate::ports::closed_port;
use crate::world::{Caller, ECHO, World};

#[tokio::test]
async fn a_file_that_changes_is_taken_by_itself_and_one_that_is_wrong_is_not() {
    let governed = Governed::start("").await;
    let world = &governed.world;
    let (caller, echo) = (world.caller(1), world.publish("echo", ECHO).uri.to_string());
    let blocks = format!("callers.block = [\"{}\"]", caller.did);
    assert_eq!(governed.decided(Some(&caller), &echo).await, "ok");

    std::fs::write(&governed.file, &blocks).unwrap();
    soon(async || governed.decided(Some(&caller), &echo).await == "CallerBlocked").await;
    // As editors and Kubernetes do.
    let next = governed.file.with_extension("next");
    std::fs::write(&next, "").unwrap();
    std::fs::rename(&next, &governed.file).unwrap();
    soon(async || governed.decided(Some(&caller), &echo).await == "ok").await;

    std::fs::write(&governed.file, blocks.replace("block", "blok")).unwrap();
    assert!(!world.reload_policy().await);
    assert_eq!(governed.decided(Some(&caller), &echo).await, "ok");
    governed.rule(&blocks).await;
    std::fs::remove_file(&governed.file).unwrap();
    assert!(!world.reload_policy().await);
    assert_eq!(governed.decided(Some(&caller), &echo).await, "CallerBlocked");
}

fn config(policy: &str) -> Config {
    let directory = tempfile::tempdir().unwrap().keep();
    let file = directory.join("policy.toml");
    std::fs::write(&file, policy).unwrap();
    Config::complete(Settings {
        hostname: Some("localhost:3000".into()),
        data_dir: Some(directory.join("data")),
        policy: Some(file),
        max_memory_mb: Some(64),
        ..Settings::default()
    })
    .unwrap()
}

#[tokio::test]
async fn a_service_does_not_start_with_a_file_that_is_wrong() {
    let wrong = config("[[limits]]\nauthor = \"did:web:a.com\"\nmax_memory_mb = 65\n");
    let error = Service::start(&wrong, Clock::system()).map(drop).unwrap_err().to_string();
    let told = "/policy.toml: line 3, column 17: limits[0].max_memory_mb: 65 is not 1 to 64: a policy only lowers \
                what --max-memory-mb gives to all";
    assert!(error.starts_with("--policy ") && error.ends_with(told), "{error}");
    assert!(!wrong.data_dir.exists(), "it made its data directory before it looked");
}

#[test]
fn the_example_file_is_right_and_so_is_what_it_comments_out() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/policy.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let basis = Basis::of(&config(""));
    let settings = Policy::of_settings(&basis);
    let example = Policy::from_file(text.as_bytes(), &basis).unwrap();
    assert_eq!(format!("{example:?}"), format!("{settings:?}"));
    // What is no prose begins a table, an assignment or an entry.
    let uncomment = |line: &str| match line.trim_start().strip_prefix("# ") {
        Some(rest)
            if rest.starts_with(['[', '"']) || rest.split_once(" = ").is_some_and(|(key, _)| is_key(key)) =>
        {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    let whole: String = text.lines().map(|line| uncomment(line) + "\n").collect();
    let policy =
        Policy::from_file(whole.as_bytes(), &basis).unwrap_or_else(|error| panic!("{error}\n{whole}"));
    let author = Did::parse("did:plc:ewvi7nxzyoun6zhxrhs64oiz").unwrap();
    let ceiling = policy.ceiling(&author, &RecordKey::parse("f").unwrap());
    assert_eq!((ceiling.memory_mb, ceiling.duration), (32, Duration::from_millis(500)));
    assert!(policy.admit_function(&author, &RecordKey::parse("miner").unwrap(), None).is_err());
    assert_eq!(policy.undeclared_reads(), UndeclaredReads::Any);
}

fn is_key(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

/// A service in a process of its own, with this policy file.
fn spawn(origin: &str, port: u16, policy: &std::path::Path, log: std::fs::File) -> tokio::process::Child {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_at-functions"));
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AT_FUNCTIONS_"))
    {
        command.env_remove(name);
    }
    command.arg("serve").arg(format!("--policy={}", policy.display()));
    command.arg(format!("--data-dir={}", policy.with_file_name("data").display()));
    command.args([format!("--hostname=localhost:{port}"), format!("--listen=127.0.0.1:{port}")]);
    command.args([format!("--plc-url={origin}"), format!("--handle-resolver={origin}")]);
    command.arg(format!("--admin-listen=127.0.0.1:{}", closed_port()));
    command.args(["--allow-private-network", "--isolation=thread", "--log-format=json"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap()
}

#[tokio::test]
async fn sighup_reads_the_file_and_the_log_names_the_rule_that_decided() {
    let directory = tempfile::tempdir().unwrap();
    let [policy, log] = ["policy.toml", "log"].map(|name| directory.path().join(name));
    std::fs::write(&policy, "").unwrap();
    let port = closed_port();
    let mut service = None;
    let world = World::around(async |origin| {
        service = Some(spawn(origin, port, &policy, std::fs::File::create(&log).unwrap()));
        (format!("http://localhost:{port}"), format!("did:web:localhost%3A{port}"))
    })
    .await;
    let mut service = service.unwrap();
    let health = format!("{}/xrpc/_health", world.endpoint);
    soon(async || {
        assert_eq!(service.try_wait().unwrap(), None, "{}", std::fs::read_to_string(&log).unwrap());
        world.client.get(&health).send().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    let (caller, echo) = (world.caller(1), world.publish("echo", ECHO).uri);
    let decided = async || name_of(&world.run_as(&caller, &echo, json!(1)).await);
    assert_eq!(decided().await, "ok");

    let hang_up = || {
        let pid = rustix::process::Pid::from_raw(service.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    };
    let lines = || std::fs::read_to_string(&log).unwrap();
    std::fs::write(&policy, "callers.block = [7]").unwrap();
    hang_up();
    let refused =
        "the policy file is wrong, and the rules before it stay in force: line 1, column 18: invalid type";
    soon(async || lines().matches(refused).count() >= 1).await;
    // Looks by themselves tell of one file once; who asks is told each time.
    hang_up();
    soon(async || lines().matches(refused).count() >= 2).await;
    assert_eq!(decided().await, "ok");
    std::fs::write(&policy, format!("callers.block = [\"did:web:a.com\", \"{}\"]", caller.did)).unwrap();
    hang_up();
    soon(async || decided().await == "CallerBlocked").await;
    // Each call's log line names the rule that decided.
    let audited = async |caller: &Caller, uri: &dyn ToString| {
        let answer = world.run_as(caller, &uri.to_string(), json!(1)).await;
        let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
        let line = || {
            let of_call = |line: &Value| line["target"] == "call" && line["request"] == id;
            lines().lines().filter_map(|line| serde_json::from_str(line).ok()).find(of_call)
        };
        soon(async || line().is_some()).await;
        let line = line().unwrap();
        assert_eq!(line["caller"], json!(caller.did));
        [&line["decided"], &line["rule"]].map(|field| field.as_str().unwrap().to_owned())
    };
    assert_eq!(audited(&caller, &echo).await, ["CallerBlocked", "callers.block[1]"]);
    let (author, friend) = (author(&world), world.caller(2));
    let [hidden, other] = [private(&world, "hidden"), world.publish("other", ECHO).uri.to_string()];
    grant(&world, "hidden", &friend.did, None);
    let rules = format!("authors.allow = [\"{}\"]\nfunctions.block = [\"{other}\"]", author.did);
    std::fs::write(&policy, rules).unwrap();
    hang_up();
    soon(async || decided().await == "ok").await;
    assert_eq!(audited(&caller, &echo).await, ["ok", "authors.allow[0]"]);
    assert_eq!(audited(&caller, &other).await, ["FunctionBlocked", "functions.block[0]"]);
    assert_eq!(audited(&caller, &hidden).await, ["FunctionNotPublic", "public"]);
    assert_eq!(audited(&friend, &hidden).await, ["ok", "grant"]);
    assert_eq!(audited(&author, &hidden).await, ["ok", "author"]);
}
