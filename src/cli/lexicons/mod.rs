//! `lexicon`: the schemas of an application's records and methods, as files and in their authority's repo.
//!
//! In: files. Out: what is wrong with them; records of `com.atproto.lexicon.schema`. Never: write one into a repo that its
//! authority's DNS does not name, where nobody would look for it.

mod check;
mod document;
mod publish;
mod types;

use clap::{Args, Subcommand};

use self::check::CheckArgs;
use self::publish::PublishArgs;
use super::Tools;
use super::error::CliError;
use super::output::Report;

/// Check lexicon files, or publish them in your repo.
#[derive(Args)]
pub(super) struct LexiconArgs {
    #[command(subcommand)]
    command: LexiconCommand,
}

#[derive(Subcommand)]
enum LexiconCommand {
    Check(CheckArgs),
    Publish(Box<PublishArgs>),
}

/// Runs the command.
pub(super) async fn lexicon(tools: &Tools, args: LexiconArgs) -> Result<Report, CliError> {
    match args.command {
        LexiconCommand::Check(args) => check::check(args).await,
        LexiconCommand::Publish(args) => publish::publish(tools, *args).await,
    }
}
