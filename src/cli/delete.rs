//! `delete`: takes a function's record out of the author's repo. The PDS drops the blob itself once
//! no record names it.

use atrium_api::com::atproto::repo::delete_record::NSID as DELETE_RECORD;
use atrium_api::com::atproto::repo::get_record::NSID as GET_RECORD;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Tools;
use super::ask;
use super::error::CliError;
use super::locate::NetworkArgs;
use super::output::{Report, printable};
use super::session::{LoginArgs, Session};
use super::target::{Target, target};
use crate::lexicon::FUNCTION_COLLECTION;

/// Delete one of your functions.
///
/// Asks before it does, and deletes the very version it showed. Services stop running the function
/// within half a minute.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions delete echo
  at-functions delete at://alice.example.com/at.functions.metadata/echo --yes

",
    exit_codes!()
))]
pub(super) struct DeleteArgs {
    /// The function: its at-uri, or the key of its record (which `deploy` makes from the name)
    #[arg(value_name = "AT_URI|NAME", value_parser = target)]
    function: Target,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Print JSON: {uri, cid, deleted}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Runs the command.
pub(super) async fn delete(tools: &Tools, args: DeleteArgs) -> Result<Report, CliError> {
    #[derive(Deserialize)]
    struct Found {
        cid: Option<String>,
        value: Value,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct DeleteRecord<'a> {
        repo: &'a str,
        collection: &'a str,
        rkey: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        swap_record: Option<&'a str>,
    }
    ask::answerable(args.yes)?;
    let session = Session::open(tools, &args.login, &args.network).await?;
    let rkey = args.function.key_in(&session)?;
    let pds = session.xrpc(&tools.http);

    // A PDS deletes what is not there without a word, so it is looked at first.
    let place =
        [("repo", session.did.as_str()), ("collection", FUNCTION_COLLECTION), ("rkey", rkey.as_str())];
    let found: Found = pds.query(GET_RECORD, place).await?;
    let uri = format!("at://{}/{FUNCTION_COLLECTION}/{rkey}", session.did);
    if !args.yes && !ask::confirmed(&question(&uri, &found.value)).await {
        return Err(CliError::Declined("deleted"));
    }
    let delete = DeleteRecord {
        repo: session.did.as_str(),
        collection: FUNCTION_COLLECTION,
        rkey: rkey.as_str(),
        swap_record: found.cid.as_deref(),
    };
    pds.command(DELETE_RECORD, delete).await?;
    let value = json!({"uri": uri, "cid": found.cid, "deleted": true});
    Ok(Report::json_or(args.json, &value, || format!("deleted {uri}")))
}

fn question(uri: &str, record: &Value) -> String {
    let field = |name: &str| printable(record[name].as_str().unwrap_or("?"));
    format!("Delete {uri} ({} {})? [y/N] ", field("name"), field("version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_shows_what_goes_and_nothing_else() {
        let record = json!({"name": "echo\x1b[2K\r", "version": 3});
        assert_eq!(question("at://x", &record), "Delete at://x (echo\\u{1b}[2K\\u{d} ?)? [y/N] ");
    }
}
