//! A function of mode `host-v1` that reads from repos by calling the host.
//!
//! - `{"collection", "repo"?, "cursor"?, "limit"?}` lists a page: `{"records": [{"uri", "cid", "value"}],
//!   "cursor"?, "count"}`
//! - `{"record": AT-URI}` reads one record: `{"record", "cid"}`
//! - `{"blob": CID, "repo"?}` reads a blob: `{"mimeType", "size"}`
//!
//! `repo` is a DID or a handle. Where it is absent, a listing is of the caller's own repo, and a blob is
//! of the function's author. What went wrong is told as `{"error"}`: the ABI has no other way.

mod abi;
mod base64;
mod host;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use host::{Level, Page};

#[derive(Deserialize)]
struct Input {
    repo: Option<String>,
    collection: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
    record: Option<String>,
    blob: Option<String>,
}

/// What is answered; the names of the variants do not show.
#[derive(Serialize)]
#[serde(untagged)]
enum Output {
    Listing {
        records: Vec<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
        count: usize,
    },
    Record {
        record: Box<RawValue>,
        cid: String,
    },
    Blob {
        #[serde(rename = "mimeType")]
        mime_type: String,
        size: usize,
    },
    Error {
        error: String,
    },
}

/// Answers one call; `abi` hands it the input and takes the output to the host.
fn answer(input: &[u8]) -> Vec<u8> {
    let output = read(input).unwrap_or_else(|error| Output::Error { error });
    // Strings and numbers always have a JSON form.
    serde_json::to_vec(&output).unwrap()
}

fn read(input: &[u8]) -> Result<Output, String> {
    let input: Input = serde_json::from_slice(input).map_err(|error| format!("input: {error}"))?;
    if let Some(at_uri) = &input.record {
        let found = host::read_record(at_uri)?;
        Ok(Output::Record { record: found.record, cid: found.cid })
    } else if let Some(cid) = &input.blob {
        let found = host::read_blob(cid, input.repo.as_deref())?;
        Ok(Output::Blob { mime_type: found.mime_type, size: found.bytes.len() })
    } else if let Some(collection) = &input.collection {
        list(collection, &input)
    } else {
        Err("input: one of collection, record and blob is needed".into())
    }
}

fn list(collection: &str, input: &Input) -> Result<Output, String> {
    let context = host::context()?;
    let repo = input.repo.as_ref().or(context.caller.as_ref());
    let repo = repo.ok_or("repo: is needed, as the call is anonymous")?;
    let cursor = input.cursor.as_deref();
    let listing = host::list_collection(&Page { repo, collection, cursor, limit: input.limit })?;
    let count = listing.records.len();
    host::log(Level::Info, &format!("{count} records of {collection} in {repo}"));
    Ok(Output::Listing { records: listing.records, cursor: listing.cursor, count })
}
