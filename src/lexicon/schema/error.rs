//! Why a schema cannot be used, and why a value does not pass one.

use std::fmt;

/// Why a JSON Schema cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A subschema, or its references, come back to it without going into the value: it has no meaning.
    #[error(
        "refers to itself at {0:?} without going into the value; put the reference under `properties` or `items`"
    )]
    Circular(String),
    /// A `multipleOf` that no record holds, and that is costly to divide by.
    #[error("has a `multipleOf` with a fraction below {0:?}; use an integer")]
    Fraction(String),
    /// A draft that is not known.
    #[error(
        "names {0:?} as its `$schema`, and must name draft 4, 6, 7, 2019-09 or 2020-12 of JSON Schema, or none"
    )]
    Dialect(String),
    /// A subschema in another draft than the whole.
    #[error("changes its draft at {0:?}; write all of it in the draft of its `$schema`")]
    MixedDialects(String),
    /// One `$id` more than that of the whole.
    #[error("has an `$id` of its own at {0:?}; refer to a part by `#/$defs/...` or an `$anchor` instead")]
    Nested(String),
    /// One anchor, several places.
    #[error("has the anchor {0:?} more than once; give each a name of its own")]
    Anchor(String),
    /// A pattern that the engine, which is linear in time, does not take.
    #[error("has the pattern {0:?}, which is too large or needs backtracking (lookaround, back references)")]
    Pattern(String),
    /// A reference that leaves the schema, or leads nowhere.
    #[error(
        "refers to {0:?}, which is no schema in it; nothing is fetched, so copy it under `$defs` and use `#/$defs/...`"
    )]
    Reference(String),
    /// Not what the draft's own schema asks for.
    #[error("is no valid JSON Schema at {path:?} (`{keyword}`){}", hint(path))]
    Invalid {
        /// JSON Pointer of the place.
        path: String,
        /// The keyword of the draft's schema that it does not meet.
        keyword: String,
    },
    /// The name of one of the drafts' own schemas.
    #[error("has the `$id` {0:?}, a name of JSON Schema itself; choose one of your own")]
    Reserved(String),
    /// It would be applied to one value too often.
    #[error(
        "takes more than {max} steps for one value alone, by references that multiply; make fewer alternatives"
    )]
    TooCostly {
        /// The most steps that are taken.
        max: u64,
    },
    /// Subschemas nest too deep, by themselves or by references.
    #[error("nests deeper than {max} subschemas; flatten it")]
    TooDeep {
        /// The deepest that is taken.
        max: usize,
    },
    /// Too long.
    #[error("has {bytes} bytes as JSON, and may have {max}; shorten it")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The greatest length.
        max: usize,
    },
    /// Long names with much below them.
    #[error("has paths of more than {max} bytes together; shorten names that have much below them")]
    TooManyPaths {
        /// The most bytes that are taken.
        max: usize,
    },
    /// More patterns than are compiled, or longer ones.
    #[error("has more than {max} patterns, or more than {max_bytes} bytes of them; use fewer")]
    TooManyPatterns {
        /// The most that are taken.
        max: usize,
        /// The most bytes that they may have together.
        max_bytes: usize,
    },
    /// The compiler fails at it.
    #[error("cannot be compiled")]
    Compiler,
    /// The machine gave no thread to compile it on. Says nothing about the schema.
    #[error("could not be compiled now; try again")]
    NoThread,
}

/// What is expected at a place that is often wrong.
fn hint(path: &str) -> &'static str {
    match path.rsplit('/').next() {
        Some("type") => {
            "; a type is one of array, boolean, integer, null, number, object, string, or a list of these"
        }
        Some("required") => "; it is a list of the names of members",
        _ => "",
    }
}

/// The first place where a value does not meet a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// JSON Pointer (RFC 6901) of the place in the value; empty for the whole.
    pub path: String,
    /// What is the matter there, to be read after the place.
    pub problem: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "the whole value {}", self.problem),
            path => write!(f, "{path:?} {}", self.problem),
        }
    }
}

/// Why a value does not pass a check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// It does not meet the schema.
    #[error("{0}")]
    Mismatch(Mismatch),
    /// A number that no 64-bit integer or float comes near, text that is not JSON, or nesting
    /// deeper than 127.
    #[error("it cannot be checked: it nests deeper than 127, or has a number beyond 1.8e308")]
    Unreadable,
    /// An object with two members of one name: the checked one need not be the one that a guest takes.
    #[error("it has an object with the member {0:?} twice")]
    Duplicate(String),
    /// Its parts take too much memory or time to check.
    #[error("it is too large to check against this schema")]
    TooCostly,
    /// The machine gave no thread to check it on. Says nothing about the value.
    #[error("it could not be checked now; try again")]
    NoThread,
}
