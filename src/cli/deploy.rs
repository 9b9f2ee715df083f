//! `deploy`: a wasm file becomes a blob and a record in the author's repo.

mod bump;
mod wanted;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use self::wanted::Wanted;
use super::Tools;
use super::ask;
use super::changes::Changes;
use super::colour::Colour;
use super::deployed::{self, Deployed, Shelf};
use super::error::CliError;
use super::limits::LimitArgs;
use super::locate::NetworkArgs;
use super::output::{self, Report};
use super::project::Subject;
use super::put::{self, Written};
use super::record::Code;
use super::schemas::SchemaArgs;
use super::session::{LoginArgs, Session};
pub(super) use super::upload::USUAL_BLOB_LIMIT;
use super::upload::{self, WASM};
use super::waiting::{self, WaitArgs};
use crate::lexicon::{FUNCTION_COLLECTION, FunctionMetadata, Mode, RecordKey};
use crate::policy::Scope;
use crate::repo::blob_cid;

/// Put a function into your repo, or a new version of one.
///
/// In a project (a folder with at-functions.toml), it builds what is older than its sources, shows what changes against the
/// record that is there, and asks. Code that changed needs a higher version. With FILE, the flags say what the record says, and it is put as it is told.
///
/// Judges the code by the rules of a service, uploads it to your PDS, and writes the record at.functions.metadata/KEY that
/// describes it. Any AT Functions service can run it from then on; nothing is uploaded to a service. To look at it first:
/// `at-functions dev`. To take it back: `at-functions rollback`.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions deploy
  at-functions deploy --yes --wait=did:web:functions.example.com
  at-functions deploy echo.wasm --name echo
  at-functions deploy sum.wasm --name sum --version 1.2.0 --max-memory-mb 64 --max-duration-ms 500
  pass show bsky/app | at-functions deploy echo.wasm --name echo --handle alice.example.com --password-file -

",
    exit_codes!()
))]
pub(super) struct DeployArgs {
    /// A project's folder or a wasm file; one that services would refuse is not uploaded [default: the project that
    /// the current folder is in]
    #[arg(value_name = "PROJECT|FILE")]
    path: Option<PathBuf>,
    /// The function's name, and the key of its record unless --rkey gives one; a project has it already
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// The key of the record [default: the project's, or the name]
    #[arg(long, value_name = "KEY", value_parser = rkey)]
    rkey: Option<RecordKey>,
    /// The function's version, by custom a semantic one [default: the project's, or 0.1.0]
    #[arg(long, value_parser = version)]
    version: Option<String>,
    /// Let a project's code change under the same version, or a lower one
    #[arg(long)]
    same_version: bool,
    /// How the function talks with its host [default: the project's, or by what the code imports and exports]
    #[arg(long, value_parser = mode)]
    mode: Option<Mode>,
    /// What the function does, for people
    #[arg(long, value_name = "TEXT", value_parser = description)]
    description: Option<String>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Only you may call it, and those to whom you `grant` it. The record and code stay public, as all in a repo
    #[arg(long)]
    private: bool,
    /// What the function may read: at://REPO, at://REPO/COLLECTION or at://REPO/COLLECTION/RKEY. May be
    /// given many times; without it, what the project says, or any public repo that the operator lets it
    #[arg(long, value_name = "AT_URI", value_parser = allowed)]
    allow: Vec<String>,
    /// The function may read nothing
    #[arg(long, conflicts_with = "allow")]
    allow_none: bool,
    #[command(flatten)]
    schemas: SchemaArgs,
    /// Let a run fail whose output does not meet its schema
    #[arg(long)]
    strict_output: bool,
    /// Deploy a project's module as it is, also where sources are newer
    #[arg(long)]
    no_build: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Print JSON: {uri, cid, codeCid, codeSize}, or {uri, cid, unchanged} where there was nothing to do
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

fn bounded(text: &str, max: usize) -> Result<String, String> {
    match text.len() {
        0 => Err("it must not be empty".to_owned()),
        n if n > max => Err(format!("it has {n} bytes, at most {max} are allowed")),
        _ => Ok(text.to_owned()),
    }
}

pub(super) fn name(text: &str) -> Result<String, String> {
    bounded(text, FunctionMetadata::MAX_NAME_BYTES)
}

pub(super) fn version(text: &str) -> Result<String, String> {
    bounded(text, FunctionMetadata::MAX_VERSION_BYTES)
}

pub(super) fn description(text: &str) -> Result<String, String> {
    bounded(text, FunctionMetadata::MAX_DESCRIPTION_BYTES)
}

pub(super) fn rkey(text: &str) -> Result<RecordKey, String> {
    RecordKey::parse(text).map_err(|error| error.to_string())
}

pub(super) fn mode(text: &str) -> Result<Mode, String> {
    let modes = || Mode::ALL.map(Mode::as_str).join(", ");
    Mode::parse(text).ok_or_else(|| format!("there are these modes: {}", modes()))
}

pub(super) fn allowed(text: &str) -> Result<String, String> {
    match Scope::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(why) => Err(format!(
            "this covers nothing: {why}; expected at://REPO, at://REPO/COLLECTION or at://REPO/COLLECTION/RKEY"
        )),
    }
}

/// Runs the command.
pub(super) async fn deploy(tools: &Tools, args: DeployArgs) -> Result<Report, CliError> {
    // All that can be wrong on this side is found before anything is sent.
    let subject = Subject::at(args.path.as_deref())?;
    let is_project = matches!(subject, Subject::Project(_));
    if is_project {
        ask::answerable(args.yes)?;
    }
    let wanted = Wanted::read(&args, &subject).await?;
    let service = args.wait.service()?;

    let session = Session::open(tools, &args.login, &args.network).await?;
    let uri = format!("at://{}/{FUNCTION_COLLECTION}/{}", session.did, wanted.rkey);
    // A file is put as it is told; a project is compared first.
    let before = if is_project {
        let pds = session.xrpc(&tools.http);
        put::found(&pds, &session, FUNCTION_COLLECTION, &wanted.rkey).await?
    } else {
        None
    };
    if is_project && !compare(&args, &wanted, before.as_ref(), &uri).await? {
        let cid = before.and_then(|found| found.cid).unwrap_or_default();
        let waited = waiting::until_it_has(tools, &session, service, &uri, &cid).await?;
        return Ok(unchanged(&args, &uri, &cid).and(&waited));
    }
    upload::fits(tools, &session, &wanted.file, wanted.code.len() as u64).await?;
    let code = upload::upload(tools, &session, &wanted.file, wanted.code.clone()).await?;
    let mut notes = Vec::new();
    if code.mime_type != WASM {
        let taken = output::printable(&code.mime_type);
        notes.push(format!("note: your PDS took the file for {taken}, not {WASM}"));
    }
    let record = wanted.draft.record(&code, &put::now(&tools.clock));
    let swap = before.as_ref().and_then(|found| found.cid.as_deref());
    let pds = session.xrpc(&tools.http);
    let written = put::in_place_of(swap, &pds, &session, FUNCTION_COLLECTION, &wanted.rkey, &record).await?;
    notes.extend(keep(tools, &session, &wanted, &written, record));
    let waited = waiting::until_it_has(tools, &session, service, &written.uri, &written.cid).await?;
    Ok(report(&args, &wanted, &code, &written).with_notes(notes.join("\n")).and(&waited))
}

/// Shows what a project changes, and asks. False: there is nothing to change.
async fn compare(
    args: &DeployArgs,
    wanted: &Wanted,
    before: Option<&put::Found>,
    uri: &str,
) -> Result<bool, CliError> {
    let size = wanted.code.len() as u64;
    let code = Code { cid: blob_cid(&wanted.code).to_string(), mime_type: WASM.to_owned(), size };
    let old = before.map(|found| &found.value);
    let changes = Changes::between(old, &wanted.draft.record(&code, ""));
    if changes.is_empty() {
        return Ok(false);
    }
    if let Some(old) = old
        && changes.touch("code")
        && !args.same_version
        && let Some(fault) = bump::fault(old["version"].as_str().unwrap_or_default(), &wanted.draft.version)
    {
        return Err(CliError::setting(format!("version {}", wanted.draft.version), fault));
    }
    let what = if old.is_some() { "changes" } else { "is new" };
    output::note(&format!("{uri} {what}:\n{}", changes.text(Colour::of_stderr())));
    if args.yes || ask::confirmed("Deploy it? [y/N] ").await {
        return Ok(true);
    }
    Err(CliError::Declined("deployed"))
}

/// Keeps what was deployed for `rollback`; that it cannot be kept is told, and stops nothing.
fn keep(
    tools: &Tools,
    session: &Session,
    wanted: &Wanted,
    written: &Written,
    record: Value,
) -> Option<String> {
    // Where nothing can be kept, as in CI, nobody looks for it.
    let home = tools.home.as_ref()?;
    let kept = Deployed {
        rkey: wanted.rkey.to_string(),
        cid: written.cid.clone(),
        at_millis: deployed::millis(tools.clock.since_epoch()),
        record,
    };
    let shelf = Shelf::of(Some(home), &session.did);
    let kept = shelf.and_then(|shelf| shelf.keep(&kept, &wanted.code, &wanted.rkey));
    kept.err().map(|error| format!("note: it is not kept for `at-functions rollback`: {error}"))
}

fn unchanged(args: &DeployArgs, uri: &str, cid: &str) -> Report {
    let value = json!({"uri": uri, "cid": cid, "unchanged": true});
    Report::json_or(args.json, &value, || {
        format!("{} is deployed as the project has it: nothing to do", output::printable(uri))
    })
}

fn report(args: &DeployArgs, wanted: &Wanted, code: &Code, written: &Written) -> Report {
    let value = json!({"uri": written.uri, "cid": written.cid, "codeCid": code.cid, "codeSize": code.size});
    Report::json_or(args.json, &value, || {
        let (uri, cid) = (output::printable(&written.uri), output::printable(&written.cid));
        format!(
            "deployed {} {}\n{}\n\
             invoke it:\n  at-functions invoke {uri} --service did:web:HOST --input '{{}}'\n\
             pin this very version with:\n  --cid {cid}",
            output::printable(&wanted.draft.name),
            output::printable(&wanted.draft.version),
            output::table(&[
                ["  function".into(), uri.clone()],
                ["  record".into(), cid.clone()],
                ["  code".into(), format!("{} ({})", code.cid, output::size(code.size))],
                ["  mode".into(), wanted.draft.mode.to_string()],
            ])
        )
    })
}

#[cfg(test)]
mod tests;
