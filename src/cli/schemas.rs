//! The schemas of a record that commands are given as files: `deploy`, `check` and `run`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::error::CliError;
use super::files;
use super::output;
use super::record;
use crate::lexicon::{CheckError, Schema, SchemaError};

/// Schemas travel in the record, for which a PDS takes about 150 kB.
const MAX_SCHEMA_BYTES: u64 = 256 * 1024;

/// The files that hold a record's schemas.
#[derive(Args)]
pub(super) struct SchemaArgs {
    /// A file with the JSON Schema of the input: an input that does not meet it is refused before the run
    #[arg(long, value_name = "FILE")]
    pub(super) input_schema: Option<PathBuf>,
    /// A file with the JSON Schema of the output: where an output does not meet it is told beside it
    #[arg(long, value_name = "FILE")]
    pub(super) output_schema: Option<PathBuf>,
}

impl SchemaArgs {
    /// These; where one is not given, that of `others`.
    pub(super) fn or(self, others: SchemaArgs) -> SchemaArgs {
        SchemaArgs {
            input_schema: self.input_schema.or(others.input_schema),
            output_schema: self.output_schema.or(others.output_schema),
        }
    }

    /// The schemas of input and output; those that no record may have are refused.
    pub(super) async fn read(&self) -> Result<[Option<Given>; 2], CliError> {
        let [input, output] = self.judge().await?;
        let usable = |flag: &str, path: &Option<PathBuf>, judged: Option<Result<Given, String>>| {
            let path = path.as_deref().unwrap_or(Path::new(""));
            judged.transpose().map_err(|why| CliError::setting(format!("{flag} {}", path.display()), why))
        };
        Ok([
            usable("--input-schema", &self.input_schema, input)?,
            usable("--output-schema", &self.output_schema, output)?,
        ])
    }

    /// The same, with why no record may have them.
    pub(super) async fn judge(&self) -> Result<[Option<Result<Given, String>>; 2], CliError> {
        Ok([judge(self.input_schema.as_deref()).await?, judge(self.output_schema.as_deref()).await?])
    }
}

/// A schema that services take.
pub(super) struct Given {
    /// As it stands in the record.
    pub(super) json: Value,
    compiled: Schema,
}

impl Given {
    /// The first of its `examples`, as JSON.
    pub(super) fn example(&self) -> Option<String> {
        self.json["examples"].get(0).map(Value::to_string)
    }

    /// Why a value does not meet it, if it does not.
    pub(super) fn fault(&self, json: &[u8]) -> Result<Option<CheckError>, CliError> {
        match self.compiled.check(json) {
            Err(error @ CheckError::NoThread) => Err(CliError::Sandbox(error.to_string())),
            checked => Ok(checked.err()),
        }
    }
}

async fn judge(path: Option<&Path>) -> Result<Option<Result<Given, String>>, CliError> {
    let Some(path) = path else { return Ok(None) };
    let bytes = files::read(path, MAX_SCHEMA_BYTES).await?;
    judged(&bytes).map(Some)
}

fn judged(bytes: &[u8]) -> Result<Result<Given, String>, CliError> {
    let json = match parsed(bytes) {
        Ok(json) => json,
        Err(why) => return Ok(Err(why)),
    };
    match Schema::compile(&json) {
        Ok(compiled) => Ok(Ok(Given { json, compiled })),
        Err(error @ SchemaError::NoThread) => Err(CliError::Sandbox(format!("the schema {error}"))),
        Err(error) => Ok(Err(format!("services would refuse it: it {error}"))),
    }
}

/// The JSON of a schema, if a record may hold it.
fn parsed(bytes: &[u8]) -> Result<Value, String> {
    if bytes.len() as u64 > MAX_SCHEMA_BYTES {
        return Err(format!(
            "larger than {}: no PDS takes a record like that",
            output::size(MAX_SCHEMA_BYTES)
        ));
    }
    let json: Value = serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?;
    match record::schema_fault(&json) {
        Some(fault) => Err(fault),
        None => Ok(json),
    }
}
