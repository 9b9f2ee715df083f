//! The record of a function: proved, and read as one.

use std::sync::Arc;

use crate::identity::Did;
use crate::lexicon::{FunctionMetadata, RecordKey};

use super::home::Errand;
use super::record::{self, Purpose, RecordPath};
use super::{Function, Missing, RegistryError, Sources, function_collection};

/// Fetches and proves the record at this key of the author's functions.
pub(super) async fn fetch(
    sources: Arc<Sources>,
    author: Did,
    rkey: RecordKey,
) -> Result<Arc<Function>, RegistryError> {
    let path = RecordPath { collection: function_collection(), rkey };
    let errand = Errand::to(author);
    let proved = record::fetch(&sources, &errand, &path, Purpose::Function).await?;
    let record = proved.proof.record.ok_or(RegistryError::NotFound(Missing::Record))?;
    let metadata = FunctionMetadata::from_record(&record.value).map_err(RegistryError::InvalidFunction)?;
    Ok(Arc::new(Function {
        author: errand.repo,
        rkey: path.rkey,
        cid: record.cid,
        rev: proved.proof.rev,
        metadata,
        proof_bytes: proved.bytes,
    }))
}
