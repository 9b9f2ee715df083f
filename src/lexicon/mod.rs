//! The records and names of `at.functions.*`, as types that cannot be wrong.
//!
//! In: text and decoded records. Out: at-uris, NSIDs, function metadata and grants with all rules applied.
//! Never: reach the network, or take a field's word for what only a signature or hash can prove.

mod at_uri;
pub mod data_model;
mod datetime;
mod errors;
mod grant;
mod metadata;
mod mode;
mod schema;

pub use at_uri::{AtUri, Authority, InvalidAtUri, Nsid, RecordKey};
pub use errors::ERRORS;
pub use grant::{GRANT_COLLECTION, Grant, GrantSubject, InvalidGrant};
pub use metadata::{CodeRef, FUNCTION_COLLECTION, FunctionMetadata, InvalidMetadata, Problem, Schemas};
pub use mode::Mode;
pub use schema::{CheckError, Mismatch, Schema, SchemaError};
