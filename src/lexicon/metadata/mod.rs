//! `at.functions.metadata`: what a function's record says of it.
//!
//! A PDS checks none of this, so every rule of the published lexicon is checked here: lengths count
//! bytes of UTF-8, `null` is not absence, unknown fields are ignored
//! (<https://atproto.com/specs/lexicon>). What records of the first implementation may leave out or
//! write otherwise is taken: absent constants, any text as `version` and `updatedAt`, and the
//! legacy forms of `code`.

mod code;
mod fields;
mod invalid;
mod schemas;

use ipld_core::ipld::Ipld;
use serde_json::Value;

use self::fields::Fields;
use super::Mode;

pub use self::code::CodeRef;
pub use self::invalid::{InvalidMetadata, Problem};
pub use self::schemas::Schemas;

/// The NSID of the records, which is their collection and their `$type`.
pub const FUNCTION_COLLECTION: &str = "at.functions.metadata";

/// A function, as its record describes it, with all rules and defaults applied.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionMetadata {
    /// Its name for people, up to 128 bytes.
    pub name: String,
    /// Its version, up to 32 bytes; semver by intent, any text in fact.
    pub version: String,
    /// What it does, up to 2,048 bytes.
    pub description: Option<String>,
    /// How it talks with its host.
    pub mode: Mode,
    /// Its code.
    pub code: CodeRef,
    /// The memory that it may use, 1 to 256 MiB.
    pub max_memory_mb: u16,
    /// The time that it may take, 1 to 5,000 milliseconds.
    pub max_duration_ms: u16,
    /// Whether anybody may call it.
    pub public: bool,
    /// What its host calls may read: at-uris, as they are written. Absent and empty differ.
    pub allowed_hosts: Option<Vec<String>>,
    /// A JSON Schema that its input must meet; an object, not yet compiled ([`Schemas`]).
    pub input_schema: Option<Value>,
    /// A JSON Schema that describes its output.
    pub output_schema: Option<Value>,
    /// Whether an output that does not meet `output_schema` fails the run.
    pub strict_output: bool,
    /// When it was last changed, as its author says; up to 64 bytes of any text.
    pub updated_at: Option<String>,
}

impl FunctionMetadata {
    /// The longest `name`, in bytes of UTF-8.
    pub const MAX_NAME_BYTES: usize = 128;
    /// The longest `version`, in bytes of UTF-8.
    pub const MAX_VERSION_BYTES: usize = 32;
    /// The longest `description`, in bytes of UTF-8.
    pub const MAX_DESCRIPTION_BYTES: usize = 2048;
    /// The highest `maxMemoryMb`; the lowest is 1.
    pub const MAX_MEMORY_MB: u16 = 256;
    /// `maxMemoryMb` where the record does not say.
    pub const DEFAULT_MEMORY_MB: u16 = 32;
    /// The highest `maxDurationMs`; the lowest is 1.
    pub const MAX_DURATION_MS: u16 = 5000;
    /// `maxDurationMs` where the record does not say.
    pub const DEFAULT_DURATION_MS: u16 = 100;

    /// Reads a record's value. The first problem, in the order of the lexicon's fields, is told.
    pub fn from_record(value: &Ipld) -> Result<FunctionMetadata, InvalidMetadata> {
        let fields = Fields::of(value)?;
        fields.constant("$type", FUNCTION_COLLECTION, fields::Absent::Refused)?;
        let metadata = FunctionMetadata {
            name: fields.required_text("name", Self::MAX_NAME_BYTES)?,
            version: fields.required_text("version", Self::MAX_VERSION_BYTES)?,
            updated_at: fields.text("updatedAt", 64)?,
            description: fields.text("description", Self::MAX_DESCRIPTION_BYTES)?,
            mode: mode(&fields)?,
            code: CodeRef::read(&fields)?,
            max_memory_mb: fields
                .integer("maxMemoryMb", 1..=Self::MAX_MEMORY_MB)?
                .unwrap_or(Self::DEFAULT_MEMORY_MB),
            max_duration_ms: fields
                .integer("maxDurationMs", 1..=Self::MAX_DURATION_MS)?
                .unwrap_or(Self::DEFAULT_DURATION_MS),
            public: fields.boolean("public")?.unwrap_or(true),
            allowed_hosts: fields.texts("allowedHosts")?,
            input_schema: fields.object("inputSchema")?,
            output_schema: fields.object("outputSchema")?,
            strict_output: fields.boolean("strictOutput")?.unwrap_or(false),
        };
        fields.constant("entrypoint", "run", fields::Absent::Taken)?;
        fields.constant("inputEncoding", "application/json", fields::Absent::Taken)?;
        fields.constant("outputEncoding", "application/json", fields::Absent::Taken)?;
        Ok(metadata)
    }
}

fn mode(fields: &Fields<'_>) -> Result<Mode, InvalidMetadata> {
    let name = fields.required_text("mode", usize::MAX)?;
    Mode::parse(&name).ok_or_else(|| InvalidMetadata::new("mode", Problem::UnknownMode(invalid::clip(&name))))
}

#[cfg(test)]
mod tests;
