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

/// How long an author's blob is believed to be given out still.
const CODE_TTL: Duration = Duration::from_secs(3600);
/// How long a failure is answered without asking again.
const FAILURE_TTL: Duration = Duration::from_secs(3);
/// What proved records may weigh together: schemas make one up to 1 MiB.
const RECORDS_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// What a record in memory takes, schemas as JSON trees included, for each byte of its proof.
const RECORD_WEIGHT: usize = 4;
/// What code may weigh together. What runs is the compiled artifact, so this only spares refetches.
const CODE_MAX_BYTES: u64 = 128 * 1024 * 1024;

/// The names under which records are kept: never a handle.
pub(super) type FunctionName = (Did, RecordKey);
/// The names under which code is kept: content-addressed, but each author's to take back.
pub(super) type CodeName = (Did, Cid);

pub(super) struct Caches {
    functions: Cache<FunctionName, Result<Arc<Function>, RegistryError>>,
    code: Cache<CodeName, Result<Bytes, RegistryError>>,
}

impl Caches {
    pub(super) fn new(record_ttl: Duration) -> Caches {
        let functions = Cache::builder()
            .max_capacity(RECORDS_MAX_BYTES)
            .weigher(|name: &FunctionName, found: &Result<Arc<Function>, _>| {
                let record = found.as_ref().map_or(0, |function| RECORD_WEIGHT * function.proof_bytes);
                (512 + name.1.as_str().len() + record).try_into().unwrap_or(u32::MAX)
            })
            .expire_after(Ttl { success: record_ttl })
            .build();
        let code = Cache::builder()
            .max_capacity(CODE_MAX_BYTES)
            .weigher(|_, found: &Result<Bytes, _>| {
                (256 + found.as_ref().map_or(0, Bytes::len)).try_into().unwrap_or(u32::MAX)
            })
            .expire_after(Ttl { success: CODE_TTL })
            .build();
        Caches { functions, code }
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

    pub(super) async fn forget_function(&self, name: &FunctionName) {
        self.functions.invalidate(name).await;
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
        self.code.get_with(name, init).await
    }
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
}
