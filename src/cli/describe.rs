//! `describe`: what a function's record says, in words.

use atrium_api::com::atproto::repo::get_record::NSID as GET_RECORD;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Tools;
use super::client::{Xrpc, host_of};
use super::error::CliError;
use super::locate::{self, NetworkArgs};
use super::output::{self, Report, printable};
use super::record::{MAX_ALLOWED, covers_something};
use crate::lexicon::{AtUri, Mode};

/// Show what a function's record says: its mode, limits, code, readers, schemas.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions describe at://alice.example.com/at.functions.metadata/echo
  at-functions describe at://alice.example.com/at.functions.metadata/echo --json

",
    exit_codes!()
))]
pub(super) struct DescribeArgs {
    /// The function: at://AUTHOR/at.functions.metadata/KEY
    #[arg(value_name = "AT_URI", value_parser = at_uri)]
    function: AtUri,
    /// Print JSON: {uri, cid, verified, record}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Parses the at-uri of a record.
pub(super) fn at_uri(text: &str) -> Result<AtUri, String> {
    AtUri::parse(text).map_err(|error| error.to_string())
}

/// A record, and how far it can be believed.
struct Fetched {
    uri: String,
    cid: Option<String>,
    record: Value,
    /// Who says so, where nothing proves it.
    unproved: Option<String>,
}

/// Runs the command.
pub(super) async fn describe(tools: &Tools, args: DescribeArgs) -> Result<Report, CliError> {
    let fetched = fetch(tools, &args.network, &args.function).await?;
    let verified = fetched.unproved.is_none();
    let value =
        json!({"uri": fetched.uri, "cid": fetched.cid, "verified": verified, "record": fetched.record});
    let report = Report::json_or(args.json, &value, || text(&fetched));
    Ok(match &fetched.unproved {
        Some(host) if !args.json => report.with_notes(format!("unverified: as {host} tells it")),
        _ => report,
    })
}

/// Gets the record from the author's PDS, taking its word for it.
async fn fetch(tools: &Tools, at: &NetworkArgs, function: &AtUri) -> Result<Fetched, CliError> {
    #[derive(Deserialize)]
    struct Output {
        cid: Option<String>,
        value: Value,
    }
    let account = locate::account(tools, at, &function.authority).await?;
    let parameters = [
        ("repo", account.did.as_str()),
        ("collection", function.collection.as_str()),
        ("rkey", function.rkey.as_str()),
    ];
    let output: Output = Xrpc::anonymous(&tools.http, &account.pds).query(GET_RECORD, parameters).await?;
    let uri = AtUri::of_record(account.did, function.collection.clone(), function.rkey.clone());
    Ok(Fetched {
        uri: uri.to_string(),
        cid: output.cid,
        record: output.value,
        unproved: Some(host_of(&account.pds)),
    })
}

fn text(fetched: &Fetched) -> String {
    let record = &fetched.record;
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
    row("record", fetched.cid.clone());
    row("code", Some(code(&record["code"])));
    row("mode", Some(mode(record)));
    row("memory", Some(limit(record, "maxMemoryMb", 32, "MiB")));
    row("time", Some(limit(record, "maxDurationMs", 100, "ms")));
    row("callers", Some(callers(record).to_owned()));
    for line in readable(record) {
        row("may read", Some(line));
    }
    let mut text = format!("{}\n{}", printable(&fetched.uri), output::table(&rows));
    for (name, title) in [("inputSchema", "input schema"), ("outputSchema", "output schema")] {
        if let Some(schema) = record.get(name) {
            let strict = name == "outputSchema" && record["strictOutput"] == true;
            let title = if strict { "output schema (a run that does not fit it fails)" } else { title };
            text.push_str(&format!("  {title}\n{}\n", output::pretty(&schema.to_string())));
        }
    }
    text
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

fn limit(record: &Value, name: &str, default: u64, unit: &str) -> String {
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
        Some(Value::Bool(false)) => "the author, and whom the author granted it",
        Some(_) => "`public` is neither true nor false: it cannot run",
    }
}

/// What the function may read, a line each.
fn readable(record: &Value) -> Vec<String> {
    let Some(entries) = record.get("allowedHosts") else {
        return vec!["any public repo, unless the service's operator narrows that".to_owned()];
    };
    match entries.as_array().map(Vec::as_slice) {
        None => vec!["`allowedHosts` is no list: it cannot run".to_owned()],
        Some([]) => vec!["nothing".to_owned()],
        Some(entries) => {
            let lines = entries.iter().take(MAX_ALLOWED).map(|entry| match entry.as_str() {
                Some(entry) if covers_something(entry) => entry.to_owned(),
                Some(entry) => {
                    format!("{entry} (covers nothing: not an at-uri of a repo, collection or record)")
                }
                None => format!("{entry} (covers nothing: not text)"),
            });
            let more = entries.len().saturating_sub(MAX_ALLOWED);
            lines.chain((more > 0).then(|| format!("({more} more, which no service considers)"))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(record: Value) -> String {
        text(&Fetched {
            uri: "at://did:web:a.com/x.y.z/k".into(),
            cid: Some("bafyrec".into()),
            record,
            unproved: None,
        })
    }

    #[test]
    fn a_record_is_told_in_words() {
        let record = json!({
            "name": "echo", "version": "1.0.0", "updatedAt": "then", "mode": "pure-v1", "description": "two\nlines",
            "code": {"$type": "blob", "ref": {"$link": "bafkcode"}, "mimeType": "application/wasm", "size": 2048},
            "maxMemoryMb": 64, "public": false, "allowedHosts": ["at://b.com", "https://c.com", 7],
            "outputSchema": {"type": "string"}, "strictOutput": true,
        });
        let expected = "\
at://did:web:a.com/x.y.z/k
  name         echo
  version      1.0.0
  description  two\\u{a}lines
  updated      then
  record       bafyrec
  code         bafkcode (2.0 KiB)
  mode         pure-v1
  memory       64 MiB
  time         100 ms (default)
  callers      the author, and whom the author granted it
  may read     at://b.com
  may read     https://c.com (covers nothing: not an at-uri of a repo, collection or record)
  may read     7 (covers nothing: not text)
  output schema (a run that does not fit it fails)
{
  \"type\": \"string\"
}
";
        assert_eq!(described(record), expected);
    }

    #[test]
    fn a_broken_record_is_told_as_broken() {
        let text =
            described(json!({"mode": "\x1b[31m", "maxMemoryMb": "x", "public": 1, "allowedHosts": {}}));
        for expected in [
            "code      none: it cannot run",
            r"mode      \u{1b}[31m (unknown",
            "memory    \"x\": not a limit",
            "callers   `public` is neither",
            "may read  `allowedHosts` is no list",
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert!(described(json!(null)).contains("code      none"));
    }

    #[test]
    fn older_forms_of_a_blob_are_read() {
        assert_eq!(code(&json!({"ref": "bafkold", "size": 3})), "bafkold (3 bytes)");
        assert_eq!(
            code(&json!({"cid": "bafklegacy", "mimeType": "application/wasm"})),
            "bafklegacy (size not stated)"
        );
    }

    #[test]
    fn entries_beyond_those_considered_are_counted() {
        let lines = readable(&json!({"allowedHosts": vec!["at://a.com"; 70]}));
        assert_eq!(lines.len(), 65);
        assert_eq!(lines[64], "(6 more, which no service considers)");
        assert_eq!(readable(&json!({"allowedHosts": []})), ["nothing"]);
    }
}
