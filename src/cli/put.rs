//! Writing a record into the repo of a session.

use atrium_api::com::atproto::repo::get_record::NSID as GET_RECORD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::Xrpc;
use super::error::CliError;
use super::session::Session;
use crate::clock::Clock;
use crate::lexicon::RecordKey;

/// Where the PDS wrote it, and its CID there.
#[derive(Deserialize)]
pub(super) struct Written {
    pub(super) uri: String,
    pub(super) cid: String,
}

/// A record as its PDS has it; a function's own PDS is asked, so nothing is proved.
#[derive(Deserialize)]
pub(super) struct Found {
    #[serde(default)]
    pub(super) cid: Option<String>,
    pub(super) value: Value,
}

/// The record at this key, if there is one.
pub(super) async fn found(
    pds: &Xrpc<'_>,
    session: &Session,
    collection: &str,
    rkey: &RecordKey,
) -> Result<Option<Found>, CliError> {
    let place = [("repo", session.did.as_str()), ("collection", collection), ("rkey", rkey.as_str())];
    match pds.query(GET_RECORD, place).await {
        Ok(found) => Ok(Some(found)),
        Err(CliError::Refused(refusal)) if refusal.name == "RecordNotFound" => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts `record` at this key, in place of what may be there.
pub(super) async fn record(
    pds: &Xrpc<'_>,
    session: &Session,
    collection: &str,
    rkey: &RecordKey,
    record: &Value,
) -> Result<Written, CliError> {
    in_place_of(None, pds, session, collection, rkey, record).await
}

/// The same, if what is there still has the CID `swap`.
pub(super) async fn in_place_of(
    swap: Option<&str>,
    pds: &Xrpc<'_>,
    session: &Session,
    collection: &str,
    rkey: &RecordKey,
    record: &Value,
) -> Result<Written, CliError> {
    /// The body of `com.atproto.repo.putRecord`. Not atrium's: its `Unknown` takes records through IPLD,
    /// and this one is to go out as it was built.
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct PutRecord<'a> {
        repo: &'a str,
        collection: &'a str,
        rkey: &'a str,
        record: &'a Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        swap_record: Option<&'a str>,
    }
    let repo = session.did.as_str();
    let put = PutRecord { repo, collection, rkey: rkey.as_str(), record, swap_record: swap };
    pds.procedure("com.atproto.repo.putRecord", put).await
}

/// The moment, to the millisecond, as RFC 3339.
pub(super) fn now(clock: &Clock) -> String {
    let millis = i64::try_from(clock.since_epoch().as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_rfc_3339_in_utc() {
        let clock = Clock::manual(1_795_237_200);
        assert_eq!(now(&clock), "2026-11-21T05:00:00Z");
        clock.advance(std::time::Duration::from_millis(7));
        assert_eq!(now(&clock), "2026-11-21T05:00:00.007Z");
    }
}
