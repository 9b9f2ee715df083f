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

use crate::identity::Did;
use crate::lexicon::RecordKey;

use super::{Function, RegistryError};

/// How long a failure is answered without asking again.
const FAILURE_TTL: Duration = Duration::from_secs(3);
/// How long the outcome of a read that callers force is the answer to all who would force another.
const ANEW_TTL: Duration = Duration::from_secs(3);
/// What proved records may weigh together: schemas make one up to 1 MiB.
const RECORDS_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// What of them was read anew may weigh together.
const ANEW_MAX_BYTES: u64 = 16 * 1024 * 1024;
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
    /// Reads that were forced, so that strangers cannot have a record read with every call.
    anew: FunctionCache,
    code: Cache<CodeName, Result<Bytes, RegistryError>>,
    /// The length of the blobs that their authors' PDSes gave out within the TTL of code. It is kept
    /// apart from the bytes, which have to make room sooner.
    given_out: Cache<CodeName, u64>,
}

type FunctionCache = Cache<FunctionName, Result<Arc<Function>, RegistryError>>;

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
            anew: function_cache(ANEW_MAX_BYTES, Ttl { success: ANEW_TTL }),
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
        let init = detached(fetch(name.clone()));
        self.functions.get_with(name, init).await
    }

    /// The same, read anew, unless that was done a moment ago. What is known stays known through trouble
    /// on the way: a caller must not be able to take a function away from others.
    pub(super) async fn function_anew<F>(
        &self,
        name: FunctionName,
        fetch: impl FnOnce(FunctionName) -> F,
    ) -> Result<Arc<Function>, RegistryError>
    where
        F: Future<Output = Result<Arc<Function>, RegistryError>> + Send + 'static,
    {
        let init = detached(fetch(name.clone()));
        let (functions, known_as) = (self.functions.clone(), name.clone());
        let reading = async move {
            let found = init.await;
            if !found.as_ref().is_err_and(RegistryError::is_trouble) {
                functions.insert(known_as, found.clone()).await;
            }
            found
        };
        self.anew.get_with(name, reading).await
    }

    /// The length of the blob, if its author's PDS gave it out within the TTL of code.
    pub(super) async fn given_out(&self, name: &CodeName) -> Option<u64> {
        self.given_out.get(name).await
    }

    pub(super) async fn code<F>(
        &self,
        name: CodeName,
        fetch: impl FnOnce(CodeName) -> F,
    ) -> Result<Bytes, RegistryError>
    where
        F: Future<Output = Result<Bytes, RegistryError>> + Send + 'static,
    {
        let init = detached(fetch(name.clone()));
        let (given_out, known_as) = (self.given_out.clone(), name.clone());
        let reading = async move {
            let found = init.await;
            match &found {
                Ok(bytes) => given_out.insert(known_as, bytes.len() as u64).await,
                Err(_) => given_out.invalidate(&known_as).await,
            }
            found
        };
        self.code.get_with(name, reading).await
    }
}

fn function_cache(max_bytes: u64, ttl: Ttl) -> FunctionCache {
    Cache::builder()
        .max_capacity(max_bytes)
        .weigher(|name: &FunctionName, found: &Result<Arc<Function>, _>| {
            let record = found.as_ref().map_or(0, |function| RECORD_WEIGHT * function.proof_bytes);
            (512 + name.1.as_str().len() + record).try_into().unwrap_or(u32::MAX)
        })
        .expire_after(ttl)
        .build()
}

/// Runs a fetch as a task, so that a panic in it stays in it.
async fn detached<T: Send + 'static>(
    fetch: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
) -> Result<T, RegistryError> {
    match tokio::spawn(fetch).await {
        Ok(result) => result,
        Err(_) => Err(RegistryError::Unreachable("reading the author's repo failed")),
    }
}

/// Successes live `success`, failures [`FAILURE_TTL`].
struct Ttl {
    success: Duration,
}

impl<K, T> Expiry<K, Result<T, RegistryError>> for Ttl {
    fn expire_after_create(&self, _: &K, value: &Result<T, RegistryError>, _: Instant) -> Option<Duration> {
        Some(if value.is_ok() { self.success } else { FAILURE_TTL })
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
