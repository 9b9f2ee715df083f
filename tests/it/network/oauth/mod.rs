//! `login --oauth` against the real PDS, whose login page the tests operate as a browser does.

mod browser;
mod login;

use serde_json::{Value, json};
use url::Url;

use self::browser::Browser;
use self::login::Login;
use super::accounts::{Person, is_alive, stderr};
use super::lexicons::{lexicon, name_server};
use super::{Account, Network, Service};
use crate::patience;

const ECHO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust/echo.wasm");

/// Logs in in the browser; what the command prints.
async fn log_in(person: &Person<'_>, account: &Account) -> Value {
    let login = Login::start(person, &[&account.did]).await;
    let browser = Browser::open(&login.page).await;
    let (status, page) = browser.visit(&browser.allow(account).await).await;
    assert_eq!(status, 200);
    assert!(page.contains("Go back to the terminal"), "{page}");
    let output = login.end().await;
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// How a login ended that keeps nothing.
async fn refused(login: Login, person: &Person<'_>, account: &Account) -> String {
    let output = login.end().await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    assert!(!person.session_file(account).exists(), "a session is kept");
    stderr(&output)
}

/// An answer of the login page with another value of one of its parameters.
fn with(answer: &Url, name: &str, value: &str) -> Url {
    let pairs: Vec<_> = answer.query_pairs().into_owned().collect();
    let pairs = pairs.iter().map(|(n, v)| (n.as_str(), if n == name { value } else { v }));
    let mut changed = answer.clone();
    changed.query_pairs_mut().clear().extend_pairs(pairs);
    changed
}

/// Makes the kept access token look as if it had ended.
fn let_token_end(person: &Person<'_>, account: &Account) {
    let mut session = person.session(account);
    session["oauth"]["expiresAt"] = 1.into();
    std::fs::write(person.session_file(account), session.to_string()).expect("a file can be written");
}

#[tokio::test]
async fn a_person_logs_in_in_the_browser_and_all_commands_work() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let friend = network.create_account(network.pds(1)).await;
    let person = Person::new(network);
    let made = log_in(&person, &author).await;
    assert_eq!(made, json!({"did": author.did, "handle": author.handle, "pds": author.pds.url}));
    let file = person.session_file(&author);
    #[cfg(unix)]
    {
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&file.metadata().expect("it is there").permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    let deploy = ["deploy", ECHO, "--name", "echo", "--private"];
    let first = person.json(&deploy).await;
    let uri = first["uri"].as_str().expect("a uri").to_owned();
    assert_eq!(person.json(&["list"]).await["functions"][0]["cid"], first["cid"]);
    let audience = service.audience();
    // On a busy machine the service may say that the function is not compiled yet, and to come back.
    let call = ["invoke", &uri, "--service", &audience];
    patience::soon(async || person.run(&call).await.status.code() != Some(3)).await;
    for how in [&[][..], &["--direct"]] {
        let call = [&["invoke", &uri, "--input", "[1]", "--service", &audience], how].concat();
        assert_eq!(person.json(&call).await["output"]["echo"], json!([1]), "{how:?}");
        let describe = [&["describe", &uri, "--service", &audience], how].concat();
        assert_eq!(person.json(&describe).await["mayRun"], true, "{how:?}");
    }
    let granted = person.json(&["grant", "echo", &friend.did]).await;
    assert_eq!(granted["caller"], friend.did);
    assert_eq!(person.json(&["grants"]).await["grants"][0]["uri"], granted["uri"]);
    person.text(&["ungrant", "echo", &friend.did]).await;
    // A service that has not looked at a function yet has its record at once.
    person.text(&["deploy", ECHO, "--name", "new", &format!("--wait={audience}")]).await;
    let second = person.json(&[&deploy[..], &["--version", "0.2.0"]].concat()).await;
    assert_ne!(second["cid"], first["cid"]);
    assert_eq!(person.json(&["rollback", "echo", "--yes"]).await["cid"], first["cid"]);

    let txt = ("_lexicon.example.com.".to_owned(), vec![format!("did={}", author.did)]);
    let dns = name_server(vec![txt]).await.to_string();
    let thing = person.home().join("thing.json");
    std::fs::write(&thing, lexicon("com.example.thing", 10).to_string()).expect("a file can be written");
    let thing = thing.to_str().expect("a path that is text");
    let published = person.json(&["lexicon", "publish", "--yes", "--dns", &dns, thing]).await;
    assert!(published["published"][0]["uri"].as_str().is_some_and(|uri| uri.ends_with("/com.example.thing")));
    person.text(&["delete", "echo", "--yes"]).await;

    // What is ended is ended at the PDS too: a copy of the session is of no use any more.
    let copy = std::fs::read(&file).expect("a session is kept");
    assert_eq!(person.text(&["logout"]).await, format!("logged out {} ({})\n", author.handle, author.did));
    assert!(!file.exists());
    assert_eq!(person.refusal(&deploy).await.0, 2);
    std::fs::write(&file, copy).expect("a file can be written");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
    let (code, told) = person.refusal(&deploy).await;
    assert_eq!(code, 1);
    let expected = format!("has ended: `at-functions login --handle {}`", author.handle);
    assert!(told.contains(&expected), "{told}");
    let_token_end(&person, &author);
    let (code, told) = person.refusal(&deploy).await;
    assert_eq!(code, 1);
    assert!(told.contains(&expected), "{told}");
    person.text(&["logout"]).await;
    assert_eq!(person.json(&["accounts"]).await, json!({ "accounts": [] }));
}

#[tokio::test]
async fn a_bound_token_that_ended_is_renewed_once_for_all_processes_that_need_it() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let person = Person::new(network);
    // A session by app password before it is ended by the new one.
    person.log_in(&author, &author.create_app_password("laptop").await).await;
    let older = person.session(&author);
    assert_eq!(older.get("oauth"), None);
    log_in(&person, &author).await;
    assert!(!is_alive(&author, &older["refreshJwt"]).await);

    let before = person.session(&author);
    let_token_end(&person, &author);
    let deployed = async |name: &str| person.json(&["deploy", ECHO, "--name", name]).await["uri"].clone();
    let (one, two, three) = tokio::join!(deployed("one"), deployed("two"), deployed("three"));
    let expected =
        ["one", "two", "three"].map(|name| format!("at://{}/at.functions.metadata/{name}", author.did));
    assert_eq!([one, two, three], expected.map(Value::from));
    let after = person.session(&author);
    assert_ne!(after["refreshJwt"], before["refreshJwt"]);
    assert_eq!(after["oauth"]["key"], before["oauth"]["key"]);
    // The token that is kept is the last one: used a second time, an older one would have ended the session.
    let_token_end(&person, &author);
    assert!(deployed("four").await.is_string());
}

#[tokio::test]
async fn a_no_in_the_browser_keeps_nothing() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let person = Person::new(network);
    let login = Login::start(&person, &["--handle", &author.did]).await;
    let browser = Browser::open(&login.page).await;
    let (status, page) = browser.visit(&browser.deny().await).await;
    assert_eq!(status, 200);
    assert!(page.contains("Not logged in"), "{page}");
    let told = refused(login, &person, &author).await;
    assert!(told.ends_with("error: you did not allow it in the browser: nothing was kept\n"), "{told}");
}

#[tokio::test]
async fn only_the_answer_of_this_login_ends_the_waiting() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let person = Person::new(network);
    let login = Login::start(&person, &[&author.did]).await;
    let browser = Browser::open(&login.page).await;
    let answer = browser.allow(&author).await;
    let (status, page) = browser.visit(&with(&answer, "state", "another")).await;
    assert_eq!(status, 400);
    assert!(page.contains("Not this login"), "{page}");
    // An answer from elsewhere that knows this login's state ends it: somebody reads along.
    let (status, page) = browser.visit(&with(&answer, "iss", "https://evil.example.com")).await;
    assert_eq!(status, 400);
    assert!(page.contains("breaks a rule"), "{page}");
    let told = refused(login, &person, &author).await;
    assert!(
        told.contains("note: something came that is not the answer of this login; still waiting"),
        "{told}"
    );
    assert!(told.contains("it is not from the authorization server that was asked"), "{told}");

    // A code that this login's server did not give.
    let login = Login::start(&person, &[&author.did]).await;
    let browser = Browser::open(&login.page).await;
    let answer = browser.allow(&author).await;
    assert_eq!(browser.visit(&with(&answer, "code", "cod-0")).await.0, 200);
    let told = refused(login, &person, &author).await;
    assert!(
        told.contains("invalid_grant (HTTP 400 from localhost") && told.contains("run it again"),
        "{told}"
    );
}

#[tokio::test]
async fn another_account_than_the_one_that_was_named_is_not_taken() {
    let Some(network) = Network::shared() else { return };
    let alice = network.create_account(network.pds(0)).await;
    let bob = network.create_account(network.pds(0)).await;
    let person = Person::new(network);
    // The second way has nothing but the PDS's word for whose handle it is.
    for named in [&[alice.did.as_str()][..], &[&alice.handle, "--pds", &alice.pds.url]] {
        let login = Login::start(&person, named).await;
        let browser = Browser::open(&login.page).await;
        browser.visit(&browser.allow(&bob).await).await;
        let told = refused(login, &person, &bob).await;
        let expected = format!("in the browser you chose {}, which is not {}", bob.did, named[0]);
        assert!(told.contains(&expected), "{told}");
        assert!(!person.session_file(&alice).exists());
    }
    let login = Login::start(&person, &[&alice.handle, "--pds", &alice.pds.url]).await;
    let browser = Browser::open(&login.page).await;
    browser.visit(&browser.allow(&alice).await).await;
    assert!(login.end().await.status.success());
}

#[tokio::test]
async fn ctrl_c_leaves_nothing_behind() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let person = Person::new(network);
    let login = Login::start(&person, &[&author.did]).await;
    let browser = Browser::open(&login.page).await;
    let answer = browser.allow(&author).await;
    login.interrupt();
    let output = login.end().await;
    assert_eq!(output.status.code(), Some(130));
    assert!(stderr(&output).ends_with("interrupted\n"), "{output:?}");
    assert_eq!(std::fs::read_dir(person.home()).expect("it is there").count(), 0, "something is kept");
    let port = answer.port().expect("a port");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err(), "somebody listens there");
}
