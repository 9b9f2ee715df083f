//! From an at-uri to a function whose author's signature proves it, and what functions read of repos.
//!
//! In: an at-uri. Out: the proved record, its metadata, and the wasm bytes whose hash it names; all
//! cached and coalesced. Never: hand out anything that was not verified here, but the pages of a
//! collection, which nothing proves and whose type says so.
//!
//! ```text
//! at-uri → author DID (a handle is resolved both ways) → DID document → PDS, key
//!        → com.atproto.sync.getRecord: proof by the key, not older than what was proved before
//!        → metadata → com.atproto.sync.getBlob: bytes that hash to the CID the record names
//! ```

mod blob;
mod cache;
mod error;
mod function;
mod grants;
mod home;
mod kept;
mod list;
mod lookups;
mod reads;
mod record;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipld_core::cid::Cid;
use url::Url;

use crate::clock::Clock;
use crate::egress::{Egress, Gate, GateLimits};
use crate::identity::{Did, Resolver};
use crate::lexicon::{AtUri, Authority, FUNCTION_COLLECTION, FunctionMetadata, Nsid, RecordKey, Schemas};
use crate::repo::{RevFloor, Tid};

pub use blob::{Blob, MAX_BLOB_BYTES};
pub use error::{Missing, RegistryError, Trouble, Unproved};
pub use list::{InvalidListing, MAX_CURSOR_BYTES, MAX_LIMIT, Page, PageName, PageRecord};
pub use reads::ReadRecord;

use cache::Caches;
use grants::Grants;
use home::Errand;
use lookups::Lookups;
use reads::Reading;

/// The collection of workflows, which this service does not run.
const WORKFLOW_COLLECTION: &str = "at.functions.workflow";

/// Proofs that are checked at the same time. Who waits for a place of these holds up to two megabytes.
const VERIFYING: GateLimits = GateLimits { places: 8, lane_places: 4, queue: 256, lane_queue: 64 };
/// Records and pages that are read for guests at the same time. They wait apart from functions.
const READING: GateLimits = GateLimits { places: 4, lane_places: 2, queue: 512, lane_queue: 256 };
/// Records whose schemas compile at the same time: others' calls need the cores too.
const COMPILING: GateLimits = GateLimits { places: 2, lane_places: 1, queue: 256, lane_queue: 32 };
/// Repos whose revisions are remembered for guests, at some 150 bytes each.
const MAX_RECENT_REVS: u64 = 100_000;

/// A function, proved: its author signed a repo that holds this record at this key.
#[derive(Clone, Debug)]
pub struct Function {
    /// The repo's owner, and so the record's author.
    pub author: Did,
    /// The record's key in the author's `at.functions.metadata`.
    pub rkey: RecordKey,
    /// The record's own CID.
    pub cid: Cid,
    /// The commit's revision in which it was proved.
    pub rev: Tid,
    /// What the record says.
    pub metadata: FunctionMetadata,
    /// The schemas that it names.
    pub schemas: Schemas,
    /// The length of the proof that it came from, by which the cache weighs it.
    proof_bytes: usize,
}

#[cfg(test)]
impl Function {
    /// A function that nobody proved.
    pub(crate) fn unproved(author: Did, metadata: FunctionMetadata) -> Function {
        Function {
            author,
            rkey: RecordKey::parse("f").unwrap(),
            cid: metadata.code.cid,
            rev: Tid::from_micros(0, 0),
            schemas: Schemas::of(&metadata).unwrap(),
            metadata,
            proof_bytes: 0,
        }
    }
}

/// The verified way from names to code. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    sources: Arc<Sources>,
    caches: Arc<Caches>,
    grants: Arc<Grants>,
    reading: Arc<Reading>,
}

/// What reads are made of.
struct Sources {
    resolver: Arc<Resolver>,
    egress: Egress,
    revs: Arc<RevFloor>,
    /// The highest revision of repos that guests read of, while there is room.
    recent_revs: moka::sync::Cache<Did, Tid>,
    /// What guests may make the resolver look up.
    lookups: Lookups,
    clock: Clock,
    /// Places for proofs of functions that are being checked.
    verifying: Arc<Gate<Did>>,
    /// Places for what guests read.
    reading: Arc<Gate<Did>>,
    /// Places for schemas that compile.
    compiling: Arc<Gate<Did>>,
}

impl Registry {
    /// A registry that resolves, fetches and proves through what it is given, and believes a proved
    /// record to be the newest for `record_ttl`, and a blob to be given out still for `code_ttl`.
    pub fn new(
        resolver: Arc<Resolver>,
        egress: Egress,
        revs: Arc<RevFloor>,
        clock: Clock,
        record_ttl: Duration,
        code_ttl: Duration,
    ) -> Registry {
        let sources = Sources {
            resolver,
            egress,
            revs,
            recent_revs: moka::sync::Cache::new(MAX_RECENT_REVS),
            lookups: Lookups::new(clock.clone()),
            clock,
            verifying: Gate::new(VERIFYING),
            reading: Gate::new(READING),
            compiling: Gate::new(COMPILING),
        };
        Registry {
            sources: Arc::new(sources),
            caches: Arc::new(Caches::new(record_ttl, code_ttl)),
            grants: Arc::new(Grants::new(record_ttl)),
            reading: Arc::new(Reading::new(record_ttl, code_ttl)),
        }
    }

    /// The function that `uri` names, as its author's repo had it within the record TTL.
    pub async fn function(&self, uri: &AtUri) -> Result<Arc<Function>, RegistryError> {
        let (author, rkey) = self.name(uri).await?;
        self.function_named(author, rkey).await
    }

    /// The same, where its name is known already.
    pub async fn function_named(&self, author: Did, rkey: RecordKey) -> Result<Arc<Function>, RegistryError> {
        let sources = Arc::clone(&self.sources);
        self.caches
            .function((author, rkey), move |(author, rkey)| function::fetch(sources, author, rkey))
            .await
    }

    /// The same function, read anew: for a caller who expects another version than the cached one.
    /// However many ask, one function is read so at most once a second.
    pub async fn function_anew(&self, known: &Function) -> Result<Arc<Function>, RegistryError> {
        let sources = Arc::clone(&self.sources);
        let name = (known.author.clone(), known.rkey.clone());
        self.caches.function_anew(name, move |(author, rkey)| function::fetch(sources, author, rkey)).await
    }

    /// Makes sure that the author's PDS gave the function's code out within the code TTL, also where
    /// it is not needed any more, so that a takedown stops what is compiled too. Gives the bytes if
    /// they had to be fetched for that, or were at hand.
    pub async fn confirm_code(&self, function: &Function) -> Result<Option<Bytes>, RegistryError> {
        let code = &function.metadata.code;
        match self.caches.given_out(&(function.author.clone(), code.cid)).await {
            Some(bytes) => blob::check_size(code, bytes).map(|()| None),
            None => self.code(function).await.map(Some),
        }
    }

    /// The function's wasm: bytes that hash to the CID in its record.
    pub async fn code(&self, function: &Function) -> Result<Bytes, RegistryError> {
        let sources = Arc::clone(&self.sources);
        let code = &function.metadata.code;
        let name = (function.author.clone(), code.cid);
        let fetch = move |(author, cid)| async move {
            blob::fetch(&sources, &Errand::for_function(author), &cid).await.map(|blob| blob.bytes)
        };
        let bytes = self.caches.code(name, fetch).await?;
        blob::check_size(code, bytes.len() as u64)?;
        Ok(bytes)
    }

    /// The PDS that the author's DID document names, which is the author's own claim.
    pub async fn pds_of(&self, author: &Did) -> Result<Option<Url>, RegistryError> {
        let document = home::document(&self.sources, &Errand::for_function(author.clone())).await?;
        Ok(document.pds.clone())
    }

    /// Whose record `uri` names, and at which key: what is decided about a function by its name is decided
    /// with this, before its author's PDS is asked for anything.
    pub async fn name(&self, uri: &AtUri) -> Result<(Did, RecordKey), RegistryError> {
        match uri.collection.as_str() {
            FUNCTION_COLLECTION => {}
            WORKFLOW_COLLECTION => return Err(RegistryError::Workflow),
            _ => return Err(RegistryError::NotAFunction),
        }
        let author = match &uri.authority {
            Authority::Did(did) => did.clone(),
            Authority::Handle(handle) => {
                self.sources.resolver.handle(handle).await.map_err(RegistryError::of_handle)?
            }
        };
        Ok((author, uri.rkey.clone()))
    }
}

/// The collection of functions as an NSID.
pub(crate) fn function_collection() -> Nsid {
    // A constant that parses.
    Nsid::parse(FUNCTION_COLLECTION).expect("the collection's name is an NSID")
}
