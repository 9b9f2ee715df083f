//! `code`: the blob that is the function's module, in today's form and the legacy ones.

use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;

use super::fields::Fields;
use super::invalid::{self, InvalidMetadata, Problem};
use crate::repo::{blob_cid, cid_from_text};

/// The type of the module, as the lexicon's `accept` has it.
const WASM: &str = "application/wasm";
/// The longest text that is looked at as a CID; a blob's has 59 bytes, other bases have up to twice as many.
const MAX_CID_TEXT: usize = 128;

/// The blob that holds a function's module. What its author says of it, until the bytes are hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeRef {
    /// The CID of the blob: raw, SHA-256.
    pub cid: Cid,
    /// Its size in bytes, where the record states one; then it is the size that the blob must have.
    pub size: Option<u64>,
}

impl CodeRef {
    /// Reads `code`: `{$type: "blob", ref: LINK, mimeType, size}`, or, of older records, the CID as
    /// text in `ref` or `cid`.
    pub(super) fn read(record: &Fields<'_>) -> Result<CodeRef, InvalidMetadata> {
        let Some(code) = record.value("code")? else {
            return Err(InvalidMetadata::new("code", Problem::Missing));
        };
        let Ipld::Map(map) = code else {
            return Err(InvalidMetadata::new("code", Problem::Kind("a blob")));
        };
        if map.get("$type").is_some_and(|name| *name != Ipld::String("blob".to_owned())) {
            return Err(InvalidMetadata::new("code.$type", Problem::NotConstant("blob")));
        }
        if map.get("mimeType").is_some_and(|name| *name != Ipld::String(WASM.to_owned())) {
            return Err(InvalidMetadata::new("code.mimeType", Problem::NotConstant(WASM)));
        }
        let size = map.get("size").map(size).transpose()?;
        let modern = map.get("ref").map(|value| link(value, "code.ref")).transpose()?;
        let legacy = map.get("cid").map(|value| link(value, "code.cid")).transpose()?;
        let cid = match (modern, legacy) {
            (Some(modern), Some(legacy)) if modern != legacy => {
                return Err(InvalidMetadata::new("code", Problem::TwoBlobs));
            }
            (Some(cid), _) | (None, Some(cid)) => cid,
            (None, None) => return Err(InvalidMetadata::new("code.ref", Problem::Missing)),
        };
        Ok(CodeRef { cid, size })
    }
}

fn size(value: &Ipld) -> Result<u64, InvalidMetadata> {
    let problem = match value {
        Ipld::Integer(0) => Problem::EmptyBlob,
        Ipld::Integer(size) => match u64::try_from(*size) {
            Ok(size) => return Ok(size),
            Err(_) => Problem::Kind("a positive integer"),
        },
        Ipld::Float(_) => Problem::Float,
        Ipld::Null => Problem::Null,
        _ => Problem::Kind("a positive integer"),
    };
    Err(InvalidMetadata::new("code.size", problem))
}

/// A link to a blob that can be a module.
fn link(value: &Ipld, field: &'static str) -> Result<Cid, InvalidMetadata> {
    let cid = match value {
        Ipld::Link(cid) => Ok(*cid),
        Ipld::String(text) => of_text(text.trim()),
        Ipld::Null => Err(Problem::Null),
        _ => Err(Problem::Kind("a link to a blob")),
    };
    let cid = cid.map_err(|problem| InvalidMetadata::new(field, problem))?;
    match problem(&cid) {
        None => Ok(cid),
        Some(problem) => Err(InvalidMetadata::new(field, problem)),
    }
}

fn of_text(text: &str) -> Result<Cid, Problem> {
    if text.to_ascii_lowercase().contains("placeholder") || text.contains("..") || text.is_empty() {
        return Err(Problem::Placeholder(invalid::clip(text)));
    }
    if text.len() > MAX_CID_TEXT {
        return Err(Problem::NotACid(invalid::clip(text)));
    }
    // A CID of another form is told from text that is none.
    cid_from_text(text).ok_or_else(|| match Cid::try_from(text) {
        Ok(_) => Problem::NotABlob(invalid::clip(text)),
        Err(_) => Problem::NotACid(invalid::clip(text)),
    })
}

/// Why a CID cannot be that of a module.
fn problem(cid: &Cid) -> Option<Problem> {
    if *cid == blob_cid(b"") {
        return Some(Problem::EmptyBlob);
    }
    // `cid_from_text` takes SHA-256 only, and the codec must be that of blobs.
    let text = cid.to_string();
    if cid.codec() != blob_cid(b"").codec() || cid_from_text(&text) != Some(*cid) {
        return Some(Problem::NotABlob(invalid::clip(&text)));
    }
    // Nobody has bytes with this hash: it was written in place of one.
    cid.hash().digest().iter().all(|byte| *byte == 0).then_some(Problem::Placeholder(text))
}
