//! The host's side of `atfunc:runtime`, in every version that was released.

use serde::Serialize;
use serde_json::value::RawValue;

use super::bindings::atfunc::runtime0_1_0::atproto as atproto_0_1;
use super::bindings::atfunc::runtime0_2_0::{atproto as atproto_0_2, context, log};
use crate::sandbox::guest::Guest;
use crate::sandbox::host::Host;
use crate::sandbox::{HostCall, HostReply, Listed, LogLevel};

/// What a read gives the guest, or why there is nothing; the outer error ends the run.
type Read<T> = wasmtime::Result<Result<T, String>>;

async fn read_record(host: &Host, at_uri: String) -> Read<String> {
    let reply = host.call(HostCall::ReadRecord { at_uri }).await?;
    reply.map_err(|denied| denied.0).map_or_else(failed, |reply| match reply {
        HostReply::Record { value, .. } => text(&value),
        other => Err(unasked(&other)),
    })
}

async fn read_blob(host: &Host, cid: String, repo: String) -> Read<Vec<u8>> {
    let repo = Some(repo).filter(|repo| !repo.is_empty());
    let reply = host.call(HostCall::ReadBlob { cid, repo }).await?;
    reply.map_err(|denied| denied.0).map_or_else(failed, |reply| match reply {
        HostReply::Blob { bytes, .. } => Ok(Ok(bytes.to_vec())),
        other => Err(unasked(&other)),
    })
}

async fn list_collection(
    host: &Host,
    repo: String,
    collection: String,
    cursor: Option<String>,
    limit: u32,
) -> Read<String> {
    // An `u32` of WIT cannot be left out.
    let limit = if limit == 0 { HostCall::DEFAULT_LIMIT } else { limit.min(HostCall::MAX_LIMIT) };
    let reply = host.call(HostCall::ListCollection { repo, collection, cursor, limit }).await?;
    reply.map_err(|denied| denied.0).map_or_else(failed, |reply| match reply {
        HostReply::Listing { records, cursor } => page(&records, cursor.as_deref()),
        other => Err(unasked(&other)),
    })
}

fn failed<T>(message: String) -> Read<T> {
    Ok(Err(message))
}

/// The door answered another question; whoever is behind it is broken.
fn unasked(reply: &HostReply) -> wasmtime::Error {
    let kind = match reply {
        HostReply::Blob { .. } => "a blob",
        HostReply::Listing { .. } => "a listing",
        HostReply::Record { .. } => "a record",
    };
    std::io::Error::other(format!("the door answered with {kind}, which was not asked for")).into()
}

/// JSON as a string for the guest.
fn text(json: &[u8]) -> Read<String> {
    Ok(match std::str::from_utf8(json) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err("the record is not UTF-8".into()),
    })
}

/// A page as the guest gets it.
#[derive(Serialize)]
struct Page<'a> {
    records: Vec<PageRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

#[derive(Serialize)]
struct PageRecord<'a> {
    uri: &'a str,
    cid: &'a str,
    value: &'a RawValue,
}

fn page(records: &[Listed], cursor: Option<&str>) -> Read<String> {
    let records: Result<Vec<_>, _> = records
        .iter()
        .map(|Listed { uri, cid, value }| {
            serde_json::from_slice(value).map(|value| PageRecord { uri, cid, value })
        })
        .collect();
    let page = records.and_then(|records| serde_json::to_string(&Page { records, cursor }));
    Ok(page.map_err(|error| format!("the listing is not JSON: {error}")))
}

/// Implements the reads, which are the same in all versions.
macro_rules! reads {
    ($version:ident) => {
        impl $version::Host for Guest {
            async fn read_record(&mut self, at_uri: String) -> Read<String> {
                read_record(&self.host, at_uri).await
            }

            async fn read_blob(&mut self, cid: String, repo: String) -> Read<Vec<u8>> {
                read_blob(&self.host, cid, repo).await
            }

            async fn list_collection(
                &mut self,
                repo: String,
                collection: String,
                cursor: Option<String>,
                limit: u32,
            ) -> Read<String> {
                list_collection(&self.host, repo, collection, cursor, limit).await
            }
        }
    };
}

reads!(atproto_0_1);
reads!(atproto_0_2);

impl context::Host for Guest {
    fn get(&mut self) -> wasmtime::Result<context::Info> {
        let context = self.host.context();
        Ok(context::Info {
            caller: context.caller.clone(),
            function: context.function.clone(),
            function_cid: context.function_cid.clone(),
            request_id: context.request_id.clone(),
        })
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.host.time_left().as_millis()).unwrap_or(u32::MAX))
    }
}

impl log::Host for Guest {
    fn log(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.host.log(level, &message);
        Ok(())
    }
}
