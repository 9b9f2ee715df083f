//! `component-v1`: the interfaces of `atfunc:runtime`.

use crate::component::atfunc::runtime::{atproto, context as wit_context, log as wit_log};
use crate::log::Level;
use crate::{Context, Listing};

pub(crate) fn read_record(at_uri: &str) -> Result<String, String> {
    atproto::read_record(at_uri)
}

pub(crate) fn read_blob(cid: &str, repo: Option<&str>) -> Result<Vec<u8>, String> {
    atproto::read_blob(cid, repo.unwrap_or_default())
}

pub(crate) fn list_collection(listing: &Listing<'_>) -> Result<String, String> {
    atproto::list_collection(listing.repo, listing.collection, listing.cursor, listing.limit)
}

pub(crate) fn context() -> Context {
    let wit_context::Info { caller, function, function_cid, request_id } = wit_context::get();
    Context { caller, function, function_cid, request_id }
}

pub(crate) fn remaining_ms() -> u32 {
    wit_context::remaining_ms()
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Debug => wit_log::Level::Debug,
        Level::Info => wit_log::Level::Info,
        Level::Warn => wit_log::Level::Warn,
        Level::Error => wit_log::Level::Error,
    };
    wit_log::log(level, message);
}
