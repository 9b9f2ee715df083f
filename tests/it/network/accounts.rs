//! `login`, `logout` and `accounts` against the real PDS.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use super::xrpc::Call;
use super::{Account, Network};
use crate::patience::PATIENCE;

/// A person at a machine: a home of their own, and none of this one's variables.
pub(super) struct Person<'a> {
    network: &'a Network,
    home: tempfile::TempDir,
}

impl Person<'_> {
    pub(super) fn new(network: &Network) -> Person<'_> {
        Person { network, home: tempfile::tempdir().expect("a directory") }
    }

    pub(super) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(super) fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_at-functions"));
        command.env_clear().env("HOME", self.home()).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        command.env("AT_FUNCTIONS_PLC_URL", self.network.plc_url());
        command
    }

    pub(super) async fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.expect("the binary was built with this test")
    }

    /// What a command that succeeds prints.
    pub(super) async fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    pub(super) async fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// What a command that fails says, and how it ends.
    pub(super) async fn refusal(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments).await;
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        (output.status.code().expect("an exit code"), stderr(&output))
    }

    /// Calls a function. A service that still compiles it says so, and is asked again.
    pub(super) async fn invokes(&self, function: &str, arguments: &[&str]) -> Output {
        let arguments = [&["invoke", function], arguments].concat();
        let began = std::time::Instant::now();
        loop {
            let output = self.run(&arguments).await;
            let compiles = stderr(&output).starts_with("error: NotEnoughResources ");
            if !compiles || began.elapsed() > PATIENCE {
                return output;
            }
        }
    }

    /// Logs in with a password in a file that is gone afterwards.
    pub(super) async fn log_in(&self, account: &Account, password: &str) -> Value {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), password).expect("a file can be written");
        let file = file.path().to_str().expect("a path that is text");
        self.json(&["login", "--handle", &account.did, "--password-file", file]).await
    }

    pub(super) fn session_file(&self, account: &Account) -> PathBuf {
        let name = format!("{}.json", account.did.replace([':', '%'], "_"));
        self.home().join(".local/state/at-functions/accounts").join(name)
    }

    pub(super) fn session(&self, account: &Account) -> Value {
        let bytes = std::fs::read(self.session_file(account)).expect("a session is kept");
        serde_json::from_slice(&bytes).expect("a session is JSON")
    }

    /// Makes the kept access token look as if it had ended.
    fn let_token_end(&self, account: &Account) {
        let mut session = self.session(account);
        session["accessJwt"] = format!("e30.{}.x", BASE64URL_NOPAD.encode(br#"{"exp":1}"#)).into();
        std::fs::write(self.session_file(account), session.to_string()).expect("a file can be written");
    }
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(super) async fn is_alive(account: &Account, token: &Value) -> bool {
    let token = token.as_str().expect("a token");
    let call = Call::procedure(&account.pds.url, "com.atproto.server.refreshSession").bearer(token);
    call.send().await.status.is_success()
}

#[tokio::test]
async fn a_person_logs_in_once_works_and_logs_out() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let app_password = author.create_app_password("laptop").await;
    let person = Person::new(network);
    let (code, told) = person.refusal(&["list"]).await;
    assert_eq!(code, 2);
    assert!(told.contains("nobody is logged in") && told.contains("at-functions login"), "{told}");

    let made = person.log_in(&author, &app_password).await;
    assert_eq!(made, json!({"did": author.did, "handle": author.handle, "pds": author.pds.url}));
    let file = person.session_file(&author);
    let kept = std::fs::read_to_string(&file).expect("a session is kept");
    assert!(!kept.contains(&app_password), "the password is kept");
    #[cfg(unix)]
    for (path, expected) in [(file.as_path(), 0o600), (file.parent().expect("a folder"), 0o700)] {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("it is there").permissions());
        assert_eq!(mode & 0o777, expected, "{}", path.display());
    }

    let echo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust/echo.wasm");
    let deployed = person.json(&["deploy", echo, "--name", "echo"]).await;
    let listed = person.json(&["list"]).await;
    assert_eq!(listed["functions"][0]["uri"], deployed["uri"]);
    person.text(&["delete", "echo", "--yes"]).await;

    let session = person.session(&author);
    let told = person.text(&["logout"]).await;
    assert_eq!(told, format!("logged out {} ({})\n", author.handle, author.did));
    assert!(!file.exists());
    assert!(!is_alive(&author, &session["refreshJwt"]).await, "the PDS still knows the session");
    assert_eq!(person.text(&["logout"]).await, "no account is logged in\n");
    assert_eq!(person.refusal(&["delete", "echo", "--yes"]).await.0, 2);
}

#[tokio::test]
async fn a_token_that_ended_is_renewed_for_all_processes_that_need_it_at_once() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let person = Person::new(network);
    person.log_in(&author, &author.create_app_password("laptop").await).await;
    let before = person.session(&author);
    person.let_token_end(&author);
    let echo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust/echo.wasm");
    // What is written needs a token that is good; what is read would not.
    let deploy = async |name: &str| person.run(&["deploy", echo, "--name", name, "--yes"]).await;
    let (one, two, three) = tokio::join!(deploy("one"), deploy("two"), deploy("three"));
    for output in [one, two, three] {
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let after = person.session(&author);
    assert_ne!(after["refreshJwt"], before["refreshJwt"]);
    assert!(is_alive(&author, &after["refreshJwt"]).await, "the token that is kept is the last one");
}

#[tokio::test]
async fn a_session_that_the_pds_ended_is_told_with_what_to_do() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let person = Person::new(network);
    person.log_in(&author, &author.create_app_password("laptop").await).await;
    let revoke = author.procedure("com.atproto.server.revokeAppPassword").json(&json!({ "name": "laptop" }));
    assert!(revoke.send().await.status.is_success());
    person.let_token_end(&author);
    let (code, told) = person.refusal(&["delete", "echo", "--yes"]).await;
    assert_eq!(code, 1);
    assert!(told.contains(&format!("has ended: `at-functions login --handle {}`", author.handle)), "{told}");
    // What is over already can be logged out all the same.
    person.text(&["logout"]).await;
    assert_eq!(person.json(&["accounts"]).await, json!({ "accounts": [] }));
}

#[tokio::test]
async fn one_of_several_accounts_is_chosen_and_variables_win_over_the_default() {
    let Some(network) = Network::shared() else { return };
    let alice = network.create_account(network.pds(0)).await;
    let bob = network.create_account(network.pds(1)).await;
    let carol = network.create_account(network.pds(0)).await;
    let person = Person::new(network);
    person.log_in(&alice, &alice.create_app_password("laptop").await).await;
    person.log_in(&bob, &bob.create_app_password("laptop").await).await;
    let row = |account: &Account, default: bool| json!({"did": account.did, "handle": account.handle, "pds": account.pds.url, "default": default});
    let mut rows = [row(&alice, false), row(&bob, true)];
    rows.sort_by_key(|row| row["handle"].to_string());
    assert_eq!(person.json(&["accounts"]).await, json!({ "accounts": rows }));
    let of = async |arguments: &[&str]| person.json(&[&["list"], arguments].concat()).await["repo"].clone();
    assert_eq!(of(&[]).await, bob.did);
    assert_eq!(of(&["--account", &alice.handle]).await, alice.did);
    person.text(&["accounts", "--default", &alice.handle]).await;
    assert_eq!(of(&[]).await, alice.did);

    // Where a record would go, without anything being written: to whom the PDS says that there is none.
    let target = async |variables: &[(&str, &str)], arguments: &[&str]| {
        let all = [&["delete", "absent", "--yes"], arguments].concat();
        let output = person.command(&all).envs(variables.iter().copied()).output().await.expect("it runs");
        stderr(&output)
    };
    let as_carol =
        [("AT_FUNCTIONS_HANDLE", carol.did.as_str()), ("AT_FUNCTIONS_PASSWORD", carol.password.as_str())];
    assert!(target(&as_carol, &[]).await.contains(&carol.did));
    assert!(target(&as_carol, &["--account", &bob.handle]).await.contains(&bob.did));
    assert!(target(&as_carol[..1], &[]).await.contains("it is not logged in"));
    let (code, told) = person.refusal(&["delete", "x", "--yes", "--account", &carol.handle]).await;
    assert_eq!(code, 2);
    assert!(told.contains(&format!("at-functions login --handle {}", carol.handle)), "{told}");
    let elsewhere = ["delete", "x", "--yes", "--account", &alice.handle, "--pds", &bob.pds.url];
    assert!(person.refusal(&elsewhere).await.1.contains("you are logged in at"));

    assert_eq!(person.json(&["logout", "--all"]).await["loggedOut"].as_array().map(Vec::len), Some(2));
    assert_eq!(person.text(&["accounts"]).await, "no account is logged in: `at-functions login`\n");
}

#[tokio::test]
async fn a_login_that_is_not_let_in_keeps_nothing() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let person = Person::new(network);
    let login = ["login", "--handle", &author.did];
    let output =
        person.command(&login).env("AT_FUNCTIONS_PASSWORD", "wrong").output().await.expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(&output).contains("app password"), "{output:?}");
    assert!(!person.session_file(&author).exists());
    // The account's own password works, and is advised against.
    let output = person.command(&login).env("AT_FUNCTIONS_PASSWORD", &author.password).output().await;
    assert!(stderr(&output.expect("it runs")).contains("note: that was the account's own password"));
}
