//! `list`: the functions that an account's PDS says are in its repo.

use atrium_api::com::atproto::repo::list_records::NSID as LIST_RECORDS;
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Tools;
use super::client::{Xrpc, host_of};
use super::error::CliError;
use super::locate::{self, Account, NetworkArgs};
use super::output::{self, Report};
use super::session::{self, AccountArgs, authority};
use crate::lexicon::{Authority, FUNCTION_COLLECTION};

/// Records a page, the most that `listRecords` gives.
const PAGE: u8 = 100;
/// Pages that are asked for; an account with more functions than that is told so.
const MAX_PAGES: usize = 50;

/// List the functions of an account.
///
/// Without REPO, your own. The list is what the account's PDS says: it is not proved, and a PDS could
/// leave something out. What a service runs, it proves first.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions list
  at-functions list alice.example.com
  at-functions list did:plc:ewvi7nxzyoun6zhxrhs64oiz --json

",
    exit_codes!()
))]
pub(super) struct ListArgs {
    /// A handle or DID
    #[arg(value_parser = authority)]
    repo: Option<Authority>,
    /// Print JSON: {repo, verified, complete, functions: [{uri, cid, record}]}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

/// A record as the PDS lists it. Not atrium's shape: that refuses the whole page over one odd record.
#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) uri: String,
    #[serde(default)]
    pub(super) cid: String,
    pub(super) value: Value,
}

/// Runs the command.
pub(super) async fn list(tools: &Tools, args: ListArgs) -> Result<Report, CliError> {
    let account = match &args.repo {
        Some(repo) => locate::account(tools, &args.network, repo).await?,
        None => session::own_account(tools, &args.network, &args.account).await?,
    };
    let (records, complete) =
        records(&Xrpc::anonymous(&tools.http, &account.pds), &account, FUNCTION_COLLECTION).await?;
    let functions: Vec<Value> =
        records.iter().map(|r| json!({"uri": r.uri, "cid": r.cid, "record": r.value})).collect();
    let value = json!({"repo": account.did, "verified": false, "complete": complete, "functions": functions});
    let report = Report::json_or(args.json, &value, || text(&account, &records));
    if args.json {
        return Ok(report);
    }
    let mut notes = format!("unproved: as {} lists them", host_of(&account.pds));
    if !complete {
        notes.push_str("; there are more, which are not shown");
    }
    Ok(report.with_notes(notes))
}

/// The records of a collection, and whether these are all.
pub(super) async fn records(
    pds: &Xrpc<'_>,
    account: &Account,
    collection: &str,
) -> Result<(Vec<Listed>, bool), CliError> {
    #[derive(Serialize)]
    struct Parameters<'a> {
        repo: &'a str,
        collection: &'a str,
        limit: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    }
    #[derive(Deserialize)]
    struct Page {
        cursor: Option<String>,
        records: Vec<Listed>,
    }
    let mut all = Vec::new();
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let parameters =
            Parameters { repo: account.did.as_str(), collection, limit: PAGE, cursor: cursor.clone() };
        let page: Page = pds.query(LIST_RECORDS, parameters).await?;
        let last = page.records.is_empty() || page.cursor.is_none() || page.cursor == cursor;
        all.extend(page.records);
        if last {
            return Ok((all, true));
        }
        cursor = page.cursor;
    }
    Ok((all, false))
}

fn text(account: &Account, records: &[Listed]) -> String {
    if records.is_empty() {
        return format!("{} has no functions", account.did);
    }
    let field = |record: &Listed, name: &str| record.value[name].as_str().unwrap_or("?").to_owned();
    let head = ["NAME", "VERSION", "MODE", "SIZE", "CALLERS", "AT-URI"].map(str::to_owned);
    let rows = records.iter().map(|record| {
        let size = record.value["code"]["size"].as_u64();
        [
            field(record, "name"),
            field(record, "version"),
            field(record, "mode"),
            size.map_or_else(|| "?".to_owned(), output::size),
            if record.value["public"] == false { "author" } else { "all" }.to_owned(),
            record.uri.clone(),
        ]
    });
    output::table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}
