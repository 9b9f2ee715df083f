//! What was verified, kept for a while: records by name, code by author and CID.
//!
//! Concurrent misses of one thing cost one fetch. Failures are kept too, briefly, so that a
//! function that does not exist is not asked for with every call.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ipld_core::cid::Cid;
use moka::Expiry;
use moka::future::Cache;
use tokio::sync::Mutex;

use crate::identity::Did;
use crate::lexicon::RecordKey;
use crate::telemetry;

use super::{Function, RegistryError, Trouble};

/// How long a failure is answered without asking again.
const FAILURE_TTL: Duration = Duration::from_secs(3);
/// The least time between two reads of one function that callers force. Strangers decide how often
/// they are asked for, and a PDS that is asked too often stops answering for all its authors.
const BETWEEN_FORCED: Duration = Duration::from_secs(1);
/// Functions whose forced reads are remembered, and for how long after the last one.
const MAX_FORCED: u64 = 10_000;
const FORCED_IDLE: Duration = Duration::from_secs(60);
/// What proved records may weigh together: schemas make one up to 1 MiB.
const RECORDS_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// What a record in memory takes, schemas as JSON trees included, for each byte of its proof.
const RECORD_WEIGHT: usize = 4;
/// What code may weigh together. What runs is the compiled artifact, so this only spares refetches.
const CODE_MAX_BYTES: u64 = 128 * 1024 * 1024;
/// How many blobs are known to be given out.
const MAX_GIVEN_OUT: u64 = 100_000;

/// The names under which records are kept: never a handle.
pub(super) type FunctionName = (Did, RecordKey);
/// The names under which code is kept: content-addressed, but each author's to take back.
pub(super) type CodeName = (Did, Cid);

pub(super) struct Caches {
    functions: FunctionCache,
    forced: moka::sync::Cache<FunctionName, Arc<Mutex<Forced>>>,
    code: Cache<CodeName, Result<Bytes, RegistryError>>,
    /// The length of the blobs that their authors' PDSes gave out within the TTL of code. It is kept
    /// apart from the bytes, which have to make room sooner.
    given_out: Cache<CodeName, u64>,
}

type FunctionCache = Cache<FunctionName, Result<Arc<Function>, RegistryError>>;

/// The last forced read of one function.
#[derive(Default)]
struct Forced {
    sent: Option<tokio::time::Instant>,
    /// When the last one that ended was sent, and how it failed.
    ended: Option<(tokio::time::Instant, Option<RegistryError>)>,
}

impl Caches {
    /// Caches that believe records for `record_ttl`, and blobs to be given out for `code_ttl`.
    pub(super) fn new(record_ttl: Duration, code_ttl: Duration) -> Caches {
        Caches::with_code_bytes(record_ttl, code_ttl, CODE_MAX_BYTES)
    }

    fn with_code_bytes(record_ttl: Duration, code_ttl: Duration, max_code_bytes: u64) -> Caches {
        let code = Cache::builder()
            .max_capacity(max_code_bytes)
            .weigher(|_, found: &Result<Bytes, _>| {
                (256 + found.as_ref().map_or(0, Bytes::len)).try_into().unwrap_or(u32::MAX)
            })
            .expire_after(Ttl { success: code_ttl })
            .build();
        Caches {
            functions: function_cache(RECORDS_MAX_BYTES, Ttl { success: record_ttl }),
            forced: moka::sync::Cache::builder().max_capacity(MAX_FORCED).time_to_idle(FORCED_IDLE).build(),
            code,
            given_out: Cache::builder().max_capacity(MAX_GIVEN_OUT).time_to_live(code_ttl).build(),
        }
    }

    pub(super) async fn function<F>(
        &self,
        name: FunctionName,
        fetch: impl FnOnce(FunctionName) -> F,
    ) -> Result<Arc<Function>, RegistryError>
    where
        F: Future<Output = Result<Arc<Function>, RegistryError>> + Send + 'static,
    {
        if let Some(known) = self.functions.get(&name).await {
            telemetry::count_lookup("record", true);
            return known;
        }
        // On the heap: it is large, and would be moved through every layer up to the call.
        let init = Box::pin(detached(fetch(name.clone())));
        let found = self.functions.entry(name).or_insert_with(init).await;
        telemetry::count_lookup("record", !found.is_fresh());
        found.into_value()
    }

    /// The function as a fetch finds it that is sent after this call. Those who ask within
    /// [`BETWEEN_FORCED`] of the last one wait, and share the next. What is known stays for everybody
    /// else unless the fetch tells of the function itself.
    pub(super) async fn function_anew<F>(
        &self,
        name: FunctionName,
        fetch: impl FnOnce(FunctionName) -> F,
    ) -> Result<Arc<Function>, RegistryError>
    where
        F: Future<Output = Result<Arc<Function>, RegistryError>> + Send + 'static,
    {
        let asked = tokio::time::Instant::now();
        let forced = self.forced.get_with(name.clone(), Arc::default);
        let mut forced = forced.lock().await;
        match &forced.ended {
            Some((sent, Some(error))) if *sent >= asked => return Err(error.clone()),
            Some((sent, None)) if *sent >= asked => return self.function(name, fetch).await,
            _ => {}
        }
        if let Some(sent) = forced.sent {
            tokio::time::sleep_until(sent + BETWEEN_FORCED).await;
        }
        let sent = tokio::time::Instant::now();
        forced.sent = Some(sent);
        telemetry::count_lookup("record", false);
        let found = detached(fetch(name.clone())).await;
        if found.as_ref().map_or_else(RegistryError::is_of_the_function, |_| true) {
            self.functions.insert(name, found.clone()).await;
        }
        forced.ended = Some((sent, found.as_ref().err().cloned()));
        found
    }

    /// The length of the blob, if its author's PDS gave it out within the TTL of code.
    pub(super) async fn given_out(&self, name: &CodeName) -> Option<u64> {
        let length = self.given_out.get(name).await;
        if length.is_some() {
            telemetry::count_lookup("code", true);
        }
        length
    }

    pub(super) async fn code<F>(
        &self,
        name: CodeName,
        fetch: impl FnOnce(CodeName) -> F,
    ) -> Result<Bytes, RegistryError>
    where
        F: Future<Output = Result<Bytes, RegistryError>> + Send + 'static,
    {
        if let Some(known) = self.code.get(&name).await {
            telemetry::count_lookup("code", true);
            return known;
        }
        let init = Box::pin(detached(fetch(name.clone())));
        let (given_out, known_as) = (self.given_out.clone(), name.clone());
        let reading = async move {
            let found = init.await;
            match &found {
                Ok(bytes) => given_out.insert(known_as, bytes.len() as u64).await,
                Err(_) => given_out.invalidate(&known_as).await,
            }
            found
        };
        let found = self.code.entry(name).or_insert_with(reading).await;
        telemetry::count_lookup("code", !found.is_fresh());
        found.into_value()
    }
}

fn function_cache(max_bytes: u64, ttl: Ttl) -> FunctionCache {
    Cache::builder()
        .max_capacity(max_bytes)
        .weigher(|name: &FunctionName, found: &Result<Arc<Function>, _>| {
            let record = found
                .as_ref()
                .map_or(0, |function| RECORD_WEIGHT * function.proof_bytes + function.schemas.weight());
            (512 + name.0.as_str().len() + name.1.as_str().len() + record).try_into().unwrap_or(u32::MAX)
        })
        .expire_after(ttl)
        .build()
}

/// Runs a fetch as a task, so that a panic in it stays in it.
pub(super) async fn detached<T: Send + 'static>(
    fetch: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
) -> Result<T, RegistryError> {
    match tokio::spawn(fetch).await {
        Ok(result) => result,
        Err(_) => Err(RegistryError::Unreachable(Trouble::Internal)),
    }
}

/// Successes live `success`, failures [`FAILURE_TTL`]; those that are about this service's load and
/// tell nothing of what was asked for are not kept at all.
pub(super) struct Ttl {
    pub(super) success: Duration,
}

impl<K, T> Expiry<K, Result<T, RegistryError>> for Ttl {
    fn expire_after_create(&self, _: &K, value: &Result<T, RegistryError>, _: Instant) -> Option<Duration> {
        Some(match value {
            Ok(_) => self.success,
            Err(RegistryError::NoThread | RegistryError::Overloaded(_) | RegistryError::Store) => {
                Duration::ZERO
            }
            Err(_) => FAILURE_TTL,
        })
    }

    fn expire_after_update(
        &self,
        key: &K,
        value: &Result<T, RegistryError>,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, value, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_that_had_to_make_room_are_still_known_to_be_given_out() {
        let hour = Duration::from_secs(3600);
        let caches = Caches::with_code_bytes(hour, hour, 0);
        let name = (Did::parse("did:web:a.com").unwrap(), crate::repo::blob_cid(b"code"));
        assert_eq!(caches.given_out(&name).await, None);
        let found = caches.code(name.clone(), |_| async { Ok(Bytes::from_static(b"code")) }).await;
        assert_eq!(found.unwrap(), "code");
        caches.code.run_pending_tasks().await;
        assert_eq!(caches.code.entry_count(), 0);
        assert_eq!(caches.given_out(&name).await, Some(4));
        let gone = RegistryError::AuthorInactive("taken down");
        assert!(caches.code(name.clone(), |_| async { Err(gone) }).await.is_err());
        assert_eq!(caches.given_out(&name).await, None);
    }
}
