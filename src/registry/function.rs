//! The record of a function: proved, and read as one.

use std::sync::Arc;

use crate::identity::Did;
use crate::lexicon::{FunctionMetadata, RecordKey, Schemas};

use super::home::Errand;
use super::record::{self, RecordPath};
use super::{Function, Missing, RegistryError, Sources, function_collection};

/// Fetches and proves the record at this key of the author's functions.
pub(super) async fn fetch(
    sources: Arc<Sources>,
    author: Did,
    rkey: RecordKey,
) -> Result<Arc<Function>, RegistryError> {
    let path = RecordPath { collection: function_collection(), rkey };
    let errand = Errand::for_function(author);
    let proved = record::fetch(&sources, &errand, &path).await?;
    let record = proved.proof.record.ok_or(RegistryError::NotFound(Missing::Record))?;
    let metadata = FunctionMetadata::from_record(&record.value).map_err(RegistryError::InvalidFunction)?;
    let schemas = compile_schemas(&sources, &errand.repo, &metadata).await?;
    Ok(Arc::new(Function {
        author: errand.repo,
        rkey: path.rkey,
        cid: record.cid,
        rev: proved.proof.rev,
        metadata,
        schemas,
        proof_bytes: proved.bytes,
    }))
}

/// Compiles the schemas of a record, where it has any, on a thread that may take its time.
async fn compile_schemas(
    sources: &Sources,
    author: &Did,
    metadata: &FunctionMetadata,
) -> Result<Schemas, RegistryError> {
    if Schemas::are_absent(metadata) {
        return Ok(Schemas::default());
    }
    let metadata = metadata.clone();
    let compiled = record::work(&sources.compiling, author, move || Schemas::of(&metadata));
    compiled.await?.map_err(RegistryError::of_schemas)
}
