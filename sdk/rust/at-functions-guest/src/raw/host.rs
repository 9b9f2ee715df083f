//! `host-v1`: a request goes as JSON, the reply comes as JSON.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::log::Level;
use crate::{Context, Listing, abi, base64};

mod imports {
    #[link(wasm_import_module = "host")]
    unsafe extern "C" {
        pub fn host_read_record(request: *const u8, length: usize) -> u64;
        pub fn host_read_blob(request: *const u8, length: usize) -> u64;
        pub fn host_list_collection(request: *const u8, length: usize) -> u64;
        pub fn host_get_context() -> u64;
        pub fn host_log(level: i32, message: *const u8, length: usize);
    }
}

pub(crate) fn read_record(at_uri: &str) -> Result<String, String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Request<'a> {
        at_uri: &'a str,
    }
    #[derive(Deserialize)]
    struct Reply {
        record: Box<RawValue>,
    }
    let reply: Reply = read(&ask(imports::host_read_record, &Request { at_uri })?)?;
    Ok(String::from(Box::<str>::from(reply.record)))
}

pub(crate) fn read_blob(cid: &str, repo: Option<&str>) -> Result<Vec<u8>, String> {
    #[derive(Serialize)]
    struct Request<'a> {
        cid: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        repo: Option<&'a str>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Reply {
        bytes_base64: String,
    }
    let reply: Reply = read(&ask(imports::host_read_blob, &Request { cid, repo })?)?;
    base64::decode(&reply.bytes_base64).ok_or_else(|| "the host's reply is no base64".to_owned())
}

pub(crate) fn list_collection(listing: &Listing<'_>) -> Result<String, String> {
    #[derive(Serialize)]
    struct Request<'a> {
        repo: &'a str,
        collection: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
    }
    let request = Request {
        repo: listing.repo,
        collection: listing.collection,
        cursor: listing.cursor,
        limit: (listing.limit > 0).then_some(listing.limit),
    };
    let reply = ask(imports::host_list_collection, &request)?;
    String::from_utf8(reply.into()).map_err(|error| format!("the host's reply: {error}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    caller: Option<String>,
    function: String,
    function_cid: String,
    request_id: String,
    time_left_ms: u32,
}

fn told() -> Told {
    // SAFETY: it takes nothing, and its result is taken once.
    let reply = unsafe { abi::take(imports::host_get_context()) };
    read(&reply).expect("the host tells the context in this shape")
}

pub(crate) fn context() -> Context {
    let Told { caller, function, function_cid, request_id, .. } = told();
    Context { caller, function, function_cid, request_id }
}

pub(crate) fn remaining_ms() -> u32 {
    told().time_left_ms
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => 0,
        Level::Info => 1,
        Level::Warn => 2,
        Level::Error => 3,
    };
    // SAFETY: the host reads the message while the call lasts.
    unsafe { imports::host_log(level, message.as_ptr(), message.len()) }
}

fn read<'a, T: Deserialize<'a>>(reply: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(reply).map_err(|error| format!("the host's reply: {error}"))
}

fn ask(
    function: unsafe extern "C" fn(*const u8, usize) -> u64,
    request: &impl Serialize,
) -> Result<Box<[u8]>, String> {
    #[derive(Deserialize)]
    struct Head {
        ok: bool,
        error: Option<String>,
    }
    let request = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    // SAFETY: the host reads the request while the call lasts, and its result is taken once.
    let reply = unsafe { abi::take(function(request.as_ptr(), request.len())) };
    let head: Head = read(&reply)?;
    match head.ok {
        true => Ok(reply),
        false => Err(head.error.unwrap_or_else(|| "the host gives no reason".to_owned())),
    }
}
