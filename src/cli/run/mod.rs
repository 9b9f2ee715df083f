//! `run`: a function from a file or a project, on this machine, within the limits that a service would set.

mod asked;
mod door;
mod figures;
mod online;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde_json::json;

use self::asked::Asked;
use self::door::{Offline, Watched};
use self::figures::{Mismatch, Reading, Told};
use self::online::{Online, OnlineArgs};
use super::anatomy::Anatomy;
use super::deploy;
use super::describe::at_uri;
use super::error::{CliError, shown};
use super::files;
use super::invoke;
use super::limits::LimitArgs;
use super::local::Local;
use super::output::{self, Exit, Report, failure};
use super::project::{Manifest, Subject};
use super::schemas::{Given, SchemaArgs};
use super::wasm;
use crate::clock::Clock;
use crate::identity::Did;
use crate::lexicon::{AtUri, Authority, CheckError, Mode};
use crate::policy::MAX_SCOPES;
use crate::repo::blob_cid;
use crate::sandbox::{Context, Door, Job, Limits, Owner};
use crate::server::{self, MAX_HOST_BYTES, MAX_HOST_CALLS};

/// Input and output of a service whose operator raised neither.
const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;
/// What a guest that asks for its call's name is told.
const REQUEST_ID: &str = "local";

/// Run a function on this machine, under the limits of a service.
///
/// The same sandbox as a service's, with a record's limits: 32 MiB and 100 ms unless given. The output
/// goes to stdout as JSON; what the run cost beside its limits, its log and warnings go to stderr.
/// Compiling is not part of the run's time.
///
/// Of a project it runs what `build` made, with the mode, limits, reads and schemas of its at-functions.toml; flags count more.
///
/// Nothing is read from the network unless --online is given; without it, host calls for records and
/// blobs are refused. With it, they are decided and read as by a service: --allow stands for the record's
/// allowedHosts.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions run echo.wasm --input '{\"a\": 1}'
  at-functions run                       the project of this directory, with the example of its schema
  at-functions run my-project --input '{\"text\": \"one two\"}'
  at-functions run sum.wasm --input @numbers.json --max-duration-ms 500
  at-functions run words.wasm --mode wasi-v1 --input - < text.json
  at-functions run words.wasm --input-schema in.json --output-schema out.json --strict-output
  at-functions run lister.wasm --online --allow at://alice.example.com/app.bsky.feed.post

",
    exit_codes!()
))]
pub(super) struct RunArgs {
    /// The wasm binary, or - for stdin; or a project, as it was built [default: the project of the current directory]
    file: Option<PathBuf>,
    /// The input: JSON, @FILE, or - for stdin [default: the first of `examples` in the project's input schema, else {}]
    #[arg(long, value_name = "JSON|@FILE|-")]
    input: Option<String>,
    /// How the function talks with its host [default: by what the file imports and exports]
    #[arg(long, value_parser = deploy::mode)]
    mode: Option<Mode>,
    #[command(flatten)]
    limits: LimitArgs,
    /// The caller that the function is told of [default: none, as for a call without a token]
    #[arg(long, value_name = "DID", value_parser = caller)]
    caller: Option<Did>,
    /// The function that it is told it is, at://DID/at.functions.metadata/KEY; the DID is the author
    #[arg(long, value_name = "AT_URI", value_parser = function, default_value = "at://did:web:author.test/at.functions.metadata/local")]
    function: Function,
    /// What it may read, as in `allowedHosts`: at://REPO, at://REPO/COLLECTION or
    /// at://REPO/COLLECTION/RKEY. May be given many times; without it, nothing
    #[arg(long, value_name = "AT_URI", value_parser = deploy::allowed)]
    allow: Vec<String>,
    #[command(flatten)]
    schemas: SchemaArgs,
    /// Let the run fail if its output does not meet its schema
    #[arg(long)]
    strict_output: bool,
    /// Print JSON: what a service answers, and {mode, compileMs, limits, denied, warnings}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: OnlineArgs,
}

fn caller(text: &str) -> Result<Did, String> {
    Did::parse(text).map_err(|error| error.to_string())
}

/// A function and its author.
#[derive(Clone)]
struct Function {
    uri: AtUri,
    author: Did,
}

fn function(text: &str) -> Result<Function, String> {
    let uri = at_uri(text)?;
    match &uri.authority {
        Authority::Did(author) => Ok(Function { author: author.clone(), uri }),
        Authority::Handle(_) => Err("write the author's DID in place of the handle".to_owned()),
    }
}

/// Runs the command.
pub(super) async fn run(args: RunArgs) -> Result<Report, CliError> {
    if args.allow.len() > MAX_SCOPES {
        let why = format!("given {} times, a service considers {MAX_SCOPES} entries", args.allow.len());
        return Err(CliError::setting("--allow", why));
    }
    let subject = Subject::at(args.file.as_deref())?;
    let Asked { file, manifest, allow, schemas } = Asked::of(&args, &subject)?;
    if args.input.as_deref() == Some(files::STDIN) && file == Path::new(files::STDIN) {
        return Err(CliError::setting("--input", "stdin is the wasm already: give a file"));
    }
    let given_input = match args.input.as_deref() {
        Some(given) => Some(input(given).await?),
        None => None,
    };
    let [input_schema, output_schema] = schemas.read().await?;
    let input = match given_input {
        Some(input) => input,
        None => example(input_schema.as_ref()),
    };
    let code = match &subject {
        Subject::File(file) => files::read(file, wasm::MAX_CODE_BYTES).await?,
        Subject::Project(project) => project.code().await?,
    };
    let anatomy = Anatomy::of(&code);
    let given_mode = args.mode.or(manifest.and_then(|manifest| manifest.mode));
    let mode = given_mode.unwrap_or_else(|| wasm::likely_mode(&code));
    let strict_output = args.strict_output || manifest.is_some_and(|manifest| manifest.strict_output);
    let refused = |why: String| CliError::setting(file.display().to_string(), format!("as {mode}: {why}"));
    wasm::check(&code, mode).map_err(|why| match why.is_no_wasm() {
        true => CliError::setting(file.display().to_string(), why),
        false => refused(why.to_string()),
    })?;

    if let Some(given) = input_schema
        && let Some(error) = given.fault(&input)?
    {
        return Ok(refused_input(&error, args.json));
    }
    let local = Local::start()?;
    let cid = blob_cid(&code);
    let compiled =
        local.compile(&file, mode, code.into()).await?.map_err(|refusal| refused(refusal.to_string()))?;
    let limits = limits(&args, manifest);
    let online = match args.network.online {
        true => Some(Online::open(&args.network, args.function.author.clone(), allow.as_deref())?),
        false => None,
    };
    let (door, reading): (Arc<dyn Door>, _) = match &online {
        Some(online) => {
            let reading = allow.as_ref().map_or(Reading::Any, |allow| Reading::Allowed(allow.len()));
            (Arc::clone(&online.door) as _, reading)
        }
        None => (Arc::new(Offline), Reading::Offline),
    };
    let door = Arc::new(Watched::new(door));
    let job = Job {
        artifact: compiled.artifact,
        owner: Owner { name: REQUEST_ID.into(), public: true },
        input,
        limits,
        context: Arc::new(Context {
            caller: args.caller.as_ref().map(ToString::to_string),
            function: args.function.uri.to_string(),
            // There is no record: the code's CID stands in for the record's.
            function_cid: cid.to_string(),
            request_id: REQUEST_ID.to_owned(),
            started: Clock::system().since_epoch(),
        }),
        door: Arc::clone(&door) as _,
    };
    let mut completion = local.run(job).await?;
    let misfit = match (output_schema, &completion.result) {
        (Some(given), Ok(output)) => given.fault(output)?,
        _ => None,
    };
    let mismatch = misfit.and_then(|error| {
        let why = error.to_string();
        server::misfit(&mut completion, strict_output, error).map(|path| Mismatch { path, why })
    });
    let told = Told {
        mode,
        is_guessed: given_mode.is_none(),
        of_project: manifest.is_some(),
        has_names: anatomy.has_names,
        compile: compiled.took,
        limits,
        reading,
        denied: door.denied(),
        mismatch,
        completion: &completion,
    };
    let exit = if completion.result.is_ok() { Exit::Done } else { Exit::Refused };
    let notes = told.notes();
    Ok(if args.json {
        Report { text: told.json().into(), notes: String::new(), exit }
    } else {
        let text = completion.result.as_ref().map(|output| output::pretty(&String::from_utf8_lossy(output)));
        Report { text: text.unwrap_or_default().into(), notes, exit }
    })
}

/// The input of a run for which none is given.
fn example(schema: Option<&Given>) -> Bytes {
    match schema.and_then(Given::example) {
        Some(example) => {
            output::note(&format!("input: {}  (the example of its schema)", shown(&example)));
            Bytes::from(example)
        }
        None => Bytes::from_static(b"{}"),
    }
}

/// What a service answers in place of a run.
fn refused_input(error: &CheckError, as_json: bool) -> Report {
    let (name, message) = (server::INVALID_INPUT, server::invalid_input_message(error));
    let refused = Report { text: Vec::new(), notes: String::new(), exit: Exit::Refused };
    if as_json {
        let text = json!({"ok": false, "error": name, "message": message}).to_string();
        return Report { text: output::pretty(&text).into(), ..refused };
    }
    let advice = "Nothing ran: services refuse such a call before they start the function.";
    refused.with_notes(failure(&format!("{name}: {}", shown(&message)), Some(advice)))
}

async fn input(given: &str) -> Result<Bytes, CliError> {
    let input = invoke::input(given).await?;
    let bytes = input.get().len();
    if bytes > MAX_PAYLOAD_BYTES {
        let why = format!(
            "it has {}; a service takes {}, unless its operator raised it",
            output::size(bytes as u64),
            output::size(MAX_PAYLOAD_BYTES as u64)
        );
        return Err(CliError::setting("--input", why));
    }
    Ok(Bytes::copy_from_slice(input.get().as_bytes()))
}

/// A record's limits; the operator's ceilings are those of the lexicon.
fn limits(args: &RunArgs, manifest: Option<&Manifest>) -> Limits {
    Limits {
        memory_bytes: u64::from(args.limits.memory_mb(manifest)) << 20,
        duration: Duration::from_millis(args.limits.duration_ms(manifest).into()),
        output_bytes: MAX_PAYLOAD_BYTES,
        host_calls: MAX_HOST_CALLS,
        host_bytes: MAX_HOST_BYTES,
    }
}
