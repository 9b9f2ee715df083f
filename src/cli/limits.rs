//! The limits of a record that commands are given as flags: `deploy` and `run`.

use clap::Args;
use clap::builder::TypedValueParser;

use crate::lexicon::FunctionMetadata;

/// What one run may use.
#[derive(Args)]
pub(super) struct LimitArgs {
    /// All its memory together in MiB, 1 to 256; a service may allow less
    #[arg(long, value_name = "MIB", value_parser = memory(), default_value_t = FunctionMetadata::DEFAULT_MEMORY_MB)]
    pub(super) max_memory_mb: u16,
    /// How long one run may take in milliseconds, 1 to 5000; a service may allow less
    #[arg(long, value_name = "MS", value_parser = duration(), default_value_t = FunctionMetadata::DEFAULT_DURATION_MS)]
    pub(super) max_duration_ms: u16,
}

fn memory() -> impl TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(1..=i64::from(FunctionMetadata::MAX_MEMORY_MB))
}

fn duration() -> impl TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(1..=i64::from(FunctionMetadata::MAX_DURATION_MS))
}
