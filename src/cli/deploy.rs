//! `deploy`: a wasm file becomes a blob and a record in the author's repo.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::Tools;
use super::client::{Xrpc, host_of};
use super::error::CliError;
use super::files;
use super::limits::LimitArgs;
use super::locate::NetworkArgs;
use super::output::{self, Report};
use super::put::{self, Written};
use super::record::{self, Code, Draft};
use super::schemas::SchemaArgs;
use super::session::{LoginArgs, Session};
use super::wasm;
use crate::lexicon::{FUNCTION_COLLECTION, FunctionMetadata, Mode, RecordKey};
use crate::policy::{MAX_SCOPES, Scope};
use crate::repo::blob_cid;

/// What a PDS that states no limit usually takes.
pub(super) const USUAL_BLOB_LIMIT: u64 = 5 * 1024 * 1024;

/// Put a wasm file into your repo as a function, or a new version of one.
///
/// Judges the file by the rules of a service, uploads it to your PDS, and writes the record
/// at.functions.metadata/NAME that describes it. Any AT Functions service can run it from then on;
/// nothing is uploaded to a service. To look at it first: `at-functions dev FILE`.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions deploy echo.wasm --name echo --handle alice.example.com --password-file app-password
  at-functions deploy sum.wasm --name sum --version 1.2.0 --max-memory-mb 64 --max-duration-ms 500
  pass show bsky/app | at-functions deploy echo.wasm --name echo --password-file -

",
    exit_codes!()
))]
pub(super) struct DeployArgs {
    /// The wasm binary; one that services would refuse is not uploaded
    file: PathBuf,
    /// The function's name, and the key of its record unless --rkey gives one
    #[arg(long, value_parser = name)]
    name: String,
    /// The key of the record [default: the name]
    #[arg(long, value_name = "KEY", value_parser = rkey)]
    rkey: Option<RecordKey>,
    /// The function's version, by custom a semantic one
    #[arg(long, value_parser = version, default_value = "0.1.0")]
    version: String,
    /// How the function talks with its host [default: by what the file imports and exports]
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
    /// given many times; without it, any public repo that the operator lets it
    #[arg(long, value_name = "AT_URI", value_parser = allowed)]
    allow: Vec<String>,
    /// The function may read nothing
    #[arg(long, conflicts_with = "allow")]
    allow_none: bool,
    #[command(flatten)]
    schemas: SchemaArgs,
    /// Let a run fail whose output does not meet its schema
    #[arg(long, requires = "output_schema")]
    strict_output: bool,
    /// Print JSON: {uri, cid, codeCid, codeSize}
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
    let rkey = match &args.rkey {
        Some(rkey) => rkey.clone(),
        None => record::record_key(&args.name).map_err(|why| CliError::setting("--name", why))?,
    };
    let (code, mode) = read_code(&args).await?;
    let draft = draft(&args, mode).await?;

    let session = Session::open(tools, &args.login, &args.network).await?;
    let pds = session.xrpc(&tools.http);
    let mut notes = String::new();
    match blob_limit(&pds).await {
        Some(limit) if code.len() as u64 > limit => {
            let why = format!(
                "it has {}, and your PDS {} takes files of up to {}: make it smaller, or ask the PDS's operator to raise PDS_BLOB_UPLOAD_LIMIT",
                output::size(code.len() as u64),
                host_of(session.pds()),
                output::size(limit)
            );
            return Err(CliError::setting(args.file.display().to_string(), why));
        }
        None if code.len() as u64 > USUAL_BLOB_LIMIT => {
            output::note("note: your PDS does not say how large a file may be; many take up to 5 MiB");
        }
        _ => {}
    }

    let code = upload(&pds, &session, &args.file, code).await?;
    if code.mime_type != "application/wasm" {
        notes = format!(
            "note: your PDS took the file for {}, not application/wasm",
            output::printable(&code.mime_type)
        );
    }
    let record = draft.record(&code, &put::now(&tools.clock));
    let written = put::record(&pds, &session, FUNCTION_COLLECTION, &rkey, &record).await?;
    Ok(report(&args, mode, &code, &written).with_notes(notes))
}

/// Reads the file, no further than the largest code that can be deployed, and judges it as a service
/// would.
async fn read_code(args: &DeployArgs) -> Result<(Vec<u8>, Mode), CliError> {
    let bytes = files::read(&args.file, wasm::MAX_CODE_BYTES).await?;
    let mode = args.mode.unwrap_or_else(|| wasm::likely_mode(&bytes));
    let admitted =
        wasm::check(&bytes, mode).map_err(|why| CliError::setting(args.file.display().to_string(), why))?;
    let needed = admitted.initial_bytes.div_ceil(1 << 20);
    let memory_mb = args.limits.memory_mb(None);
    if needed > u64::from(memory_mb) {
        let why = format!("the module starts with {needed} MiB of memory, so no run of it would begin");
        return Err(CliError::setting(format!("--max-memory-mb {memory_mb}"), why));
    }
    Ok((bytes, mode))
}

async fn draft(args: &DeployArgs, mode: Mode) -> Result<Draft, CliError> {
    if args.allow.len() > MAX_SCOPES {
        let why = format!("given {} times, a service considers {MAX_SCOPES} entries", args.allow.len());
        return Err(CliError::setting("--allow", why));
    }
    let [input_schema, output_schema] = args.schemas.read().await?;
    Ok(Draft {
        name: args.name.clone(),
        version: args.version.clone(),
        description: args.description.clone(),
        mode,
        max_memory_mb: args.limits.memory_mb(None),
        max_duration_ms: args.limits.duration_ms(None),
        public: !args.private,
        allowed_hosts: (args.allow_none || !args.allow.is_empty()).then(|| args.allow.clone()),
        input_schema: input_schema.map(|given| given.json),
        output_schema: output_schema.map(|given| given.json),
        strict_output: args.strict_output,
    })
}

/// The limit that the PDS states, if it does; its silence or failure here stops nothing.
async fn blob_limit(pds: &Xrpc<'_>) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Output {
        blob_upload_limit: Option<u64>,
    }
    let no_parameters: [(&str, &str); 0] = [];
    let output: Output = pds.query("com.atproto.server.describeServer", no_parameters).await.ok()?;
    output.blob_upload_limit
}

/// Uploads the code, and holds what the PDS made of it against what was sent.
async fn upload(pds: &Xrpc<'_>, session: &Session, file: &Path, bytes: Vec<u8>) -> Result<Code, CliError> {
    #[derive(Deserialize)]
    struct Output {
        blob: Blob,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Blob {
        r#ref: Link,
        mime_type: String,
        size: u64,
    }
    #[derive(Deserialize)]
    struct Link {
        #[serde(rename = "$link")]
        link: String,
    }
    let size = bytes.len() as u64;
    output::progress(&format!(
        "uploading {} ({}) to {} ...",
        file.display(),
        output::size(size),
        host_of(session.pds())
    ));
    let cid = blob_cid(&bytes);
    let Output { blob } = pds.upload("com.atproto.repo.uploadBlob", "application/wasm", bytes).await?;
    if blob.r#ref.link != cid.to_string() || blob.size != size {
        let why = "the blob that it stored is not the file that was sent".to_owned();
        return Err(CliError::Unusable { host: host_of(session.pds()), why });
    }
    Ok(Code { cid: blob.r#ref.link, mime_type: blob.mime_type, size })
}

fn report(args: &DeployArgs, mode: Mode, code: &Code, written: &Written) -> Report {
    let value = json!({"uri": written.uri, "cid": written.cid, "codeCid": code.cid, "codeSize": code.size});
    Report::json_or(args.json, &value, || {
        let (uri, cid) = (output::printable(&written.uri), output::printable(&written.cid));
        format!(
            "deployed {} {}\n{}\n\
             invoke it:\n  at-functions invoke {uri} --service did:web:HOST --input '{{}}'\n\
             pin this very version with:\n  --cid {cid}",
            output::printable(&args.name),
            output::printable(&args.version),
            output::table(&[
                ["  function".into(), uri.clone()],
                ["  record".into(), cid.clone()],
                ["  code".into(), format!("{} ({})", code.cid, output::size(code.size))],
                ["  mode".into(), mode.to_string()],
            ])
        )
    })
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::super::{Command, parse};
    use super::*;

    fn args(arguments: &[&str]) -> Result<DeployArgs, clap::Error> {
        match parse(&[&["deploy", "f.wasm", "--name", "echo"], arguments].concat())? {
            Command::Deploy(args) => Ok(*args),
            _ => unreachable!("deploy was asked for"),
        }
    }

    #[tokio::test]
    async fn the_defaults_are_the_lexicons() {
        let draft = draft(&args(&[]).unwrap(), Mode::PureV1).await.unwrap();
        assert_eq!((draft.max_memory_mb, draft.max_duration_ms), (32, 100));
        assert_eq!((draft.version.as_str(), draft.public), ("0.1.0", true));
        assert_eq!(draft.allowed_hosts, None);
    }

    #[tokio::test]
    async fn what_may_be_read_is_anything_a_list_or_nothing() {
        let hosts = async |arguments: &[&str]| {
            draft(&args(arguments).unwrap(), Mode::HostV1).await.unwrap().allowed_hosts
        };
        assert_eq!(hosts(&["--allow-none"]).await, Some(vec![]));
        assert_eq!(
            hosts(&["--allow", "at://a.com", "--allow", "at://b.com/x.y.z"]).await,
            Some(vec!["at://a.com".to_owned(), "at://b.com/x.y.z".to_owned()])
        );
        let error = args(&["--allow-none", "--allow", "at://a.com"]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
        let many: Vec<&str> = std::iter::repeat_n(["--allow", "at://a.com"], 65).flatten().collect();
        assert!(draft(&args(&many).unwrap(), Mode::HostV1).await.is_err());
    }

    #[test]
    fn values_out_of_bounds_are_refused_before_anything_is_read() {
        let long = "x".repeat(2049);
        for arguments in [
            ["--max-memory-mb", "0"],
            ["--max-memory-mb", "257"],
            ["--max-duration-ms", "0"],
            ["--max-duration-ms", "5001"],
            ["--max-duration-ms", "-1"],
            ["--mode", "pure-v2"],
            ["--version", ""],
            ["--version", &long],
            ["--description", &long],
            ["--rkey", "a b"],
            ["--rkey", ".."],
            ["--allow", "https://a.com"],
            ["--pds", "pds.example.com"],
            ["--handle", "alice"],
        ] {
            let error = args(&arguments).err().unwrap();
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::ValueValidation | ErrorKind::UnknownArgument | ErrorKind::InvalidValue
                ),
                "{arguments:?}: {error}"
            );
        }
        assert_eq!(args(&["--strict-output"]).err().unwrap().kind(), ErrorKind::MissingRequiredArgument);
    }
}
