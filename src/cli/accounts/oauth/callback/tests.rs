//! The port as browsers and others meet it, over real sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn listening() -> (SocketAddr, Listening) {
    let callback = Callback::bind().await.unwrap();
    let address = callback.address;
    assert_eq!(callback.redirect_uri(), format!("http://{address}/callback"));
    assert!(address.ip().is_loopback());
    let expected = Expected { state: "s-1".into(), issuer: "https://as.example.com".into() };
    (address, callback.listen(expected))
}

/// What comes back for a request, whole.
async fn get(address: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn answer(rest: &str) -> String {
    format!("/callback?state=s-1&iss=https://as.example.com&{rest}")
}

fn told(outcome: Result<String, CliError>) -> String {
    outcome.unwrap_err().to_string()
}

#[tokio::test]
async fn the_code_is_taken_once_and_the_page_says_to_go_back() {
    let (address, mut listening) = listening().await;
    let page = get(address, &answer("code=c-1")).await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("Go back to the terminal") && page.contains("cache-control: no-store"), "{page}");
    assert!(!page.contains("c-1") && !page.contains("s-1"), "the page repeats the request: {page}");
    // A second one, whatever it brings, changes nothing.
    let page = get(address, &answer("code=c-2")).await;
    assert!(page.starts_with("HTTP/1.1 409 Conflict\r\n"), "{page}");
    let page = get(address, &answer("error=access_denied")).await;
    assert!(page.starts_with("HTTP/1.1 409 Conflict\r\n"), "{page}");
    assert_eq!(listening.answer(PATIENCE).await.unwrap(), "c-1");
    drop(listening);
    let gone = async || TcpStream::connect(address).await.is_err();
    tokio::time::timeout(PATIENCE, async {
        while !gone().await {
            tokio::task::yield_now().await
        }
    })
    .await
    .expect("the port is closed with the login");
}

#[tokio::test]
async fn what_is_no_answer_is_turned_away_and_the_waiting_goes_on() {
    let (address, mut listening) = listening().await;
    for target in ["/callback", "/callback?state=s-2&code=c", "/callback?%00%ff&&=&state"] {
        let page = get(address, target).await;
        assert!(page.starts_with("HTTP/1.1 400 ") && page.contains("Not this login"), "{target}: {page}");
    }
    let page = get(address, "/favicon.ico?mirror").await;
    assert!(page.starts_with("HTTP/1.1 404 ") && !page.contains("mirror"), "{page}");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"\x16\x03\x01 no HTTP at all\r\n\r\n").await.unwrap();
    let mut page = Vec::new();
    // It may be cut instead of answered.
    let _ = stream.read_to_end(&mut page).await;
    let page = get(address, &answer(&format!("x={}&code=c", "x".repeat(MAX_HEAD_BYTES)))).await;
    assert!(!page.contains("Almost done"), "{page}");
    get(address, &answer("code=c-1")).await;
    assert_eq!(listening.answer(PATIENCE).await.unwrap(), "c-1");
}

#[tokio::test]
async fn connections_that_say_nothing_do_not_keep_the_answer_out() {
    let (address, mut listening) = listening().await;
    let mut idle = Vec::new();
    for index in 0..MAX_CONNECTIONS * 3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if index % 2 == 0 {
            stream.write_all(b"GET /callback?state=s-1 HTT").await.unwrap();
        }
        idle.push(stream);
    }
    get(address, &answer("code=c-1")).await;
    assert_eq!(listening.answer(PATIENCE).await.unwrap(), "c-1");
    // The first of them was cut to make room.
    let mut rest = Vec::new();
    let cut = tokio::time::timeout(PATIENCE, idle[0].read_to_end(&mut rest)).await;
    assert!(cut.is_ok() && rest.is_empty());
}

#[tokio::test]
async fn a_no_ends_the_waiting_with_a_word() {
    for (query, expected) in [
        ("error=access_denied&error_description=x", "you did not allow it in the browser: nothing was kept"),
        (
            "error=server_error&error_description=%1b[2J",
            r"your PDS refused the login: server_error: \u{1b}[2J",
        ),
        (
            "code=c&error=e",
            "the browser brought an answer that breaks a rule: it says both yes and no; nothing was kept",
        ),
    ] {
        let (address, mut listening) = listening().await;
        assert!(get(address, &answer(query)).await.contains("Not logged in"), "{query}");
        assert_eq!(told(listening.answer(PATIENCE).await), expected, "{query}");
    }
}

#[tokio::test]
async fn no_answer_ends_with_what_to_do() {
    let (_, mut listening) = listening().await;
    let told = told(listening.answer(Duration::from_millis(10)).await);
    assert_eq!(
        told,
        "no answer came from the browser: run it again when you are ready, or use --app-password"
    );
}
