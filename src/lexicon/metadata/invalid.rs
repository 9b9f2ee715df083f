//! What is wrong with a function's record.

use crate::lexicon::SchemaError;

/// Why a record describes no function: the field, and what is the matter with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {problem}")]
pub struct InvalidMetadata {
    /// The field, as a path in the record.
    pub field: &'static str,
    /// What is wrong, and what to do.
    pub problem: Problem,
}

impl InvalidMetadata {
    pub(super) fn new(field: &'static str, problem: Problem) -> InvalidMetadata {
        InvalidMetadata { field, problem }
    }
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The blob has no bytes.
    #[error("is an empty blob; upload the compiled module and publish the record again")]
    EmptyBlob,
    /// A floating-point number, which no record may hold.
    #[error("holds a float, and records have none; write an integer (in a schema, e.g. no multipleOf: 0.1)")]
    Float,
    /// A value of another kind.
    #[error("must be {0}")]
    Kind(&'static str),
    /// A required field is absent.
    #[error("is missing; add it to the record and publish it again")]
    Missing,
    /// A CID that is not that of a blob.
    #[error("is {0:?}, which is not the CID of a blob (raw, SHA-256); use the blob that uploadBlob answers")]
    NotABlob(String),
    /// A text that is no CID.
    #[error("is {0:?}, which is no CID; use the blob that uploadBlob answers")]
    NotACid(String),
    /// A field that has one value only has another.
    #[error("must be {0:?}")]
    NotConstant(&'static str),
    /// `null`, which is not the same as absent.
    #[error("is null; leave the field out instead")]
    Null,
    /// A number outside its range.
    #[error("is {found}, and must be {min} to {max}")]
    OutOfRange {
        /// The least that is allowed.
        min: u16,
        /// The most that is allowed.
        max: u16,
        /// What the record says.
        found: i128,
    },
    /// What stands in examples in place of a CID.
    #[error("is the placeholder {0:?}; upload the compiled module and put its blob here")]
    Placeholder(String),
    /// A JSON Schema that cannot be used.
    #[error("{0}")]
    Schema(SchemaError),
    /// A text that is too long.
    #[error("has {bytes} bytes of UTF-8, and may have {max}; shorten it")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The greatest length.
        max: usize,
    },
    /// `ref` and the legacy `cid` differ.
    #[error("names different blobs in `ref` and `cid`; leave `cid` out")]
    TwoBlobs,
    /// A mode that nobody knows.
    #[error("is {0:?}, an unknown mode; use one of: {modes}", modes = offered())]
    UnknownMode(String),
}

fn offered() -> String {
    super::Mode::ALL.map(super::Mode::as_str).join(", ")
}

/// As much of a stranger's text as a message may repeat.
pub(super) fn clip(text: &str) -> String {
    const MAX_CHARS: usize = 64;
    let mut clipped: String = text.chars().take(MAX_CHARS).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}
