//! The HTTP side of the embedded repo: the few methods of a PDS that a reader of functions needs.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use ipld_core::cid::Cid;
use serde_json::{Value, json};

use crate::lexicon::{Nsid, RecordKey};
use crate::repo::ipld_to_json;

use super::author::{Author, HANDLE};

/// Records of a page where nobody says how many (lexicon `com.atproto.repo.listRecords`).
const DEFAULT_PAGE: usize = 50;

type Params = Query<HashMap<String, String>>;

/// Everything that the embedded repo answers. It also stands in for the PLC directory (which knows
/// nobody) and the handle resolver (which knows the author).
pub fn host_router(author: Arc<Author>) -> Router {
    Router::new()
        .route("/.well-known/did.json", get(did_document))
        .route("/xrpc/com.atproto.identity.resolveHandle", get(resolve_handle))
        .route("/xrpc/com.atproto.repo.getRecord", get(record))
        .route("/xrpc/com.atproto.repo.listRecords", get(records))
        .route("/xrpc/com.atproto.server.createSession", post(no_login))
        .route("/xrpc/com.atproto.sync.getBlob", get(blob))
        .route("/xrpc/com.atproto.sync.getRecord", get(proof))
        .route("/xrpc/com.atproto.sync.getRepoStatus", get(status))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "NotFound", "nothing is at this path") })
        .with_state(author)
}

/// For authors who would deploy here.
async fn no_login() -> Response {
    let message = "this is the repo of `at-functions dev`, into which nobody logs in: give the file to `dev` in place of `deploy`, and it is published";
    refusal(StatusCode::FORBIDDEN, "NoLogin", message)
}

async fn did_document(State(author): State<Arc<Author>>) -> Response {
    json_answer(&author.did_document())
}

async fn resolve_handle(State(author): State<Arc<Author>>, params: Params) -> Response {
    match params.get("handle").map(String::as_str) {
        Some(HANDLE) => json_answer(&json!({ "did": author.did() })),
        _ => refusal(StatusCode::BAD_REQUEST, "HandleNotFound", "only author.test is known here"),
    }
}

async fn proof(State(author): State<Arc<Author>>, params: Params) -> Response {
    let Some((collection, rkey)) = own_record(&author, &params, "did") else { return unknown_repo() };
    let car = author.record_car(&collection, &rkey);
    ([(header::CONTENT_TYPE, "application/vnd.ipld.car")], car).into_response()
}

async fn blob(State(author): State<Arc<Author>>, params: Params) -> Response {
    let cid = params.get("cid").and_then(|text| Cid::try_from(text.as_str()).ok());
    match cid.and_then(|cid| author.contents().blobs.get(&cid).cloned()) {
        Some(bytes) => ([(header::CONTENT_TYPE, "application/wasm")], bytes).into_response(),
        None => refusal(StatusCode::BAD_REQUEST, "InvalidRequest", "Blob not found"),
    }
}

async fn status(State(author): State<Arc<Author>>, params: Params) -> Response {
    if params.get("did").is_none_or(|did| did != author.did().as_str()) {
        return unknown_repo();
    }
    let rev = author.contents().repository.rev().to_string();
    json_answer(&json!({ "did": author.did(), "active": true, "rev": rev }))
}

async fn record(State(author): State<Arc<Author>>, params: Params) -> Response {
    let Some((collection, rkey)) = own_record(&author, &params, "repo") else { return unknown_repo() };
    let listed = author.contents().repository.list(&collection);
    match listed.into_iter().find(|(key, _, _)| *key == rkey) {
        Some((key, cid, value)) => {
            json_answer(&entry(&author, &collection, &key, &cid, &ipld_to_json(&value)))
        }
        None => refusal(StatusCode::BAD_REQUEST, "RecordNotFound", "there is no such record"),
    }
}

async fn records(State(author): State<Arc<Author>>, params: Params) -> Response {
    let collection = params.get("collection").and_then(|text| Nsid::parse(text).ok());
    let Some(collection) = collection.filter(|_| is_author(&author, params.get("repo"))) else {
        return unknown_repo();
    };
    let limit = params.get("limit").and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_PAGE);
    let listed = author.contents().repository.list(&collection);
    let after = |key: &RecordKey| params.get("cursor").is_none_or(|cursor| key.as_str() > cursor.as_str());
    let mut rest = listed.iter().filter(|(key, _, _)| after(key));
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let entries: Vec<_> = page
        .iter()
        .map(|(key, cid, value)| entry(&author, &collection, key, cid, &ipld_to_json(value)))
        .collect();
    let last = page.last().filter(|_| rest.next().is_some());
    match last {
        Some((key, _, _)) => json_answer(&json!({ "records": entries, "cursor": key.as_str() })),
        None => json_answer(&json!({ "records": entries })),
    }
}

fn entry(author: &Author, collection: &Nsid, rkey: &RecordKey, cid: &Cid, value: &Value) -> Value {
    let uri = format!("at://{}/{collection}/{rkey}", author.did());
    json!({ "uri": uri, "cid": cid.to_string(), "value": value })
}

fn own_record(author: &Author, params: &Params, repo: &str) -> Option<(Nsid, RecordKey)> {
    if !is_author(author, params.get(repo)) {
        return None;
    }
    let collection = Nsid::parse(params.get("collection")?).ok()?;
    Some((collection, RecordKey::parse(params.get("rkey")?).ok()?))
}

fn is_author(author: &Author, repo: Option<&String>) -> bool {
    repo.is_some_and(|repo| repo == author.did().as_str() || repo == HANDLE)
}

fn json_answer(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn unknown_repo() -> Response {
    refusal(StatusCode::BAD_REQUEST, "RepoNotFound", "only the embedded author's repo is here")
}

fn refusal(status: StatusCode, name: &str, message: &str) -> Response {
    let body = json!({ "error": name, "message": message }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
