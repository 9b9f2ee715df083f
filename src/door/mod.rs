//! The service's side of a run's host calls: what a guest asks for, decided and read.
//!
//! In: a guest's texts, which nobody has checked. Out: what was read, or a message for the guest that
//! says what happened and what would help. Never: read what the record does not allow, ask the network
//! for anything that a guest chose before it is decided that the guest may, or show anything of the
//! host.
//!
//! A [`RunDoor`] is the capability object of one run: it is made with what that function may read, and
//! is gone with the run. The way of a call: the texts are parsed, the repo's DID found and the read
//! decided (`decision`), the registry reads, and what went wrong is worded (`told`).

mod decision;
mod told;

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ipld_core::cid::Cid;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::identity::Did;
use crate::lexicon::{AtUri, Authority, Nsid};
use crate::policy::{Read, Reads};
use crate::registry::{MAX_CURSOR_BYTES, MAX_LIMIT, PageName, ReadRecord, Registry};
use crate::repo::{cid_from_text, is_blob_cid};
use crate::sandbox::{BoxFuture, Denied, Door, HostCall, HostReply, Listed};
use crate::telemetry;

/// The longest name of a repo or collection that is looked at: that of a DID.
const MAX_NAME_BYTES: usize = 2048;
/// Blobs that one run may have learned of from the records that it read. Those of later records need
/// an entry for their repo; without a bound, records made for it would fill the memory.
const MAX_LEARNED: usize = 4096;

/// What one run may read, and the way to it.
pub struct RunDoor {
    run: Arc<Run>,
    runtime: Handle,
}

struct Run {
    registry: Registry,
    reads: Reads,
    /// The function's author: whose blobs are meant where no repo is named, and in whose turn hosts are asked.
    author: Did,
    /// Blobs named by records that this run read by themselves: their repo, and their SHA-256.
    learned: Mutex<HashSet<(Did, [u8; 32])>>,
}

impl RunDoor {
    /// The door of one run of a function by `author`. Reads are done on `runtime`.
    pub fn new(registry: Registry, reads: Reads, author: Did, runtime: Handle) -> RunDoor {
        RunDoor { run: Arc::new(Run { registry, reads, author, learned: Mutex::default() }), runtime }
    }
}

/// A run that is over drops its call, and that is told as its timeout. This is for a sandbox that
/// does not get round to it.
const GRACE: Duration = Duration::from_millis(250);

impl Door for RunDoor {
    fn call(&self, call: HostCall, time_left: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        let run = Arc::clone(&self.run);
        let counted = Counted::begun(&call);
        let task = self.runtime.spawn(async move {
            let answer = tokio::time::timeout(time_left + GRACE, run.answer(call)).await;
            let Ok(answer) = answer else {
                return Err(Denied("the read did not end within the run's time".into()));
            };
            counted.end(&answer);
            answer
        });
        Box::pin(Task(task))
    }
}

/// A task that ends with whoever waits for it, who need not be on its runtime.
struct Task(JoinHandle<Result<HostReply, Denied>>);

impl Future for Task {
    type Output = Result<HostReply, Denied>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A task ends without an answer if it panicked, or when the service stops.
        let failed = |_| Err(Denied("the service failed to do this read; try again".into()));
        Pin::new(&mut self.0).poll(cx).map(|ended| ended.unwrap_or_else(failed))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A host call in the metrics, where it stands once it is over, also if nobody waits for its answer.
struct Counted {
    call: &'static str,
    answered: &'static str,
}

impl Counted {
    fn begun(call: &HostCall) -> Counted {
        let call = match call {
            HostCall::ListCollection { .. } => "listCollection",
            HostCall::ReadBlob { .. } => "readBlob",
            HostCall::ReadRecord { .. } => "readRecord",
        };
        Counted { call, answered: "abandoned" }
    }

    fn end(mut self, answer: &Result<HostReply, Denied>) {
        self.answered = if answer.is_ok() { "given" } else { "refused" };
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        telemetry::count_host_call(self.call, self.answered);
    }
}

impl Run {
    async fn answer(&self, call: HostCall) -> Result<HostReply, Denied> {
        match call {
            HostCall::ListCollection { repo, collection, cursor, limit } => {
                self.list(&repo, &collection, cursor, limit).await
            }
            HostCall::ReadBlob { cid, repo } => self.blob(&cid, repo.as_deref()).await,
            HostCall::ReadRecord { at_uri } => self.record(&at_uri).await,
        }
    }

    async fn record(&self, at_uri: &str) -> Result<HostReply, Denied> {
        let uri = AtUri::parse(at_uri).map_err(|why| Denied(format!("not the at-uri of a record: {why}")))?;
        let read = Read::Record(&uri.collection, &uri.rkey);
        let repo = self.repo_for(&uri.authority, read, &[]).await?;
        let record = self.registry.record(&self.author, &repo, &uri.collection, &uri.rkey).await;
        let record = record.map_err(|error| told::denied(&repo, &error))?;
        self.learn(&repo, &record);
        Ok(HostReply::Record { cid: record.cid.to_string(), value: record.json.clone() })
    }

    async fn blob(&self, cid: &str, repo: Option<&str>) -> Result<HostReply, Denied> {
        let cid = cid_from_text(cid)
            .filter(is_blob_cid)
            .ok_or_else(|| Denied("not the CID of a blob (bafkrei...)".into()))?;
        let named = match repo {
            Some(repo) => authority(repo)?,
            None => Authority::Did(self.author.clone()),
        };
        let repo = self.repo_for(&named, Read::Blob, &self.learned_of(&cid)).await?;
        let blob = self.registry.blob(&self.author, &repo, &cid).await;
        let blob = blob.map_err(|error| told::denied(&repo, &error))?;
        Ok(HostReply::Blob { mime_type: blob.mime_type.clone(), bytes: blob.bytes.clone() })
    }

    async fn list(
        &self,
        repo: &str,
        collection: &str,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<HostReply, Denied> {
        let named = authority(repo)?;
        let collection = Some(collection).filter(|text| text.len() <= MAX_NAME_BYTES);
        let collection = collection
            .and_then(|text| Nsid::parse(text).ok())
            .ok_or_else(|| Denied("`collection` is not an NSID such as com.example.post".into()))?;
        if cursor.as_ref().is_some_and(|cursor| cursor.len() > MAX_CURSOR_BYTES) {
            return Err(Denied(format!("a cursor has at most {MAX_CURSOR_BYTES} bytes")));
        }
        let repo = self.repo_for(&named, Read::Collection(&collection), &[]).await?;
        let name = PageName { collection, cursor, limit: limit.clamp(1, MAX_LIMIT) };
        let page = self.registry.page(&self.author, &repo, &name).await;
        let page = page.map_err(|error| told::denied(&repo, &error))?;
        let records = page.records.iter().map(|record| Listed {
            uri: format!("at://{repo}/{}/{}", name.collection, record.rkey),
            cid: record.cid.to_string(),
            value: record.value.clone(),
        });
        Ok(HostReply::Listing { records: records.collect(), cursor: page.cursor.clone() })
    }

    /// Remembers which blobs a record names, for runs to which that makes a difference.
    fn learn(&self, repo: &Did, record: &ReadRecord) {
        if self.reads == Reads::Any {
            return;
        }
        let mut learned = self.learned();
        let room = MAX_LEARNED - learned.len().min(MAX_LEARNED);
        learned.extend(record.blobs().iter().take(room).map(|digest| (repo.clone(), *digest)));
    }

    /// The repos of which this run read a record that names the blob.
    fn learned_of(&self, cid: &Cid) -> Vec<Did> {
        let learned = self.learned();
        let naming = learned.iter().filter(|(_, digest)| digest == cid.hash().digest());
        naming.map(|(repo, _)| repo.clone()).collect()
    }

    fn learned(&self) -> MutexGuard<'_, HashSet<(Did, [u8; 32])>> {
        // Nothing panics while the lock is held.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn authority(text: &str) -> Result<Authority, Denied> {
    let text = Some(text).filter(|text| text.len() <= MAX_NAME_BYTES);
    text.and_then(|text| Authority::parse(text).ok())
        .ok_or_else(|| Denied("`repo` is neither a did:plc, a did:web nor a handle".into()))
}
