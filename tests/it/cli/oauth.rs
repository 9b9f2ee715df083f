//! `login --oauth` and what comes of it, against authorization servers that the reference PDS is not: hostile ones, older ones.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use super::*;
use crate::patience;

const CLIENT: &str = "http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback&scope=";

/// Makes a server one that is its own authorization server, and gives `sub` a session whatever the code.
pub(super) fn authorizes(server: &Server, sub: &str) {
    let (name, at) = (server.url(), |path: &str| format!("{}{path}", server.url()));
    let metadata = json!({
        "issuer": name,
        "authorization_endpoint": at("/oauth/authorize"),
        "token_endpoint": at("/oauth/token"),
        "pushed_authorization_request_endpoint": at("/oauth/par"),
        "revocation_endpoint": at("/oauth/revoke"),
        "scopes_supported": ["atproto"],
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "authorization_response_iss_parameter_supported": true,
        "require_pushed_authorization_requests": true,
        "client_id_metadata_document_supported": true,
    });
    let resource = json!({"resource": name, "authorization_servers": [name]});
    server
        .on("/.well-known/oauth-protected-resource", answer(200, &resource))
        .on("/.well-known/oauth-authorization-server", answer(200, &metadata))
        .on("/oauth/par", answer(201, &json!({"request_uri": "urn:req-1", "expires_in": 300})))
        .on("/oauth/token", answer(200, &tokens(sub)))
        .on("/oauth/revoke", answer(200, &json!({})))
        .on("/xrpc/com.atproto.server.getSession", answer(200, &json!({"did": sub, "handle": "alice.test"})));
}

/// What a server gives for a code.
pub(super) fn tokens(sub: &str) -> Value {
    json!({
        "access_token": "bound-token", "token_type": "DPoP", "refresh_token": "refresh-token",
        "scope": "atproto repo:*", "sub": sub, "expires_in": 3600,
    })
}

pub(super) fn form(seen: &Seen) -> HashMap<String, String> {
    url::form_urlencoded::parse(&seen.body).into_owned().collect()
}

pub(super) fn at_home(home: &Path, pds: &Server, arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command.env("AT_FUNCTIONS_HOME", home).env("AT_FUNCTIONS_PLC_URL", pds.url());
    command
}

/// A login that waits for the browser.
pub(super) struct Waiting {
    process: Child,
    port: u16,
}

/// Starts a login, and waits until it does.
pub(super) async fn waiting(command: &mut Command) -> Waiting {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stderr.as_mut().unwrap()).lines();
    let mut told = Vec::new();
    let port = loop {
        let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended: {told:?}"));
        if let Some(rest) = line.strip_prefix("Waiting at http://127.0.0.1:") {
            break rest.split('/').next().unwrap().parse().unwrap();
        }
        told.push(line);
    };
    Waiting { process, port }
}

impl Waiting {
    /// Brings the answer that a browser would, and tells exit code and stderr.
    pub(super) async fn answered(self, server: &Server) -> (i32, String) {
        let state = form(&server.seen("/oauth/par"))["state"].clone();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let (iss, port) = (server.url(), self.port);
        let request = format!(
            "GET /callback?state={state}&iss={iss}&code=c-1 HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        assert!(page.contains("Go back to the terminal"), "{page}");
        let output = self.process.wait_with_output().await.unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

pub(super) fn is_empty(home: &tempfile::TempDir) -> bool {
    std::fs::read_dir(home.path()).unwrap().next().is_none()
}

#[tokio::test]
async fn what_is_asked_for_is_pushed_and_each_request_has_a_proof_of_its_own() {
    let (pds, home) = (pds().await, tempfile::tempdir().unwrap());
    authorizes(&pds, AUTHOR);
    let login = waiting(&mut at_home(home.path(), &pds, &["login", "--oauth", "--no-browser", AUTHOR])).await;
    let port = login.port;
    let (code, told) = login.answered(&pds).await;
    assert_eq!(code, 0, "{told}");
    // The server granted less than all.
    assert!(
        told.contains("note: your PDS did not allow uploading code (`deploy`), calling services (`invoke`)"),
        "{told}"
    );
    let (pushed, token) = (form(&pds.seen("/oauth/par")), form(&pds.seen("/oauth/token")));
    let redirect = format!("http://127.0.0.1:{port}/callback");
    let told = |name: &str| pushed[name].as_str();
    assert_eq!((told("response_type"), told("redirect_uri")), ("code", redirect.as_str()));
    assert_eq!((told("code_challenge_method"), told("login_hint")), ("S256", AUTHOR));
    assert!(told("client_id").starts_with(CLIENT), "{}", told("client_id"));
    let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(token["code_verifier"].as_bytes()));
    assert_eq!(told("code_challenge"), challenge);
    assert_eq!((token["code"].as_str(), token["redirect_uri"].as_str()), ("c-1", redirect.as_str()));

    let module = module_file(home.path());
    let (code, _, stderr) =
        run(&mut at_home(home.path(), &pds, &["deploy", &module, "--name", "echo"])).await;
    assert_eq!(code, 0, "{stderr}");
    let seen = pds.all_seen();
    let bound: Vec<&Seen> = seen.iter().filter(|seen| seen.header("dpop").is_some()).collect();
    let mut ids = Vec::new();
    for seen in &bound {
        let claims = seen.header("dpop").unwrap().split('.').nth(1).unwrap();
        let claims: Value =
            serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap()).unwrap();
        assert_eq!(claims["htu"], format!("{}{}", pds.url(), seen.path));
        assert_eq!(claims["htm"], seen.method.as_str());
        let is_xrpc = seen.path.starts_with("/xrpc/");
        assert_eq!(seen.header("authorization"), is_xrpc.then_some("DPoP bound-token"), "{}", seen.path);
        let hash = BASE64URL_NOPAD.encode(&Sha256::digest(b"bound-token"));
        assert_eq!(claims["ath"].as_str(), is_xrpc.then_some(hash.as_str()), "{}", seen.path);
        ids.push(claims["jti"].to_string());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), bound.len(), "a proof was used twice");
    // Something small goes before a file, which a server that wants another proof would have sent twice.
    let paths: Vec<&str> = bound.iter().map(|seen| seen.path.as_str()).collect();
    let upload = paths.iter().position(|path| path.ends_with("uploadBlob")).unwrap();
    assert!(paths[upload - 1].ends_with("getSession"), "{paths:?}");
}

#[tokio::test]
async fn a_server_that_the_account_does_not_name_gets_no_session_through() {
    let (honest, evil) = (pds().await, Server::start().await);
    let home = tempfile::tempdir().unwrap();
    authorizes(&honest, AUTHOR);
    // The person was lured to a PDS, which says that it is theirs.
    authorizes(&evil, AUTHOR);
    evil.on("/xrpc/com.atproto.identity.resolveHandle", answer(200, &json!({"did": AUTHOR})));
    let login = ["login", "--oauth", "--no-browser", "alice.test", "--pds", &evil.url()];
    let (code, told) = waiting(&mut at_home(home.path(), &honest, &login)).await.answered(&evil).await;
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("it gave a session for an account whose PDS does not name it"), "{told}");
    assert!(is_empty(&home), "something is kept");
    assert!(
        !honest.paths().iter().any(|path| path.starts_with("/xrpc/")),
        "the honest PDS was shown a token"
    );
    assert_eq!(form(&evil.seen("/oauth/revoke"))["token"], "refresh-token");
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_told_before_the_browser_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let told = async |pds: &Server| {
        let login = ["login", "--oauth", "--no-browser", AUTHOR];
        let (code, _, stderr) = run(&mut at_home(home.path(), pds, &login)).await;
        (code, stderr)
    };
    let server = pds().await;
    let (code, stderr) = told(&server).await;
    assert_eq!(code, 3);
    assert!(stderr.contains("it offers no OAuth: `at-functions login --app-password`"), "{stderr}");

    authorizes(&server, AUTHOR);
    let unknown = json!({"error": "invalid_scope", "error_description": "blob: is unknown"});
    server.on("/oauth/par", answer(400, &unknown));
    let (code, stderr) = told(&server).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("invalid_scope (HTTP 400 from 127.0.0.1"), "{stderr}");
    assert!(
        stderr.contains("does not know the permissions") && stderr.contains("--app-password"),
        "{stderr}"
    );

    // A nonce that is never the right one is no reason to go on for ever.
    let mut nonce = answer(400, &json!({"error": "use_dpop_nonce"}));
    nonce.1.push(("dpop-nonce", "n-{fresh}".to_owned()));
    server.on("/oauth/par", nonce);
    let before = server.paths().len();
    let (code, stderr) = told(&server).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("use_dpop_nonce (HTTP 400 from 127.0.0.1"), "{stderr}");
    let asked = server.paths().split_off(before).into_iter().filter(|path| path == "/oauth/par").count();
    assert_eq!(asked, 2);

    let elsewhere = json!({"resource": server.url(), "authorization_servers": ["http://10.0.0.1"]});
    server.on("/.well-known/oauth-protected-resource", answer(200, &elsewhere));
    let (code, stderr) = told(&server).await;
    assert_eq!(code, 3);
    assert!(stderr.contains("its authorization server is not on https"), "{stderr}");

    // Nothing is asked of a PDS that anybody on the way could pass for.
    let plain = ["login", "--oauth", "--no-browser", AUTHOR, "--pds", "http://192.0.2.1"];
    let (code, _, stderr) = run(&mut at_home(home.path(), &server, &plain)).await;
    assert_eq!(code, 3);
    assert!(
        stderr.contains("192.0.2.1 gave an unusable answer: a login in the browser needs a PDS on https"),
        "{stderr}"
    );
    assert!(is_empty(&home), "something is kept");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_browser_is_opened_where_there_is_one_unless_that_is_not_wanted() {
    let (pds, home) = (pds().await, tempfile::tempdir().unwrap());
    authorizes(&pds, AUTHOR);
    let bin = tempfile::tempdir().unwrap();
    let (opener, opened) = (bin.path().join("xdg-open"), bin.path().join("opened"));
    let script = format!(
        "#!/bin/sh\nprintf '%s %s' \"$1\" \"$AT_FUNCTIONS_PASSWORD\" > {0}.part && mv {0}.part {0}\n",
        opened.display()
    );
    std::fs::write(&opener, script).unwrap();
    std::fs::set_permissions(&opener, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path =
        std::env::join_paths([bin.path().to_owned(), PathBuf::from("/usr/bin"), PathBuf::from("/bin")]);
    let path = path.unwrap();
    let with = |more: &[&str]| {
        let mut command = at_home(home.path(), &pds, &[&["login", "--oauth", AUTHOR], more].concat());
        command.env("PATH", &path).env("DISPLAY", ":0").env("AT_FUNCTIONS_PASSWORD", PASSWORD);
        command
    };
    let silent = waiting(&mut with(&["--no-browser"])).await;
    let login = waiting(&mut with(&[])).await;
    patience::soon(async || opened.exists()).await;
    let page = std::fs::read_to_string(&opened).unwrap();
    assert!(page.starts_with(&format!("{}/oauth/authorize?client_id=", pds.url())), "{page}");
    // Nothing but the page: not the password that this process was given.
    assert!(page.ends_with("&request_uri=urn%3Areq-1 "), "{page}");
    drop((silent, login));
    assert!(is_empty(&home), "something is kept");
}
