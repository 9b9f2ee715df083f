//! What guests read: single records by proof, blobs by hash, and pages, which nothing proves.
//!
//! Kept apart from functions and their code, so that what guests read pushes none of those out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;

use crate::egress::{Gate, GateLimits};
use crate::identity::{Did, Handle};
use crate::lexicon::{Nsid, RecordKey};
use crate::repo::{cid_from_text, ipld_to_json, is_blob_cid};

use super::blob::{self, Blob};
use super::home::{self, Errand};
use super::kept::{Kept, Thing};
use super::list::{self, Page, PageName};
use super::record::{self, RecordPath, work};
use super::{Missing, Registry, RegistryError};

/// What each kind may weigh in memory.
const RECORDS_MAX_BYTES: u64 = 64 * 1024 * 1024;
const PAGES_MAX_BYTES: u64 = 32 * 1024 * 1024;
const BLOBS_MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How long a page is given without asking again: long enough for runs that come together.
const PAGE_TTL: Duration = Duration::from_secs(3);
/// Blobs that are fetched at once, and for one author: each may take ten megabytes of the memory that
/// all large bodies share, the code of functions included.
const BLOB_LIMITS: GateLimits = GateLimits { places: 32, lane_places: 8, queue: 1024, lane_queue: 256 };

/// A proved record, as guests get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRecord {
    /// Its CID, computed from its bytes.
    pub cid: Cid,
    /// Its value as atproto JSON.
    pub json: Bytes,
    blobs: Box<[[u8; 32]]>,
}

impl ReadRecord {
    fn of(cid: Cid, value: &Ipld) -> ReadRecord {
        let mut blobs = Vec::new();
        collect_blobs(value, &mut blobs);
        blobs.sort_unstable();
        blobs.dedup();
        // A `Value` always becomes text.
        let json = serde_json::to_vec(&ipld_to_json(value)).unwrap_or_default();
        ReadRecord { cid, json: json.into(), blobs: blobs.into() }
    }

    /// The SHA-256 of each blob whose CID stands in it, once each.
    pub fn blobs(&self) -> &[[u8; 32]] {
        &self.blobs
    }
}

/// The blobs that a value names: by link, as blobs do now, or by the text of a CID, as they did before.
fn collect_blobs(value: &Ipld, into: &mut Vec<[u8; 32]>) {
    let mut take = |cid: &Cid| {
        if let (true, Ok(digest)) = (is_blob_cid(cid), cid.hash().digest().try_into()) {
            into.push(digest);
        }
    };
    match value {
        Ipld::Link(cid) => take(cid),
        Ipld::String(text) => {
            if let Some(cid) = cid_from_text(text) {
                take(&cid);
            }
        }
        Ipld::List(items) => items.iter().for_each(|item| collect_blobs(item, into)),
        Ipld::Map(map) => map.values().for_each(|item| collect_blobs(item, into)),
        Ipld::Null | Ipld::Bool(_) | Ipld::Integer(_) | Ipld::Float(_) | Ipld::Bytes(_) => {}
    }
}

/// What guests read, kept.
pub(super) struct Reading {
    records: Kept<(Did, RecordPath), Arc<ReadRecord>>,
    blobs: Kept<(Did, Cid), Arc<Blob>>,
    pages: Kept<(Did, PageName), Arc<Page>>,
    fetching_blobs: Arc<Gate<Did>>,
}

impl Reading {
    /// Keeps records for `record_ttl`, and blobs for `code_ttl`.
    pub(super) fn new(record_ttl: Duration, code_ttl: Duration) -> Reading {
        Reading {
            records: Kept::new("record", RECORDS_MAX_BYTES, record_ttl),
            blobs: Kept::new("blob", BLOBS_MAX_BYTES, code_ttl),
            pages: Kept::new("page", PAGES_MAX_BYTES, PAGE_TTL.min(record_ttl)),
            fetching_blobs: Gate::new(BLOB_LIMITS),
        }
    }
}

/// Reads on behalf of a function of `for_author`. They take as long as they take: whoever waits sets the
/// time, and a read that nobody waits for any more ends.
impl Registry {
    /// One record, proved by the signature of its repo.
    pub async fn record(
        &self,
        for_author: &Did,
        repo: &Did,
        collection: &Nsid,
        rkey: &RecordKey,
    ) -> Result<Arc<ReadRecord>, RegistryError> {
        let path = RecordPath { collection: collection.clone(), rkey: rkey.clone() };
        let errand = Errand::for_guest(repo.clone(), for_author.clone());
        let name = (repo.clone(), path.clone());
        let sources = Arc::clone(&self.sources);
        let fetch = move || async move {
            let proved = record::fetch(&sources, &errand, &path).await?;
            let record = proved.proof.record.ok_or(RegistryError::NotFound(Missing::Record))?;
            let read = move || Arc::new(ReadRecord::of(record.cid, &record.value));
            work(&sources.reading, &errand.for_author, read).await
        };
        self.reading.records.get(name, for_author, fetch).await
    }

    /// A blob of the repo's owner: bytes that hash to its CID.
    pub async fn blob(&self, for_author: &Did, repo: &Did, cid: &Cid) -> Result<Arc<Blob>, RegistryError> {
        let name = (repo.clone(), *cid);
        if let Some(known) = self.reading.blobs.known(&name).await {
            return known;
        }
        // Each who waits holds a place of their own author's, so that nobody waits in another's queue.
        let entered = self.reading.fetching_blobs.enter(for_author.clone()).await;
        let _place = entered.map_err(|_| RegistryError::Overloaded(Duration::from_secs(1)))?;
        let errand = Errand::for_guest(repo.clone(), for_author.clone());
        let (sources, cid) = (Arc::clone(&self.sources), *cid);
        let fetch = move || async move { blob::fetch(&sources, &errand, &cid).await.map(Arc::new) };
        self.reading.blobs.get(name, for_author, fetch).await
    }

    /// A page of a collection, as the repo's PDS lists it: not proved.
    pub async fn page(
        &self,
        for_author: &Did,
        repo: &Did,
        page: &PageName,
    ) -> Result<Arc<Page>, RegistryError> {
        let errand = Errand::for_guest(repo.clone(), for_author.clone());
        let (sources, page) = (Arc::clone(&self.sources), page.clone());
        let name = (repo.clone(), page.clone());
        let fetch = move || async move { list::fetch(&sources, &errand, &page).await.map(Arc::new) };
        self.reading.pages.get(name, for_author, fetch).await
    }

    /// The DID that a handle leads to and is led back from.
    pub async fn did_of(&self, for_author: &Did, handle: &Handle) -> Result<Did, RegistryError> {
        let (resolver, name) = (Arc::clone(&self.sources.resolver), handle.clone());
        let lookup = async move { resolver.handle(&name).await.map_err(RegistryError::of_handle) };
        let known = || self.sources.resolver.knows_handle(handle);
        self.sources.lookups.look_up(for_author, known, lookup).await
    }

    /// The handle that the DID's document claims. Whether it leads to the DID is for [`Registry::did_of`].
    pub async fn claimed_handle(&self, for_author: &Did, did: &Did) -> Result<Option<Handle>, RegistryError> {
        let errand = Errand::for_guest(did.clone(), for_author.clone());
        Ok(home::document(&self.sources, &errand).await?.handle.clone())
    }
}

impl Thing for Arc<ReadRecord> {
    fn weight(&self) -> usize {
        self.json.len() + self.blobs.len() * 32
    }
}

impl Thing for Arc<Blob> {
    fn weight(&self) -> usize {
        self.bytes.len()
    }
}

impl Thing for Arc<Page> {
    fn weight(&self) -> usize {
        let of_each = |record: &list::PageRecord| 256 + record.rkey.as_str().len() + record.value.len();
        self.records.iter().map(of_each).sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::repo::{blob_cid, json_to_ipld, record_cid};

    fn digest(cid: &Cid) -> [u8; 32] {
        cid.hash().digest().try_into().unwrap()
    }

    #[test]
    fn a_record_names_the_blobs_whose_cids_stand_in_it_in_any_form() {
        let [blob, legacy, older, plain, listed] = [&b"1"[..], b"2", b"3", b"4", b"5"].map(blob_cid);
        let record = json!({
            "$type": "com.example.post",
            "image": { "$type": "blob", "ref": {"$link": blob.to_string()}, "mimeType": "a/b", "size": 1 },
            "legacy": { "cid": legacy.to_string(), "mimeType": "a/b" },
            "older": { "ref": older.to_string() },
            "list": [[{"$link": listed.to_string()}]],
            "text": format!("see {plain}"),
            "strong": { "$link": record_cid(b"record").to_string() },
        });
        let record = ReadRecord::of(record_cid(b"x"), &json_to_ipld(&record).unwrap());
        let mut named = [blob, legacy, older, listed].map(|cid| digest(&cid));
        named.sort_unstable();
        assert_eq!(record.blobs(), named, "and neither {plain} nor the CID of a record");
        assert!(ReadRecord::of(record_cid(b"x"), &Ipld::Null).blobs().is_empty());
    }
}
