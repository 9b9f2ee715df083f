//! What answers at which path.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tower::ServiceBuilder;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::map_request_body::MapRequestBodyLayer;
use tracing::Instrument;

use crate::lexicon::Nsid;

use super::call::{self, RUN};
use super::deadline::Deadline;
use super::describe::{self, DESCRIBE};
use super::request_id::RequestId;
use super::service::Service;
use super::{XrpcError, body, limited, repeats};

/// The public routes. Layers, outermost first: CORS, so that a browser may read refusals too; then
/// decompression, which is lazy, so that of a refused body no more is unpacked than is drained.
pub fn router(service: Arc<Service>) -> Router {
    let xrpc = ServiceBuilder::new()
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(MapRequestBodyLayer::new(Body::new))
        .service(any(xrpc).with_state(Arc::clone(&service)));
    Router::new()
        .route("/", get(root))
        .route("/robots.txt", get(robots))
        .route("/.well-known/did.json", get(did_document))
        .route("/xrpc/_health", get(health))
        .route_service("/xrpc/{*method}", xrpc)
        .fallback(not_found)
        .layer(cors())
        .with_state(service)
}

/// One XRPC request: which method, with the right verb.
async fn xrpc(State(service): State<Arc<Service>>, request: Request) -> Response {
    let id = RequestId::of(request.headers());
    // On the heap: it holds all that a call may wait for, and would be moved through every layer.
    let mut response = Box::pin(respond(&service, request, &id)).instrument(id.span()).await;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(HeaderName::from_static(RequestId::HEADER), value);
    }
    response
}

async fn respond(service: &Arc<Service>, request: Request, id: &RequestId) -> Response {
    let method = method_of(request.uri().path());
    match (method.as_ref().map(Nsid::as_str), request.method()) {
        (Some(RUN), &Method::POST) => call::run(service, request, id).await,
        (Some(DESCRIBE), &Method::GET) => describe::describe(service, request, id).await,
        (_, verb) => {
            let error = refusal(method.as_ref(), verb);
            let (head, request_body) = request.into_parts();
            body::drain(&head.headers, request_body, Deadline::start()).await;
            error.into_response_for(id)
        }
    }
}

/// The method that a path names; a PDS forwards one trailing slash as it got it.
fn method_of(path: &str) -> Option<Nsid> {
    let name = path.strip_prefix("/xrpc/")?;
    Nsid::parse(name.strip_suffix('/').unwrap_or(name)).ok()
}

fn refusal(method: Option<&Nsid>, verb: &Method) -> XrpcError {
    match method {
        None => XrpcError::invalid_request("invalid xrpc path"),
        Some(method) if [RUN, DESCRIBE].contains(&method.as_str()) => {
            let expected = if method.as_str() == RUN { Method::POST } else { Method::GET };
            let verb = verb.as_str();
            XrpcError::invalid_request(format!("Incorrect HTTP method ({verb:.20}) expected {expected}"))
        }
        Some(method) => XrpcError::not_implemented(format!(
            "Method Not Implemented: this service has {RUN} and {DESCRIBE}, not {method}"
        )),
    }
}

async fn root() -> &'static str {
    "This is an AT Functions service: it runs WebAssembly functions that live in AT Protocol repos.\n\
     Its methods are at /xrpc/at.functions.run and /xrpc/at.functions.describe; its identity at\n\
     /.well-known/did.json.\n"
}

async fn robots() -> &'static str {
    "User-agent: *\nDisallow: /xrpc/\n"
}

async fn did_document(State(service): State<Arc<Service>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], service.did_document.to_string()).into_response()
}

async fn health() -> Response {
    let body = json!({ "version": env!("CARGO_PKG_VERSION") }).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "There is nothing at this path; XRPC methods are at /xrpc/NSID\n").into_response()
}

/// Any origin may call and read: a token in the request is the only authority there is.
fn cors() -> CorsLayer {
    let exposed = [
        header::RETRY_AFTER,
        HeaderName::from_static(RequestId::HEADER),
        HeaderName::from_static(repeats::REPLAYED),
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::any())
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(limited::HEADERS.into_iter().chain(exposed).collect::<Vec<_>>())
        .max_age(Duration::from_secs(86_400))
}
