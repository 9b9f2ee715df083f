//! Sessions by OAuth as they are refreshed: what comes of a refresh token, which is good for one use, is not lost.

use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::oauth::{at_home, authorizes, form, tokens, waiting};
use super::*;
use crate::patience;

const DELETE: [&str; 3] = ["delete", "echo", "--yes"];
const DELETES: &str = "/xrpc/com.atproto.repo.deleteRecord";

/// A person who logged in in the browser.
struct Person {
    pds: Server,
    home: tempfile::TempDir,
}

impl Person {
    async fn logged_in() -> Person {
        let (pds, home) = (pds().await, tempfile::tempdir().unwrap());
        authorizes(&pds, AUTHOR);
        let person = Person { pds, home };
        let (code, told) = person.log_in().await;
        assert_eq!(code, 0, "{told}");
        person
    }

    async fn log_in(&self) -> (i32, String) {
        let mut login = self.command(&["login", "--oauth", "--no-browser", AUTHOR]);
        waiting(&mut login).await.answered(&self.pds).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        at_home(self.home.path(), &self.pds, arguments)
    }

    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(&mut self.command(arguments)).await
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("accounts").join(format!("{}.json", AUTHOR.replace(':', "_")))
    }

    fn session(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.file()).unwrap()).unwrap()
    }

    /// Changes what is kept.
    fn keep(&self, change: impl FnOnce(&mut Value)) {
        let mut session = self.session();
        change(&mut session);
        std::fs::write(self.file(), session.to_string()).unwrap();
    }

    /// Makes the kept access token look as if it had ended.
    fn let_token_end(&self) {
        self.keep(|session| session["oauth"]["expiresAt"] = 1.into());
    }

    /// What the server gives from now on.
    fn gives(&self, access: &str, refresh: &str, change: impl FnOnce(&mut Value)) {
        let mut given = tokens(AUTHOR);
        (given["access_token"], given["refresh_token"]) = (access.into(), refresh.into());
        change(&mut given);
        self.pds.on("/oauth/token", answer(200, &given));
    }

    /// What the refresh tokens were that the server got.
    fn refreshes(&self) -> Vec<String> {
        let seen = self.pds.all_seen().into_iter().filter(|seen| seen.path == "/oauth/token");
        seen.filter_map(|seen| form(&seen).remove("refresh_token")).collect()
    }

    /// The tokens that records were deleted with, or would have been.
    fn shown(&self) -> Vec<String> {
        let seen = self.pds.all_seen().into_iter().filter(|seen| seen.path == DELETES);
        seen.map(|seen| seen.header("authorization").unwrap().to_owned()).collect()
    }
}

/// That a token is taken no more, as a PDS says it.
fn over() -> Answer {
    let mut answer = answer(401, &json!({"error": "invalid_token", "message": "it was revoked"}));
    answer.1.push(("www-authenticate", r#"DPoP error="invalid_token""#.to_owned()));
    answer
}

#[tokio::test]
async fn a_refresh_that_is_interrupted_is_let_end_and_kept() {
    let person = Person::logged_in().await;
    person.let_token_end();
    person.pds.on("/oauth/token", Answer(0, Vec::new(), Vec::new()));
    let mut process = person.command(&DELETE).stderr(Stdio::piped()).spawn().unwrap();
    patience::soon(async || person.refreshes() == ["refresh-token"]).await;
    let pid = Pid::from_raw(i32::try_from(process.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let mut told = BufReader::new(process.stderr.take().unwrap()).lines();
    assert_eq!(told.next_line().await.unwrap().as_deref(), Some("interrupted"));
    person.gives("bound-2", "refresh-2", |_| ());
    assert_eq!(process.wait().await.unwrap().code(), Some(130));
    assert_eq!(person.session()["refreshJwt"], "refresh-2");
    assert!(person.shown().is_empty(), "the command went on");
}

#[tokio::test]
async fn tokens_are_kept_however_the_server_writes_their_life_and_without_a_scope() {
    let person = Person::logged_in().await;
    for (turn, life) in [json!(3600.0), json!("3600"), json!(null)].into_iter().enumerate() {
        person.let_token_end();
        person.gives("bound-2", &format!("r-{turn}"), |given| {
            given["expires_in"] = life.clone();
            given.as_object_mut().unwrap().remove("scope");
        });
        let (code, _, stderr) = person.run(&DELETE).await;
        assert_eq!(code, 0, "{life}: {stderr}");
        assert_eq!(person.session()["refreshJwt"], format!("r-{turn}"));
    }
}

#[tokio::test]
async fn new_tokens_that_are_too_long_to_be_kept_are_given_back() {
    let person = Person::logged_in().await;
    person.let_token_end();
    let before = person.session();
    person.gives(&"y".repeat(70 * 1024), "refresh-2", |_| ());
    let (code, _, stderr) = person.run(&DELETE).await;
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("its tokens are longer than any that are kept"), "{stderr}");
    assert_eq!(form(&person.pds.seen("/oauth/revoke"))["token"], "refresh-2");
    assert_eq!(person.session(), before);
}

#[cfg(unix)]
#[tokio::test]
async fn a_disk_that_takes_nothing_is_found_before_the_token_is_used_up() {
    let person = Person::logged_in().await;
    person.let_token_end();
    // No file may grow beyond nothing, as on a disk that is full.
    let limited =
        format!("ulimit -f 0; trap '' XFSZ; exec {} delete echo --yes", env!("CARGO_BIN_EXE_at-functions"));
    let mut command = Command::new("/bin/sh");
    command.env_clear().args(["-c", &limited]).stdin(Stdio::null()).kill_on_drop(true);
    command.env("AT_FUNCTIONS_HOME", person.home.path()).env("AT_FUNCTIONS_PLC_URL", person.pds.url());
    let (code, _, stderr) = run(&mut command).await;
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("cannot write"), "{stderr}");
    assert!(person.refreshes().is_empty(), "the token was used up");
    assert_eq!(person.session()["refreshJwt"], "refresh-token");
}

#[tokio::test]
async fn a_token_that_is_refused_is_refreshed_once_and_the_request_sent_again() {
    let person = Person::logged_in().await;
    person.gives("bound-2", "refresh-2", |_| ());
    person.pds.on(DELETES, over());
    let (code, _, stderr) = person.run(&DELETE).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("invalid_token (HTTP 401 from 127.0.0.1"), "{stderr}");
    assert_eq!(person.refreshes(), ["refresh-token"]);
    assert_eq!(person.shown(), ["DPoP bound-token", "DPoP bound-2"]);
    assert_eq!(person.session()["refreshJwt"], "refresh-2");
}

#[tokio::test]
async fn a_token_that_another_process_refreshed_is_read_again() {
    let person = Person::logged_in().await;
    // The first answer comes when the other process is done.
    person.pds.on(DELETES, Answer(0, Vec::new(), Vec::new()));
    let process = person.command(&DELETE).stderr(Stdio::piped()).spawn().unwrap();
    patience::soon(async || person.shown().len() == 1).await;
    person.keep(|session| session["accessJwt"] = "bound-of-another".into());
    person.pds.on(DELETES, over());
    let output = process.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(person.shown(), ["DPoP bound-token", "DPoP bound-of-another"]);
    assert!(person.refreshes().is_empty(), "it was refreshed all the same");
}

#[tokio::test]
async fn a_short_life_is_not_refreshed_at_each_command() {
    let person = Person::logged_in().await;
    person.let_token_end();
    person.gives("bound-2", "refresh-2", |given| given["expires_in"] = 300.into());
    for _ in 0..3 {
        assert_eq!(person.run(&DELETE).await.0, 0);
    }
    assert_eq!(person.refreshes(), ["refresh-token"]);
}

#[tokio::test]
async fn a_handle_is_kept_only_if_it_is_one_and_the_accounts() {
    let (pds, home) = (pds().await, tempfile::tempdir().unwrap());
    authorizes(&pds, AUTHOR);
    let getting = "/xrpc/com.atproto.server.getSession";
    let person = Person { pds, home };
    person.pds.on(getting, answer(200, &json!({"did": AUTHOR, "handle": "x`; rm -rf ~"})));
    let (code, told) = person.log_in().await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(person.session()["handle"], Value::Null);
    person.pds.on("/oauth/token", answer(400, &json!({"error": "invalid_grant"})));
    person.let_token_end();
    let (_, _, stderr) = person.run(&DELETE).await;
    assert!(stderr.contains(&format!("has ended: `at-functions login --handle {AUTHOR}`")), "{stderr}");

    // The PDS says that the account has the handle, and the account does not.
    authorizes(&person.pds, AUTHOR);
    person.pds.on(getting, answer(200, &json!({"did": AUTHOR, "handle": "bob.test"})));
    let url = person.pds.url();
    let login = ["login", "--oauth", "--no-browser", "bob.test", "--pds", &url];
    let home = tempfile::tempdir().unwrap();
    let person = Person { home, ..person };
    let mut login = person.command(&login);
    let before = person.pds.all_seen().iter().filter(|seen| seen.path == "/oauth/par").count();
    assert_eq!(before, 1);
    person.pds.shared.seen.lock().unwrap().clear();
    let (code, told) = waiting(&mut login).await.answered(&person.pds).await;
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("does not claim this handle back"), "{told}");
    assert_eq!(form(&person.pds.seen("/oauth/revoke"))["token"], "refresh-token");
    assert!(super::oauth::is_empty(&person.home), "something is kept");
}

#[tokio::test]
async fn tokens_that_cannot_be_kept_are_given_back() {
    let (pds, home) = (pds().await, tempfile::tempdir().unwrap());
    authorizes(&pds, AUTHOR);
    let person = Person { pds, home };
    // A file stands where the folder should.
    std::fs::write(person.home.path().join("accounts"), "").unwrap();
    assert_ne!(person.log_in().await.0, 0);
    assert_eq!(form(&person.pds.seen("/oauth/revoke"))["token"], "refresh-token");

    let (pds, home) = (super::pds().await, tempfile::tempdir().unwrap());
    authorizes(&pds, AUTHOR);
    let person = Person { pds, home };
    person.gives("a", "r-unbound", |given| given["token_type"] = "Bearer".into());
    let (code, told) = person.log_in().await;
    assert_eq!(code, 3);
    assert!(told.contains("a token that is not bound to a key"), "{told}");
    assert_eq!(form(&person.pds.seen("/oauth/revoke"))["token"], "r-unbound");
}

#[tokio::test]
async fn a_session_that_cannot_be_read_stands_in_no_other_ones_way_and_can_be_forgotten() {
    let person = Person::logged_in().await;
    let other = person.home.path().join("accounts/did_web_b.com.json");
    std::fs::copy(person.file(), &other).unwrap();
    std::fs::write(&other, "{").unwrap();
    for command in [&DELETE[..], &["accounts"], &["delete", "echo", "--yes", "--account", "alice.test"]] {
        let (code, _, stderr) = person.run(command).await;
        assert_eq!(code, 0, "{command:?}: {stderr}");
    }
    let (_, _, stderr) = person.run(&["accounts"]).await;
    assert!(stderr.contains("did_web_b.com.json: it is damaged"), "{stderr}");
    assert_eq!(person.run(&["logout", "did:web:b.com"]).await.0, 2);
    let (code, stdout, _) = person.run(&["logout", "--local", "did:web:b.com"]).await;
    assert_eq!((code, stdout.as_str()), (0, "logged out did:web:b.com\n"));
    assert!(!other.exists() && person.file().exists());
}
