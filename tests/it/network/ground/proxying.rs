//! What a PDS sends to the service that a client names in `atproto-proxy`, and what it tells the client.

use http::Method;
use serde_json::{Value, json};

use super::{decode_token, is_signed_with, published_key};
use crate::network::client::{ClientAnswer, ClientCall, Exchange, Proxy};
use crate::network::peer::{Peer, did_of_port, json_answer};
use crate::network::{Account, Answer, Network};
use crate::ports::closed_port;

const METHOD: &str = "at.functions.run";

async fn run_through(account: &Account, service: &str) -> Answer {
    account.procedure(METHOD).through(service).json(&json!({ "input": 1 })).send().await
}

fn client_call(peer: &Peer) -> ClientCall {
    let proxy = Proxy { did: peer.did.clone(), id: "at_functions".to_owned() };
    ClientCall { nsid: METHOD, proxy: Some(proxy), body: json!({ "input": 1 }), lexicon: None }
}

fn exchange(nsid: &str, status: u16) -> Exchange {
    Exchange { path: format!("/xrpc/{nsid}"), status }
}

#[tokio::test]
async fn a_proxied_call_reaches_the_service_with_a_token_of_the_caller() {
    let Some(network) = Network::shared() else { return };
    let caller = network.create_account(network.pds(0)).await;
    let peer = Peer::start(|_| json_answer(200, &json!({ "ok": true }))).await;

    let answer = run_through(&caller, &peer.audience()).await;

    assert_eq!(answer.ok(), json!({ "ok": true }));
    let [request] = &peer.seen()[..] else { panic!("one request") };
    assert_eq!(request.head.method, Method::POST);
    assert_eq!(request.head.uri, "/xrpc/at.functions.run");
    assert_eq!(&request.body[..], br#"{"input":1}"#);
    let (header, claims) = decode_token(request.token());
    assert_eq!(header, json!({ "typ": "JWT", "alg": "ES256K" }));
    let issued_at = claims["iat"].as_u64().unwrap();
    let id = claims["jti"].as_str().unwrap();
    assert_eq!(
        claims,
        // The audience is the bare DID, whatever service of it was asked for.
        json!({ "iss": caller.did, "aud": peer.did, "lxm": METHOD, "iat": issued_at, "exp": issued_at + 60, "jti": id })
    );
    assert!(is_signed_with(request.token(), &published_key(network, &caller.did).await));
}

#[tokio::test]
async fn a_pds_passes_few_headers_on_either_way() {
    let Some(network) = Network::shared() else { return };
    let caller = network.create_account(network.pds(0)).await;
    let peer = Peer::start(|_| {
        let mut response = json_answer(200, &json!({ "ok": true }));
        response.headers_mut().insert("x-from-service", "1".parse().unwrap());
        response.headers_mut().insert("retry-after", "1".parse().unwrap());
        response
    })
    .await;

    let call = caller.procedure(METHOD).through(&peer.audience()).json(&json!({}));
    let answer = call.header("x-from-client", "1").header("user-agent", "a client").send().await;

    let [request] = &peer.seen()[..] else { panic!("one request") };
    let mut names: Vec<_> = request.head.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let expected =
        ["accept-encoding", "authorization", "connection", "content-length", "content-type", "host"];
    assert_eq!(names, expected);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("x-from-service"), None);
}

#[tokio::test]
async fn of_an_error_the_client_learns_status_name_and_message() {
    let Some(network) = Network::shared() else { return };
    let caller = network.create_account(network.pds(0)).await;
    for (status, told) in [(400, 400), (403, 403), (429, 429), (500, 502), (503, 503)] {
        let refusal = json!({ "ok": false, "error": "Name", "message": "words", "requestId": "1" });
        let peer = Peer::start(move |_| json_answer(status, &refusal)).await;
        let answer = run_through(&caller, &peer.audience()).await;
        assert_eq!(answer.status, told);
        assert_eq!(answer.json(), json!({ "error": "Name", "message": "words" }));
    }
}

#[tokio::test]
async fn a_client_is_told_what_kept_its_call_from_the_service() {
    let Some(network) = Network::shared() else { return };
    let caller = network.create_account(network.pds(0)).await;
    let answering = Peer::start(|_| json_answer(200, &json!({}))).await;
    let unreachable = Peer::start_unreachable().await;
    for (service, status, error) in [
        (unreachable.audience(), 502, "UpstreamFailure"),
        (format!("{}#other", answering.did), 400, "InvalidRequest"),
        (answering.did.clone(), 400, "InvalidRequest"),
        (format!("{}#at_functions", did_of_port(closed_port())), 500, "InternalServerError"),
    ] {
        let refusal = run_through(&caller, &service).await.refusal();
        assert_eq!(refusal, (status, error.to_owned()), "{service}");
    }
    assert!(answering.seen().is_empty());
}

#[tokio::test]
async fn the_client_library_calls_the_service_and_hears_its_answer() {
    let Some(network) = Network::shared() else { return };
    let caller = network.create_account(network.pds(0)).await;
    let peer = Peer::start(|request| {
        let input: Value = serde_json::from_slice(&request.body).unwrap();
        json_answer(200, &json!({ "ok": true, "output": input["input"] }))
    })
    .await;

    let untyped = network.call_as_client(&caller, client_call(&peer)).await;
    let lexicon = json!({
        "lexicon": 1,
        "id": METHOD,
        "defs": { "main": {
            "type": "procedure",
            "input": { "encoding": "application/json" },
            "output": { "encoding": "application/json" },
        } },
    });
    let typed = ClientCall { lexicon: Some(lexicon), ..client_call(&peer) };
    let typed = network.call_as_client(&caller, typed).await;

    for answer in [untyped, typed] {
        let expected = ClientAnswer {
            status: 200,
            data: json!({ "ok": true, "output": 1 }),
            error: None,
            message: None,
            sent: vec![exchange(METHOD, 200)],
        };
        assert_eq!(answer, expected);
    }
}

#[tokio::test]
async fn the_client_library_takes_any_401_for_a_session_that_ended_and_calls_again() {
    let Some(network) = Network::shared() else { return };
    let caller = network.create_account(network.pds(0)).await;
    let refusal = json!({ "error": "JwtReplayed", "message": "words" });
    let peer = Peer::start(move |_| json_answer(401, &refusal)).await;

    let answer = network.call_as_client(&caller, client_call(&peer)).await;

    assert_eq!((answer.status, answer.error.as_deref()), (401, Some("JwtReplayed")));
    assert_eq!(peer.seen().len(), 2);
    let refresh = exchange("com.atproto.server.refreshSession", 200);
    assert!(answer.sent.contains(&refresh), "{:?}", answer.sent);
}
