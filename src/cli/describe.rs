//! `describe`: a function's record, proved by its author's signature, in words.

use std::time::Duration;

use atrium_api::com::atproto::sync::get_record::NSID as GET_RECORD;
use clap::Args;
use ipld_core::ipld::Ipld;
use serde_json::{Value, json};

use super::Tools;
use super::client::{Xrpc, host_of};
use super::described::{self, ServiceArgs};
use super::error::{CliError, Unresolved};
use super::locate::{self, NetworkArgs};
use super::output::{self, Report, printable};
use crate::identity::Handle;
use crate::lexicon::{
    AtUri, Authority, FUNCTION_COLLECTION, FunctionMetadata, InvalidMetadata, Mode, Schemas,
};
use crate::policy::{InvalidScope, MAX_SCOPES, Scope};
use crate::repo::{Expected, Tid, ipld_to_json, verify_record};

/// How long the handles in `allowedHosts` are looked up, all together.
const LOOKING_UP: Duration = Duration::from_secs(10);

/// Show what a function's record says: its mode, limits, code, readers, schemas.
///
/// The record is fetched from its author's PDS with its proof, and checked as a service checks it: the
/// signature by the key in the author's DID document, the tree, and the hash of every block. A record that
/// is proved but that no service of this version runs is shown with the reason (InvalidFunction). The code
/// itself is not fetched.
///
/// With --service, that service is asked what it says of the function: the record as it has proved it, the limits
/// in force there, and whether it would run the function for you, and if not, why.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions describe at://alice.example.com/at.functions.metadata/echo
  at-functions describe at://alice.example.com/at.functions.metadata/echo --json
  at-functions describe at://alice.example.com/at.functions.metadata/echo --service did:web:functions.example.com
  at-functions describe at://alice.example.com/at.functions.metadata/echo --service did:web:functions.example.com --anonymous

",
    exit_codes!()
))]
pub(super) struct DescribeArgs {
    /// The function: at://AUTHOR/at.functions.metadata/KEY
    #[arg(value_name = "AT_URI", value_parser = function_uri)]
    function: AtUri,
    /// Print JSON: {uri, cid, rev, verified, invalidFunction, allowedHostsProblems, record}; `invalidFunction`
    /// is null or says why services refuse it, `allowedHostsProblems` which entries cover nothing: [{entry, why}].
    /// With --service, the service's whole answer as it came, errors too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    there: ServiceArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Parses the at-uri of a record.
pub(super) fn at_uri(text: &str) -> Result<AtUri, String> {
    AtUri::parse(text).map_err(|error| {
        format!("{error}; expected at://AUTHOR/{FUNCTION_COLLECTION}/KEY, as `list` shows it")
    })
}

fn function_uri(text: &str) -> Result<AtUri, String> {
    let uri = at_uri(text)?;
    if uri.collection.as_str() == FUNCTION_COLLECTION {
        Ok(uri)
    } else {
        Err(format!("not a function: expected at://AUTHOR/{FUNCTION_COLLECTION}/KEY"))
    }
}

/// A record that its author's signature proves.
struct Proved {
    uri: String,
    cid: String,
    rev: Tid,
    record: Value,
    /// Why services refuse it, if they do.
    invalid: Option<InvalidMetadata>,
    /// Handles in `allowedHosts` that lead nowhere.
    unresolved: Vec<Handle>,
}

/// Runs the command.
pub(super) async fn describe(tools: &Tools, args: DescribeArgs) -> Result<Report, CliError> {
    if let Some(service) = &args.there.service {
        return described::ask(tools, &args.there, service, &args.function, &args.network, args.json).await;
    }
    let mut proved = fetch(tools, &args.network, &args.function).await?;
    proved.unresolved = unresolved(tools, &args.network, &proved.record).await;
    let problems: Vec<_> = entries(&proved)
        .into_iter()
        .filter_map(|(entry, why)| Some(json!({ "entry": entry, "why": why? })))
        .collect();
    let value = json!({
        "uri": proved.uri,
        "cid": proved.cid,
        "rev": proved.rev.to_string(),
        "verified": true,
        "invalidFunction": proved.invalid.as_ref().map(ToString::to_string),
        "allowedHostsProblems": problems,
        "record": proved.record,
    });
    Ok(Report::json_or(args.json, &value, || text(&proved)))
}

/// Gets the record from the author's PDS, and checks its proof. Nothing is remembered between two
/// commands, so an older state of the repo, signed once, cannot be told from the newest.
async fn fetch(tools: &Tools, at: &NetworkArgs, function: &AtUri) -> Result<Proved, CliError> {
    let locate::Author { account, key } = locate::author(tools, at, &function.authority).await?;
    let key =
        key.ok_or_else(|| CliError::Unresolved { name: account.did.to_string(), why: Unresolved::Key })?;
    let parameters = [
        ("did", account.did.as_str()),
        ("collection", function.collection.as_str()),
        ("rkey", function.rkey.as_str()),
    ];
    let car = Xrpc::anonymous(&tools.http, &account.pds).download(GET_RECORD, parameters).await?;
    let expected = Expected {
        did: &account.did,
        collection: &function.collection,
        rkey: &function.rkey,
        key: &key,
        now: tools.clock.since_epoch(),
    };
    let proof = verify_record(&car, &expected)
        .map_err(|why| CliError::Unproved { host: host_of(&account.pds), why })?;
    let uri = AtUri::of_record(account.did.clone(), function.collection.clone(), function.rkey.clone());
    let uri = uri.to_string();
    let Some(record) = proof.record else { return Err(CliError::Absent(uri)) };
    Ok(Proved {
        uri,
        cid: record.cid.to_string(),
        rev: proof.rev,
        invalid: fault(&record.value),
        record: ipld_to_json(&record.value),
        unresolved: Vec::new(),
    })
}

/// The handles among the entries that a service would find to lead nowhere. What is not known in time
/// is not said.
async fn unresolved(tools: &Tools, at: &NetworkArgs, record: &Value) -> Vec<Handle> {
    let mut handles: Vec<Handle> = Vec::new();
    let entries = record["allowedHosts"].as_array().into_iter().flatten().take(MAX_SCOPES);
    for scope in entries.filter_map(Value::as_str).filter_map(|entry| Scope::parse(entry).ok()) {
        if let Authority::Handle(handle) = scope.repo()
            && !handles.contains(handle)
        {
            handles.push(handle.clone());
        }
    }
    let mut unresolved = Vec::new();
    let looking_up = async {
        for handle in handles {
            let owner = locate::account(tools, at, &Authority::Handle(handle.clone())).await;
            if matches!(
                owner,
                Err(CliError::Unresolved { why: Unresolved::Handle | Unresolved::HandleMismatch(_), .. })
            ) {
                unresolved.push(handle);
            }
        }
    };
    // Those that were found by then are told.
    let _ = tokio::time::timeout(LOOKING_UP, looking_up).await;
    unresolved
}

fn text(proved: &Proved) -> String {
    let record = &proved.record;
    let told = |name: &str| record[name].as_str().map(str::to_owned);
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            rows.push([format!("  {name}"), value]);
        }
    };
    row("name", told("name"));
    row("version", told("version"));
    row("description", told("description"));
    row("updated", told("updatedAt"));
    row("record", Some(proved.cid.clone()));
    row("verified", Some(format!("by the author's signature, rev {}", proved.rev)));
    row("code", Some(code(&record["code"])));
    row("mode", Some(mode(record)));
    row("memory", Some(limit(record, "maxMemoryMb", FunctionMetadata::DEFAULT_MEMORY_MB, "MiB")));
    row("time", Some(limit(record, "maxDurationMs", FunctionMetadata::DEFAULT_DURATION_MS, "ms")));
    row("callers", Some(callers(record).to_owned()));
    for line in readable(proved) {
        row("may read", Some(line));
    }
    row("runs", proved.invalid.as_ref().map(|why| format!("no. InvalidFunction: {why}")));
    let mut text = format!("{}\n{}", printable(&proved.uri), output::table(&rows));
    let strict = match record["strictOutput"] == true {
        true => "strictOutput: a run whose output does not meet it fails",
        false => "an output that does not meet it is answered with the place",
    };
    let schemas = [
        ("inputSchema", "input schema", "an input that does not meet it is refused"),
        ("outputSchema", "output schema", strict),
    ];
    for (name, title, effect) in schemas {
        if let Some(schema) = record.get(name) {
            let schema = output::pretty(&schema.to_string());
            text.push_str(&format!("  {title} ({effect})\n{schema}\n"));
        }
    }
    text
}

/// Why services would refuse the record.
fn fault(record: &Ipld) -> Option<InvalidMetadata> {
    FunctionMetadata::from_record(record).and_then(|metadata| Schemas::of(&metadata)).err()
}

/// The code's CID and size, in the present form of a blob, or in the older ones that are still read.
fn code(code: &Value) -> String {
    let cid = [&code["ref"]["$link"], &code["ref"], &code["cid"]].into_iter().find_map(Value::as_str);
    match (cid, code["size"].as_u64()) {
        (None, _) => "none: it cannot run".to_owned(),
        (Some(cid), Some(size)) => format!("{cid} ({})", output::size(size)),
        (Some(cid), None) => format!("{cid} (size not stated)"),
    }
}

fn mode(record: &Value) -> String {
    match record["mode"].as_str() {
        Some(mode) if Mode::parse(mode).is_some() => mode.to_owned(),
        Some(mode) => format!("{mode} (unknown: this version cannot run it)"),
        None => "none: it cannot run".to_owned(),
    }
}

fn limit(record: &Value, name: &str, default: u16, unit: &str) -> String {
    match record.get(name) {
        None => format!("{default} {unit} (default)"),
        Some(value) => match value.as_u64() {
            Some(number) => format!("{number} {unit}"),
            None => format!("{value}: not a limit, it cannot run"),
        },
    }
}

fn callers(record: &Value) -> &'static str {
    match record.get("public") {
        None | Some(Value::Bool(true)) => "everyone",
        Some(Value::Bool(false)) => "the author alone",
        Some(_) => "`public` is neither true nor false: it cannot run",
    }
}

/// What the function may read, a line each.
fn readable(proved: &Proved) -> Vec<String> {
    let record = &proved.record;
    let mode = record["mode"].as_str().and_then(Mode::parse);
    if let Some(mode) = mode.filter(|mode| !mode.has_host_calls()) {
        let unused =
            if record.get("allowedHosts").is_some() { "; its allowedHosts mean nothing" } else { "" };
        return vec![format!("nothing: {mode} functions make no host calls{unused}")];
    }
    match record.get("allowedHosts").map(Value::as_array) {
        None => vec!["any public repo, unless the service's operator says otherwise".to_owned()],
        Some(None) => vec!["`allowedHosts` is no list: it cannot run".to_owned()],
        Some(Some(entries)) if entries.is_empty() => vec!["nothing".to_owned()],
        Some(Some(all)) => {
            let considered = entries(proved).into_iter().take(MAX_SCOPES);
            let lines = considered.map(|(entry, why)| match why {
                None => entry,
                Some(why) => format!("{entry} (covers nothing: {why})"),
            });
            let more = all.len().saturating_sub(MAX_SCOPES);
            lines.chain((more > 0).then(|| format!("({more} more, which no service considers)"))).collect()
        }
    }
}

/// The entries of `allowedHosts`, each with why it covers nothing, if it does.
fn entries(proved: &Proved) -> Vec<(String, Option<String>)> {
    let entries = proved.record["allowedHosts"].as_array().into_iter().flatten();
    let judged = entries.enumerate().map(|(index, entry)| {
        let Some(text) = entry.as_str() else { return (entry.to_string(), Some("not text".to_owned())) };
        let why = match Scope::parse(text) {
            _ if index >= MAX_SCOPES => Some(InvalidScope::NotConsidered.to_string()),
            Err(why) => Some(why.to_string()),
            Ok(scope) => match scope.repo() {
                Authority::Handle(handle) if proved.unresolved.contains(handle) => {
                    Some("the handle does not resolve".to_owned())
                }
                _ => None,
            },
        };
        (text.to_owned(), why)
    });
    judged.collect()
}

#[cfg(test)]
mod tests;
