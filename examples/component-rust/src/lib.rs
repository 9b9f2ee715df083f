//! A function of mode `component-v1` that lists a collection page by page.
//!
//! `{"repo", "collection", "cursor"?, "limit"?}` → `{"records": [{"uri", "cid", "value"}], "cursor"?,
//! "count"}`. The types of the world `atfunc:runtime/at-function@0.1.0` become Rust's: no pointers, and an
//! error is an error.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

mod bindings {
    wit_bindgen::generate!({ path: "../../wit/atfunc-runtime-0.1.0", world: "at-function" });
    export!(Lister);
    use super::Lister;
}

use bindings::Guest;
use bindings::atfunc::runtime::atproto;

/// Records in a page where the caller does not say.
const LIMIT: u32 = 25;

#[derive(Deserialize)]
struct Input {
    repo: String,
    collection: String,
    cursor: Option<String>,
    limit: Option<u32>,
}

/// A page, as the host gives it. What a record is made of does not matter here.
#[derive(Deserialize)]
struct Page {
    records: Vec<Box<RawValue>>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct Output {
    records: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
    count: usize,
}

struct Lister;

impl Guest for Lister {
    fn run(input: String) -> Result<String, String> {
        let input: Input = serde_json::from_str(&input).map_err(|error| format!("input: {error}"))?;
        let limit = input.limit.unwrap_or(LIMIT);
        let page = atproto::list_collection(&input.repo, &input.collection, input.cursor.as_deref(), limit)?;
        let Page { records, cursor } =
            serde_json::from_str(&page).map_err(|error| format!("the host's reply: {error}"))?;
        let output = Output { count: records.len(), records, cursor };
        serde_json::to_string(&output).map_err(|error| error.to_string())
    }
}
