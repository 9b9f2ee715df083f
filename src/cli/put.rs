//! Writing a record into the repo of a session.

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

/// Puts `record` at this key, in place of what may be there.
pub(super) async fn record(
    pds: &Xrpc<'_>,
    session: &Session,
    collection: &str,
    rkey: &RecordKey,
    record: &Value,
) -> Result<Written, CliError> {
    /// The body of `com.atproto.repo.putRecord`. Not atrium's: its `Unknown` takes records through IPLD,
    /// and this one is to go out as it was built.
    #[derive(Serialize)]
    struct PutRecord<'a> {
        repo: &'a str,
        collection: &'a str,
        rkey: &'a str,
        record: &'a Value,
    }
    let put = PutRecord { repo: session.did.as_str(), collection, rkey: rkey.as_str(), record };
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
