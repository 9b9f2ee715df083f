//! A function's code, fetched from its author's PDS and matched against the CID in the record.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipld_core::cid::Cid;

use crate::egress::{Get, Redirects};
use crate::identity::{Did, DidDocument};
use crate::lexicon::CodeRef;
use crate::repo::blob_cid;

use super::error::Unproved;
use super::record::refusal;
use super::{RegistryError, Sources};

/// The largest module that is fetched: the sandbox admits no larger one.
pub(super) const MAX_CODE_BYTES: usize = 10 * 1024 * 1024;
/// How long a PDS has to send it.
const TIMEOUT: Duration = Duration::from_secs(6);
/// PDSes that keep blobs elsewhere redirect there; each hop is checked as the first address is.
const REDIRECTS: u8 = 3;

/// Fetches the blob from where the author's document says, asking for the document once more where
/// the author may have moved.
pub(super) async fn fetch(sources: Arc<Sources>, author: Did, code: Cid) -> Result<Bytes, RegistryError> {
    let document = sources.resolver.document(&author).await.map_err(RegistryError::of_author)?;
    match fetch_from(&sources, &document, &author, &code).await {
        Err(error) if error.may_mean_moved() => {
            let renewed = sources.resolver.refresh(&author).await.map_err(RegistryError::of_author)?;
            if renewed.pds == document.pds {
                return Err(error);
            }
            fetch_from(&sources, &renewed, &author, &code).await
        }
        other => other,
    }
}

async fn fetch_from(
    sources: &Sources,
    document: &DidDocument,
    author: &Did,
    code: &Cid,
) -> Result<Bytes, RegistryError> {
    let pds = document.pds.as_ref().ok_or(RegistryError::NotFound("the author's DID names no PDS"))?;
    let mut url = pds.clone();
    url.set_path("/xrpc/com.atproto.sync.getBlob");
    url.query_pairs_mut().append_pair("did", author.as_str()).append_pair("cid", &code.to_string());
    let response = sources
        .egress
        .get(Get {
            url: &url,
            accept: "application/wasm, */*",
            max_bytes: MAX_CODE_BYTES,
            timeout: TIMEOUT,
            redirects: Redirects::Follow(REDIRECTS),
            for_author: Some(author),
        })
        .await
        .map_err(RegistryError::of_egress)?;
    match response.status {
        200 => verified(response.body, code),
        _ => Err(match refusal(&response) {
            RegistryError::NotFound(_) => RegistryError::CodeMissing(code.to_string()),
            other => other,
        }),
    }
}

fn verified(body: Bytes, code: &Cid) -> Result<Bytes, RegistryError> {
    if blob_cid(&body) != *code {
        return Err(RegistryError::Unproved(Unproved::CodeHash));
    }
    Ok(body)
}

/// Whether a record's blob has the size that this record states: another record may state another.
pub(super) fn check_size(code: &CodeRef, bytes: u64) -> Result<(), RegistryError> {
    match code.size {
        Some(size) if size != bytes => Err(RegistryError::Unproved(Unproved::CodeSize)),
        _ => Ok(()),
    }
}
