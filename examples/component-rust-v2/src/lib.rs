//! A function of mode `component-v1` that lists a collection page by page, knows who calls, and logs.
//!
//! `{"collection", "repo"?, "cursor"?, "limit"?}` → `{"records": [{"uri", "cid", "value"}], "cursor"?,
//! "count"}`. Where `repo` is absent, the caller's own is listed. Its world is
//! `atfunc:runtime/at-function@0.2.0`, which adds `context` and `log` to what version 0.1.0 has.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

mod bindings {
    wit_bindgen::generate!({ path: "../../wit/atfunc-runtime-0.2.0", world: "at-function" });
    export!(Lister);
    use super::Lister;
}

use bindings::Guest;
use bindings::atfunc::runtime::log::{Level, log};
use bindings::atfunc::runtime::{atproto, context};

/// Records in a page where the caller does not say.
const LIMIT: u32 = 25;

#[derive(Deserialize)]
struct Input {
    repo: Option<String>,
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
        let repo = input.repo.or_else(|| context::get().caller);
        let repo = repo.ok_or("repo: is needed, as the call is anonymous")?;
        let limit = input.limit.unwrap_or(LIMIT);
        let page = atproto::list_collection(&repo, &input.collection, input.cursor.as_deref(), limit)
            .inspect_err(|reason| log(Level::Warn, reason))?;
        let Page { records, cursor } =
            serde_json::from_str(&page).map_err(|error| format!("the host's reply: {error}"))?;
        let count = records.len();
        log(Level::Info, &format!("{count} records of {} in {repo}", input.collection));
        log(Level::Debug, &format!("{} ms are left", context::remaining_ms()));
        let output = Output { count, records, cursor };
        serde_json::to_string(&output).map_err(|error| error.to_string())
    }
}
