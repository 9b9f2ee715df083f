//! The records and names of `at.functions.*`, as types that cannot be wrong.
//!
//! In: text and decoded records. Out: at-uris, NSIDs, function metadata with all rules applied.
//! Never: reach the network, or take a field's word for what only a signature or hash can prove.

mod at_uri;
pub mod data_model;
mod metadata;
mod mode;
mod schema;

pub use at_uri::{AtUri, Authority, InvalidAtUri, Nsid, RecordKey};
pub use metadata::{CodeRef, FUNCTION_COLLECTION, FunctionMetadata, InvalidMetadata, Problem, Schemas};
pub use mode::Mode;
pub use schema::{CheckError, Mismatch, Schema, SchemaError};
