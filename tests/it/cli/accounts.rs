//! Sessions that are kept: which requests they make, and where they go.

use axum::http::Method;
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

use super::*;

/// The program of a person who has a home.
fn at_home(home: &Path, pds: &Server, arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command.env("AT_FUNCTIONS_HOME", home).env("AT_FUNCTIONS_PLC_URL", pds.url());
    command
}

async fn log_in(home: &Path, pds: &Server) {
    let mut login = at_home(home, pds, &["login", "--handle", AUTHOR]);
    let (code, stdout, stderr) = run(login.env("AT_FUNCTIONS_PASSWORD", PASSWORD)).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with(&format!("logged in as alice.test ({AUTHOR}) at 127.0.0.1:")), "{stdout}");
}

fn token(expires_at: u64) -> String {
    format!("e30.{}.x", BASE64URL_NOPAD.encode(format!(r#"{{"exp":{expires_at}}}"#).as_bytes()))
}

#[tokio::test]
async fn processes_that_need_a_new_token_at_once_get_it_by_one_request() {
    let (pds, home) = (pds().await, tempfile::tempdir().unwrap());
    // The token of the login, which says nothing of its end, is renewed at its first use.
    log_in(home.path(), &pds).await;
    let fresh = token(u64::MAX);
    let session = json!({"did": AUTHOR, "handle": "renamed.test", "accessJwt": fresh, "refreshJwt": "r2"});
    pds.on("/xrpc/com.atproto.server.refreshSession", answer(200, &session));
    let delete = || async { run(&mut at_home(home.path(), &pds, &["delete", "echo", "--yes"])).await };
    let (one, two, three) = tokio::join!(delete(), delete(), delete());
    assert_eq!([one.0, two.0, three.0], [0, 0, 0], "{}{}{}", one.2, two.2, three.2);
    let refresh = pds.seen("/xrpc/com.atproto.server.refreshSession");
    assert_eq!((refresh.method.clone(), refresh.header("authorization")), (Method::POST, Some("Bearer r")));
    assert!(refresh.body.is_empty());
    let deletes =
        pds.all_seen().into_iter().filter(|seen| seen.path == "/xrpc/com.atproto.repo.deleteRecord");
    for seen in deletes {
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {fresh}").as_str()));
    }
    let (_, stdout, _) = run(&mut at_home(home.path(), &pds, &["accounts"])).await;
    // What a PDS calls an account afterwards is nobody's word but its own.
    assert!(stdout.contains("alice.test") && !stdout.contains("renamed.test"), "{stdout}");
}

#[tokio::test]
async fn a_pds_that_fails_ends_no_session() {
    let (pds, home) = (pds().await, tempfile::tempdir().unwrap());
    log_in(home.path(), &pds).await;
    let delete = || async { run(&mut at_home(home.path(), &pds, &["delete", "echo", "--yes"])).await };
    pds.on("/xrpc/com.atproto.server.refreshSession", text(503, "text/plain", "busy"));
    assert_eq!(delete().await.0, 3);
    let others = json!({"did": "did:web:other.com", "handle": "x.test", "accessJwt": token(u64::MAX), "refreshJwt": "r2"});
    pds.on("/xrpc/com.atproto.server.refreshSession", answer(200, &others));
    let (code, _, stderr) = delete().await;
    assert_eq!(code, 3);
    assert!(stderr.contains("a session for another account"), "{stderr}");
    pds.on(
        "/xrpc/com.atproto.server.refreshSession",
        answer(400, &json!({"error": "ExpiredToken", "message": "revoked"})),
    );
    let (code, _, stderr) = delete().await;
    assert_eq!(code, 1);
    assert!(stderr.contains("has ended: `at-functions login --handle alice.test`"), "{stderr}");
    // None of these cost the account its file.
    let (_, stdout, _) = run(&mut at_home(home.path(), &pds, &["accounts"])).await;
    assert!(stdout.contains("alice.test"), "{stdout}");
}

#[tokio::test]
async fn a_session_that_the_pds_does_not_hear_of_is_not_forgotten_unless_asked() {
    let (pds, home) = (pds().await, tempfile::tempdir().unwrap());
    log_in(home.path(), &pds).await;
    pds.on("/xrpc/com.atproto.server.deleteSession", text(502, "text/plain", "down"));
    assert_eq!(run(&mut at_home(home.path(), &pds, &["logout"])).await.0, 3);
    let (code, stdout, _) = run(&mut at_home(home.path(), &pds, &["logout", "--local"])).await;
    assert_eq!((code, stdout), (0, format!("logged out alice.test ({AUTHOR})\n")));
    assert_eq!(pds.seen("/xrpc/com.atproto.server.deleteSession").header("authorization"), Some("Bearer r"));
    let (_, stdout, _) = run(&mut at_home(home.path(), &pds, &["accounts"])).await;
    assert_eq!(stdout, "no account is logged in: `at-functions login`\n");
}

#[tokio::test]
async fn a_login_without_a_terminal_or_a_home_is_told_what_to_give() {
    let (pds, home) = (pds().await, tempfile::tempdir().unwrap());
    let mut login = at_home(home.path(), &pds, &["login"]);
    let (code, _, stderr) = run(login.env("AT_FUNCTIONS_PASSWORD", "x")).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("--handle: give your handle"), "{stderr}");
    let (code, _, stderr) = run(&mut at_home(home.path(), &pds, &["login", "--handle", AUTHOR])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("--password-file"), "{stderr}");
    let (code, _, stderr) =
        run(program(&["login", "--handle", AUTHOR]).env("AT_FUNCTIONS_PASSWORD", "x")).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("AT_FUNCTIONS_HOME: set it, or HOME"), "{stderr}");
    assert!(!pds.paths().contains(&"/xrpc/com.atproto.server.createSession".to_owned()));
}
