//! A service in Rust at a did:web of its own, for what a PDS sends to services and makes of their answers.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::ports::closed_port;

/// The service id in the DID documents of peers.
const SERVICE_ID: &str = "at_functions";

/// A service that runs until it is dropped.
pub(crate) struct Peer {
    pub(crate) did: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: AbortHandle,
}

/// A request that reached a peer.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
}

impl Peer {
    /// Starts a service that answers every call as `answer` says.
    pub(crate) async fn start<A: Fn(&Seen) -> Response + Send + Sync + 'static>(answer: A) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("http://localhost:{}", port_of(&listener));
        Peer::serve(listener, &endpoint, answer)
    }

    /// Starts a service whose DID document names an endpoint at which nobody listens.
    pub(crate) async fn start_unreachable() -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("http://localhost:{}", closed_port());
        Peer::serve(listener, &endpoint, |_| panic!("the endpoint is elsewhere"))
    }

    fn serve<A: Fn(&Seen) -> Response + Send + Sync + 'static>(
        listener: TcpListener,
        endpoint: &str,
        answer: A,
    ) -> Peer {
        let did = did_of_port(port_of(&listener));
        let service = json!({ "id": format!("#{SERVICE_ID}"), "type": "AtFunctionsService", "serviceEndpoint": endpoint });
        let document =
            json!({ "@context": ["https://www.w3.org/ns/did/v1"], "id": did, "service": [service] });
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (recorded, answer) = (Arc::clone(&seen), Arc::new(answer));
        let call = move |head: Parts, body: Bytes| {
            let request = Seen { head, body };
            let response = answer(&request);
            recorded.lock().expect("no test panics while it holds this").push(request);
            std::future::ready(response)
        };
        let router = Router::new()
            .route("/.well-known/did.json", get(move || std::future::ready(json_answer(200, &document))))
            .route("/xrpc/{*method}", any(call));
        let server = tokio::spawn(async { axum::serve(listener, router).await }).abort_handle();
        Peer { did, seen, server }
    }

    /// How an `atproto-proxy` header names it.
    pub(crate) fn audience(&self) -> String {
        format!("{}#{SERVICE_ID}", self.did)
    }

    /// The requests that reached it so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics while it holds this").clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Seen {
    /// A header of it, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// Its bearer token.
    pub(crate) fn token(&self) -> &str {
        let authorization = self.header("authorization").expect("a proxied call carries a token");
        authorization.strip_prefix("Bearer ").expect("the token is a bearer token")
    }
}

/// An answer of JSON.
pub(crate) fn json_answer(status: u16, body: &Value) -> Response {
    let status = http::StatusCode::from_u16(status).expect("tests answer with real statuses");
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}

/// The did:web of a service on a port of this machine.
pub(crate) fn did_of_port(port: u16) -> String {
    format!("did:web:localhost%3A{port}")
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("a listener has an address").port()
}
