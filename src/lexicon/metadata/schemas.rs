//! A record's schemas, compiled.

use crate::lexicon::Schema;

use super::FunctionMetadata;
use super::invalid::{InvalidMetadata, Problem};

/// What a function's input and output must be, by its record.
#[derive(Clone, Debug, Default)]
pub struct Schemas {
    /// What an input must meet before the function runs.
    pub input: Option<Schema>,
    /// What describes its outputs.
    pub output: Option<Schema>,
}

impl Schemas {
    /// Compiles the schemas of a record; the first that cannot be used is told. It takes some hundred
    /// milliseconds at most, for schemas that were made to.
    pub fn of(metadata: &FunctionMetadata) -> Result<Schemas, InvalidMetadata> {
        let compiled = |field, schema: &Option<serde_json::Value>| {
            let schema = schema.as_ref().map(Schema::compile).transpose();
            schema.map_err(|error| InvalidMetadata::new(field, Problem::Schema(error)))
        };
        Ok(Schemas {
            input: compiled("inputSchema", &metadata.input_schema)?,
            output: compiled("outputSchema", &metadata.output_schema)?,
        })
    }

    /// Whether there are none.
    pub fn are_absent(metadata: &FunctionMetadata) -> bool {
        metadata.input_schema.is_none() && metadata.output_schema.is_none()
    }

    /// About what they take in memory.
    pub fn weight(&self) -> usize {
        [&self.input, &self.output].into_iter().flatten().map(Schema::weight).sum()
    }
}
