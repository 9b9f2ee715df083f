//! The limits of a record that commands are given as flags, or by a project's manifest: `deploy` and `run`.

use clap::Args;
use clap::builder::TypedValueParser;

use super::project::Manifest;
use crate::lexicon::FunctionMetadata;

/// What one run may use.
#[derive(Args)]
pub(super) struct LimitArgs {
    /// All its memory together in MiB, 1 to 256; a service may allow less [default: 32, or as the project says]
    #[arg(long, value_name = "MIB", value_parser = memory())]
    pub(super) max_memory_mb: Option<u16>,
    /// How long one run may take in milliseconds, 1 to 5000; a service may allow less [default: 100, or as the project says]
    #[arg(long, value_name = "MS", value_parser = duration())]
    pub(super) max_duration_ms: Option<u16>,
}

impl LimitArgs {
    /// MiB: by the flag, else by the project, else by the lexicon.
    pub(super) fn memory_mb(&self, manifest: Option<&Manifest>) -> u16 {
        let said = self.max_memory_mb.or(manifest.map(|manifest| manifest.max_memory_mb));
        said.unwrap_or(FunctionMetadata::DEFAULT_MEMORY_MB)
    }

    /// Milliseconds: likewise.
    pub(super) fn duration_ms(&self, manifest: Option<&Manifest>) -> u16 {
        let said = self.max_duration_ms.or(manifest.map(|manifest| manifest.max_duration_ms));
        said.unwrap_or(FunctionMetadata::DEFAULT_DURATION_MS)
    }
}

fn memory() -> impl TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(1..=i64::from(FunctionMetadata::MAX_MEMORY_MB))
}

fn duration() -> impl TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(1..=i64::from(FunctionMetadata::MAX_DURATION_MS))
}
