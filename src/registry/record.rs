//! One record, fetched from its author's PDS and proved.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::egress::{Get, Redirects, Response};
use crate::identity::{Did, DidDocument, PublicKey};
use crate::lexicon::{FunctionMetadata, RecordKey, Schemas};
use crate::repo::{self, Expected, Proof, Tid};

use super::error::Unproved;
use super::{Function, RegistryError, Sources, function_collection};

/// The largest proof that is taken: a record of 1 MiB and its path, twice over.
const MAX_CAR_BYTES: usize = 2 * 1024 * 1024;
/// How long a PDS has to send one.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Fetches and proves the record; where the answer may mean that the author moved or changed keys
/// since their document was cached, asks for the document once more and tries what it says now.
pub(super) async fn fetch(
    sources: Arc<Sources>,
    author: Did,
    rkey: RecordKey,
) -> Result<Arc<Function>, RegistryError> {
    let document = sources.resolver.document(&author).await.map_err(RegistryError::of_author)?;
    let first = fetch_from(&sources, &document, &author, &rkey).await;
    let function = match first {
        Err(error) if error.may_mean_moved() => {
            let renewed = sources.resolver.refresh(&author).await.map_err(RegistryError::of_author)?;
            if renewed.pds == document.pds && renewed.signing_key == document.signing_key {
                return Err(error);
            }
            fetch_from(&sources, &renewed, &author, &rkey).await?
        }
        other => other?,
    };
    Ok(Arc::new(function))
}

async fn fetch_from(
    sources: &Sources,
    document: &DidDocument,
    author: &Did,
    rkey: &RecordKey,
) -> Result<Function, RegistryError> {
    let (proof, proof_bytes) = match prove(sources, document, author, rkey).await {
        // A replica behind its master looks the same as a rollback, for a moment.
        Err(RegistryError::Unproved(Unproved::Rollback)) => prove(sources, document, author, rkey).await?,
        other => other?,
    };
    let record = proof.record.ok_or(RegistryError::NotFound(
        "there is no such function: the author's repo, by its signature, does not hold this record",
    ))?;
    let metadata = FunctionMetadata::from_record(&record.value).map_err(RegistryError::InvalidFunction)?;
    Ok(Function {
        author: author.clone(),
        rkey: rkey.clone(),
        cid: record.cid,
        rev: proof.rev,
        schemas: compile_schemas(sources, &metadata).await?,
        metadata,
        proof_bytes,
    })
}

/// Compiles the record's schemas, where it has any, on a thread that may take its time.
async fn compile_schemas(sources: &Sources, metadata: &FunctionMetadata) -> Result<Schemas, RegistryError> {
    if Schemas::are_absent(metadata) {
        return Ok(Schemas::default());
    }
    // The semaphore is never closed.
    let place = Arc::clone(&sources.compiling).acquire_owned().await.expect("open semaphore");
    let metadata = metadata.clone();
    let compiled = tokio::task::spawn_blocking(move || {
        let _place = place;
        Schemas::of(&metadata)
    });
    match compiled.await {
        Ok(schemas) => schemas.map_err(RegistryError::InvalidFunction),
        Err(_) => Err(RegistryError::Unreachable("reading the author's repo failed")),
    }
}

/// Fetches one proof and checks all of it, the revision against what was proved *before the fetch
/// was sent* included: of two fetches under way, the slower must not be called a rollback.
async fn prove(
    sources: &Sources,
    document: &DidDocument,
    author: &Did,
    rkey: &RecordKey,
) -> Result<(Proof, usize), RegistryError> {
    let key = document.signing_key.as_ref().ok_or(RegistryError::Unproved(Unproved::NoKey))?;
    let pds = document.pds.as_ref().ok_or(RegistryError::NotFound("the author's DID names no PDS"))?;
    let collection = function_collection();
    let floor = sources.revs.highest(author).map_err(|error| {
        tracing::error!(%error, "the highest revision of a repo could not be read from disk");
        RegistryError::Store
    })?;
    let mut url = pds.clone();
    url.set_path("/xrpc/com.atproto.sync.getRecord");
    url.query_pairs_mut()
        .append_pair("did", author.as_str())
        .append_pair("collection", collection.as_str())
        .append_pair("rkey", rkey.as_str());
    let response = sources
        .egress
        .get(Get {
            url: &url,
            accept: "application/vnd.ipld.car",
            max_bytes: MAX_CAR_BYTES,
            timeout: TIMEOUT,
            redirects: Redirects::Follow(2),
            for_author: Some(author),
        })
        .await
        .map_err(RegistryError::of_egress)?;
    if response.status != 200 {
        return Err(refusal(&response));
    }
    let proof_bytes = response.body.len();
    let proof = verify(sources, response, author, rkey, key).await?;
    if floor.is_some_and(|floor| proof.rev < floor) {
        return Err(RegistryError::Unproved(Unproved::Rollback));
    }
    if floor != Some(proof.rev) {
        remember(sources, author, proof.rev).await;
    }
    Ok((proof, proof_bytes))
}

/// Checks the proof on a thread that may take its time over two hostile megabytes, a few at once:
/// decoding them can take some 30 MiB each.
async fn verify(
    sources: &Sources,
    response: Response,
    author: &Did,
    rkey: &RecordKey,
    key: &PublicKey,
) -> Result<Proof, RegistryError> {
    // The semaphore is never closed.
    let place = Arc::clone(&sources.verifying).acquire_owned().await.expect("open semaphore");
    let (author, rkey, key, now) = (author.clone(), rkey.clone(), key.clone(), sources.clock.since_epoch());
    let verified = tokio::task::spawn_blocking(move || {
        let _place = place;
        let collection = function_collection();
        let expected = Expected { did: &author, collection: &collection, rkey: &rkey, key: &key, now };
        repo::verify_record(&response.body, &expected)
    });
    match verified.await {
        Ok(proof) => proof.map_err(|error| RegistryError::Unproved(Unproved::Proof(error))),
        Err(_) => Err(RegistryError::Unreachable("reading the author's repo failed")),
    }
}

/// Keeps the highest revision on disk. The proof stands even where that fails; until the disk takes a
/// newer one, the host could go back to the highest that it took before.
async fn remember(sources: &Sources, author: &Did, rev: Tid) {
    let (revs, author) = (Arc::clone(&sources.revs), author.clone());
    let kept = tokio::task::spawn_blocking(move || revs.raise(&author, rev)).await;
    if let Ok(Err(error)) = kept {
        tracing::error!(%error, "the highest revision of a repo could not be kept on disk");
    }
}

/// What a PDS means by an answer that is not the data.
pub(super) fn refusal(response: &Response) -> RegistryError {
    #[derive(Deserialize)]
    struct Body {
        error: Option<String>,
    }
    let name = serde_json::from_slice::<Body>(&response.body).ok().and_then(|body| body.error);
    match (response.status, name.as_deref()) {
        (400..=499, Some("RepoDeactivated")) => RegistryError::AuthorInactive("deactivated"),
        (400..=499, Some("RepoTakendown")) => RegistryError::AuthorInactive("taken down"),
        (400..=499, Some("RepoSuspended")) => RegistryError::AuthorInactive("suspended"),
        (400..=499, Some("RepoNotFound")) => {
            RegistryError::NotFound("the PDS that the author's DID names does not have the author's repo")
        }
        (400..=499, _) => RegistryError::NotFound("the author's PDS does not have this record"),
        _ => RegistryError::Unreachable("the author's PDS failed"),
    }
}
