//! The host's functions, made safe: a request goes as JSON, the reply comes as JSON.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::abi;
use crate::base64;

mod imports {
    // The host also offers them under the name `env`, which compilers take when none is said.
    #[link(wasm_import_module = "host")]
    unsafe extern "C" {
        pub fn host_read_record(request: *const u8, length: usize) -> u64;
        pub fn host_read_blob(request: *const u8, length: usize) -> u64;
        pub fn host_list_collection(request: *const u8, length: usize) -> u64;
        pub fn host_get_context() -> u64;
        pub fn host_log(level: i32, message: *const u8, length: usize);
    }
}

/// A record, proved by its author's signature.
#[derive(Deserialize)]
pub struct Record {
    pub record: Box<RawValue>,
    pub cid: String,
}

pub fn read_record(at_uri: &str) -> Result<Record, String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Request<'a> {
        at_uri: &'a str,
    }
    ask(imports::host_read_record, &Request { at_uri })
}

/// A blob, whose bytes hash to its CID.
pub struct Blob {
    pub mime_type: String,
    pub bytes: Vec<u8>,
}

/// Reads a blob of `repo`, or of the function's author.
pub fn read_blob(cid: &str, repo: Option<&str>) -> Result<Blob, String> {
    #[derive(Serialize)]
    struct Request<'a> {
        cid: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        repo: Option<&'a str>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Reply {
        mime_type: String,
        bytes_base64: String,
    }
    let reply: Reply = ask(imports::host_read_blob, &Request { cid, repo })?;
    let bytes = base64::decode(&reply.bytes_base64).ok_or("the host's reply is no base64")?;
    Ok(Blob { mime_type: reply.mime_type, bytes })
}

/// Which page of which collection.
#[derive(Serialize)]
pub struct Page<'a> {
    pub repo: &'a str,
    pub collection: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A page, as the repo's host gave it: not proved.
#[derive(Deserialize)]
pub struct Listing {
    /// Of each record `{"uri", "cid", "value"}`. What they are made of does not matter here.
    pub records: Vec<Box<RawValue>>,
    pub cursor: Option<String>,
}

pub fn list_collection(page: &Page) -> Result<Listing, String> {
    ask(imports::host_list_collection, page)
}

/// What is known of this call.
#[derive(Deserialize)]
pub struct Context {
    /// DID of the caller; nobody if the call is anonymous.
    pub caller: Option<String>,
}

pub fn context() -> Result<Context, String> {
    // SAFETY: it takes nothing, and its result is taken once.
    let reply = unsafe { abi::take(imports::host_get_context()) };
    serde_json::from_slice(&reply).map_err(|error| format!("the host's reply: {error}"))
}

/// How much a line matters. The numbers are the host's.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "all that there are; this function says one thing")]
pub enum Level {
    Debug = 0,
    Info = 1,
    Warn = 2,
    Error = 3,
}

pub fn log(level: Level, message: &str) {
    // SAFETY: the host reads the message while the call lasts.
    unsafe { imports::host_log(level as i32, message.as_ptr(), message.len()) }
}

fn ask<T: for<'de> Deserialize<'de>>(
    function: unsafe extern "C" fn(*const u8, usize) -> u64,
    request: &impl Serialize,
) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Head {
        ok: bool,
        error: Option<String>,
    }
    // Strings and numbers always have a JSON form.
    let request = serde_json::to_vec(request).unwrap();
    // SAFETY: the host reads the request while the call lasts, and its result is taken once.
    let reply = unsafe { abi::take(function(request.as_ptr(), request.len())) };
    let unreadable = |error: serde_json::Error| format!("the host's reply: {error}");
    let head: Head = serde_json::from_slice(&reply).map_err(unreadable)?;
    if !head.ok {
        return Err(head.error.unwrap_or_else(|| "the host gives no reason".into()));
    }
    serde_json::from_slice(&reply).map_err(unreadable)
}
