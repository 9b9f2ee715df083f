//! `lexicon publish`: lexicons as records in the repo that their authority's DNS names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::check::{self, Checked};
use super::document;
use crate::cli::Tools;
use crate::cli::ask;
use crate::cli::changes::Changes;
use crate::cli::colour::Colour;
use crate::cli::error::CliError;
use crate::cli::home;
use crate::cli::locate::NetworkArgs;
use crate::cli::output::{self, Report};
use crate::cli::put::{self, Found};
use crate::cli::session::{LoginArgs, Session};
use crate::cli::txt;
use crate::lexicon::{Nsid, RecordKey};
use crate::repo::json_to_ipld;

/// Where lexicons are in a repo (<https://atproto.com/specs/lexicon#lexicon-publication-and-resolution>).
const COLLECTION: &str = "com.atproto.lexicon.schema";

/// Publish lexicons in your repo.
///
/// Resolvers look for com.example.thing.get in the repo that the TXT record _lexicon.thing.example.com names (did=DID). So all
/// files are checked, and the DNS of each must name your account, before anything is written. Shows what changes, and
/// asks.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions lexicon publish lexicons/*.json
  at-functions lexicon publish com.example.thing.get.json --yes

",
    exit_codes!()
))]
pub(super) struct PublishArgs {
    /// JSON files, each one lexicon
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// The name server to ask, in place of this machine's
    #[arg(long, env = "AT_FUNCTIONS_DNS", value_name = "ADDRESS:PORT", help_heading = "Network")]
    dns: Option<SocketAddr>,
    /// Print JSON: {published: [{uri, cid}], unchanged: [URI]}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

/// A lexicon that may be published.
struct Lexicon {
    id: Nsid,
    rkey: RecordKey,
    record: Value,
}

/// Runs the command.
pub(super) async fn publish(tools: &Tools, args: PublishArgs) -> Result<Report, CliError> {
    ask::answerable(args.yes)?;
    let mut lexicons = Vec::new();
    for file in &args.files {
        lexicons.push(sound(check::read(file).await?)?);
    }
    let session = Session::open(tools, &args.login, &args.network).await?;
    held_by(&session, &lexicons, args.dns).await?;

    let pds = session.xrpc(&tools.http);
    let (mut to_write, mut unchanged) = (Vec::new(), Vec::new());
    for lexicon in &lexicons {
        let found = put::found(&pds, &session, COLLECTION, &lexicon.rkey).await?;
        match told(lexicon, found.as_ref()) {
            Some(text) => {
                output::note(&text);
                to_write.push((lexicon, found));
            }
            None => unchanged.push(uri(&session, lexicon)),
        }
    }
    if !to_write.is_empty() && !args.yes && !ask::confirmed("Publish them? [y/N] ").await {
        return Err(CliError::Declined("published"));
    }
    let mut published = Vec::new();
    for (lexicon, found) in to_write {
        let swap = found.as_ref().and_then(|found| found.cid.as_deref());
        let Lexicon { rkey, record, .. } = lexicon;
        published.push(put::in_place_of(swap, &pds, &session, COLLECTION, rkey, record).await?);
    }
    let written: Vec<Value> = published.iter().map(|one| json!({"uri": one.uri, "cid": one.cid})).collect();
    Ok(Report::json_or(args.json, &json!({"published": written, "unchanged": unchanged}), || {
        let new = published.iter().map(|one| format!("published {}", output::printable(&one.uri)));
        let same = unchanged.iter().map(|uri| format!("unchanged {uri}"));
        new.chain(same).collect::<Vec<_>>().join("\n")
    }))
}

/// The lexicon in a file, if nothing is wrong with it.
fn sound(checked: Checked) -> Result<Lexicon, CliError> {
    let file = home::shown(&checked.file);
    let fault =
        |why: String| CliError::setting(&file, format!("{why}; `at-functions lexicon check` tells all"));
    if let Some(first) = checked.findings.faults.first() {
        return Err(fault(first.clone()));
    }
    let id = document::id(&checked.document).ok_or_else(|| fault("/id: expected an NSID".to_owned()))?;
    let rkey = RecordKey::parse(id.as_str()).map_err(|error| fault(error.to_string()))?;
    let mut record = checked.document;
    record["$type"] = COLLECTION.into();
    // What no record can hold, such as a fraction in a word that is passed over.
    json_to_ipld(&record).map_err(|error| fault(error.to_string()))?;
    Ok(Lexicon { id, rkey, record })
}

/// Refuses lexicons whose authority is not the session's account.
async fn held_by(session: &Session, lexicons: &[Lexicon], dns: Option<SocketAddr>) -> Result<(), CliError> {
    let domains: BTreeMap<String, &Nsid> =
        lexicons.iter().map(|lexicon| (domain(&lexicon.id), &lexicon.id)).collect();
    for (domain, id) in domains {
        let name = format!("_lexicon.{domain}");
        let records = txt::records(dns, &name).await?;
        let wanted = format!(
            "the authority of {id} is whom the TXT record {name} names: set it to did={}",
            session.did
        );
        let why = match txt::did(&records) {
            Some(did) if did == session.did.as_str() => continue,
            Some(did) => format!(
                "it names {}, and you are {}. {wanted}, or log in as that account",
                super::super::error::shown(did),
                session.did
            ),
            None if records.iter().any(|text| text.starts_with("did=")) => {
                format!("it names several accounts, which is none. {wanted}, once")
            }
            None => format!("there is none. {wanted}"),
        };
        return Err(CliError::setting(name, why));
    }
    Ok(())
}

/// `at.functions.run` is under `functions.at`: all but the last segment, from the back.
fn domain(id: &Nsid) -> String {
    let mut segments: Vec<&str> = id.as_str().split('.').collect();
    segments.pop();
    segments.reverse();
    segments.join(".")
}

/// What publishing changes, if it does.
fn told(lexicon: &Lexicon, found: Option<&Found>) -> Option<String> {
    let Some(found) = found else { return Some(format!("{} is new", lexicon.id)) };
    let changes = Changes::of_documents(&found.value, &lexicon.record);
    let text = || format!("{} changes:\n{}", lexicon.id, changes.text(Colour::of_stderr()).trim_end());
    (!changes.is_empty()).then(text)
}

fn uri(session: &Session, lexicon: &Lexicon) -> String {
    format!("at://{}/{COLLECTION}/{}", session.did, lexicon.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_of_a_lexicon_is_its_authority_from_the_back() {
        for (id, expected) in
            [("at.functions.run", "functions.at"), ("com.example.thing.getIt", "thing.example.com")]
        {
            assert_eq!(domain(&Nsid::parse(id).unwrap()), expected);
        }
    }
}
