//! Grants, read by proof: whether the author lets somebody run a function that is not public.
//!
//! Anybody can ask to run a function, and each who was not asked about before costs its author's PDS a
//! read. So strangers have a budget between them, for each author; who was granted something before
//! does not draw on it, so that strangers cannot keep them out.

use std::time::Duration;

use moka::future::Cache;

use crate::egress::Budgets;
use crate::identity::Did;
use crate::lexicon::{GRANT_COLLECTION, Grant, GrantSubject, Nsid};
use crate::telemetry;

use super::cache::{Ttl, detached};
use super::home::Errand;
use super::record::{self, RecordPath};
use super::{Registry, RegistryError};

/// Answers that are kept, at some hundreds of bytes each.
const MAX_KEPT: u64 = 50_000;
/// Those who were granted something, as far as they are remembered, and for how long.
const MAX_GRANTED: u64 = 50_000;
const GRANTED_IDLE: Duration = Duration::from_secs(24 * 3600);
/// Strangers to the functions of one author that are asked about at once.
const BURST: u32 = 32;
/// How often one more is after that.
const INTERVAL: Duration = Duration::from_millis(200);

/// What is known of grants.
pub(super) struct Grants {
    found: Cache<GrantSubject, Result<Option<Grant>, RegistryError>>,
    granted: moka::sync::Cache<GrantSubject, ()>,
    strangers: Budgets<Did>,
}

impl Grants {
    /// Believes an answer for `ttl`.
    pub(super) fn new(ttl: Duration) -> Grants {
        Grants {
            found: Cache::builder().max_capacity(MAX_KEPT).expire_after(Ttl { success: ttl }).build(),
            granted: moka::sync::Cache::builder()
                .max_capacity(MAX_GRANTED)
                .time_to_idle(GRANTED_IDLE)
                .build(),
            strangers: Budgets::new(BURST, INTERVAL),
        }
    }
}

impl Registry {
    /// The grant in the author's repo, as it was within the record TTL; `None` if, by the repo's signature,
    /// there is none, or what stands there grants nothing. Whether it holds still is judged at each call.
    pub async fn grant(&self, subject: GrantSubject) -> Result<Option<Grant>, RegistryError> {
        let (sources, grants) = (self.sources.clone(), self.grants.clone());
        let name = subject.clone();
        let reading = async move {
            if !grants.granted.contains_key(&subject) {
                let now = sources.clock.since_epoch();
                grants.strangers.take(subject.author.clone(), now).map_err(RegistryError::Overloaded)?;
            }
            let found = detached(async move {
                let path = RecordPath { collection: collection(), rkey: subject.record_key() };
                // The author's revisions are kept on disk, so that a grant that was taken back does not come
                // back with an older state of the repo.
                let errand = Errand::for_function(subject.author.clone());
                let record = match record::fetch(&sources, &errand, &path).await {
                    Ok(proved) => proved.proof.record,
                    Err(RegistryError::NotFound(_)) => None,
                    Err(error) => return Err(error),
                };
                let grant = record.map(|record| Grant::from_record(&record.value, &subject));
                Ok((subject, grant))
            });
            match found.await? {
                (subject, Some(Ok(grant))) => {
                    grants.granted.insert(subject, ());
                    Ok(Some(grant))
                }
                (subject, Some(Err(error))) => {
                    tracing::debug!(function = subject.function_uri(), caller = %subject.caller, %error, "no grant");
                    Ok(None)
                }
                (_, None) => Ok(None),
            }
        };
        let found = self.grants.found.entry(name).or_insert_with(Box::pin(reading)).await;
        telemetry::count_lookup("grant", !found.is_fresh());
        found.into_value()
    }
}

fn collection() -> Nsid {
    // A constant that parses.
    Nsid::parse(GRANT_COLLECTION).expect("the collection's name is an NSID")
}
