//! `did`: the service's DID document, before it is deployed and after.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;
use url::Url;

use super::Tools;
use super::did_check;
use super::error::CliError;
use super::output::{self, Exit, Report};
use crate::identity::service_key;
use crate::identity::{Hostname, PublicKey, ServiceId, service_document};

/// Show the DID document of a service, or check a deployed one.
///
/// A running service serves its document itself, at https://HOST/.well-known/did.json. This shows what
/// it serves (or what a front has to serve for it); `did check HOST` tells whether PDSes can use it.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    group = ArgGroup::new("key").args(["public_key_multibase", "data_dir"]),
    after_help = concat!(
        "\
Examples:
  at-functions did --hostname functions.example.com --data-dir /var/lib/at-functions
  at-functions did --hostname localhost:3000 --public-key-multibase zQ3sh...
  at-functions did check functions.example.com

",
        exit_codes!()
    )
)]
pub(super) struct DidArgs {
    #[command(subcommand)]
    command: Option<DidCommand>,
    /// The service's host name; localhost:PORT for development
    #[arg(long, env = "AT_FUNCTIONS_HOSTNAME", value_name = "HOST", value_parser = hostname)]
    hostname: Option<Hostname>,
    /// The service's public key
    #[arg(long, value_name = "MULTIKEY", value_parser = public_key)]
    public_key_multibase: Option<PublicKey>,
    /// The service's data directory, with its key
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Make the key if the data directory has none yet
    #[arg(long, requires = "data_dir")]
    create_key: bool,
    /// The service's id in the document
    #[arg(long, env = "AT_FUNCTIONS_SERVICE_ID", value_name = "ID", value_parser = service_id, default_value = "at_functions")]
    service_id: ServiceId,
    /// Print the document alone (it is JSON either way)
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum DidCommand {
    /// Fetch a deployed document and say whether PDSes can use it
    Check(CheckArgs),
}

/// Fetch a deployed document and say whether PDSes can use it.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions did check functions.example.com
  at-functions did check localhost:3000

",
    exit_codes!()
))]
struct CheckArgs {
    /// The service's host name; localhost:PORT for development
    #[arg(value_name = "HOST", value_parser = hostname)]
    host: Hostname,
    /// The service's id in the document
    #[arg(long, env = "AT_FUNCTIONS_SERVICE_ID", value_name = "ID", value_parser = service_id, default_value = "at_functions")]
    service_id: ServiceId,
    /// Print JSON: {did, usable, checks: [{check, result, detail}]}
    #[arg(long)]
    json: bool,
}

fn hostname(text: &str) -> Result<Hostname, String> {
    Hostname::parse(text).map_err(|error| error.to_string())
}

fn service_id(text: &str) -> Result<ServiceId, String> {
    ServiceId::parse(text).map_err(|error| error.to_string())
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_multikey(text).map_err(|error| error.to_string())
}

/// Runs the command.
pub(super) async fn did(tools: &Tools, args: DidArgs) -> Result<Report, CliError> {
    match args.command {
        Some(DidCommand::Check(args)) => check(tools, args).await,
        None => show(&args),
    }
}

fn show(args: &DidArgs) -> Result<Report, CliError> {
    let needed = || {
        CliError::setting("--hostname", "give the host name of the service, such as functions.example.com")
    };
    let hostname = args.hostname.as_ref().ok_or_else(needed)?;
    let key = key(args)?;
    let endpoint = Url::parse(&hostname.origin()).map_err(|error| CliError::setting("--hostname", error))?;
    let document = service_document(hostname.did(), &args.service_id, &endpoint, &key);
    let report = Report::done(output::pretty(&document.to_string()));
    if args.json {
        return Ok(report);
    }
    Ok(report.with_notes(format!(
        "to be served at {}/.well-known/did.json as application/json\n\
         clients name the service {}#{}",
        hostname.origin(),
        hostname.did(),
        args.service_id
    )))
}

fn key(args: &DidArgs) -> Result<PublicKey, CliError> {
    match (&args.public_key_multibase, &args.data_dir) {
        (Some(key), _) => Ok(key.clone()),
        (None, Some(dir)) if args.create_key => Ok(service_key::load_or_create(dir)?.public()),
        (None, Some(dir)) => Ok(service_key::load(dir)?.public()),
        (None, None) => Err(CliError::setting("key", "give --data-dir, or --public-key-multibase")),
    }
}

async fn check(tools: &Tools, args: CheckArgs) -> Result<Report, CliError> {
    let url = Url::parse(&format!("{}/.well-known/did.json", args.host.origin()))
        .map_err(|error| CliError::setting("HOST", error))?;
    let answer = tools.http.get(&url, "application/did+ld+json, application/json").await?;
    let findings = did_check::findings(&args.host, &args.service_id, &answer);
    let usable = findings.iter().all(|finding| finding.result != did_check::Result::Fails);
    let checks: Vec<_> = findings
        .iter()
        .map(|f| json!({"check": f.check, "result": f.result.as_str(), "detail": f.detail}))
        .collect();
    let value = json!({"did": args.host.did(), "usable": usable, "checks": checks});
    let report = Report::json_or(args.json, &value, || {
        let rows: Vec<_> = findings
            .iter()
            .map(|f| [f.result.as_str().to_owned(), f.check.to_owned(), f.detail.clone()])
            .collect();
        let verdict = if usable { "PDSes can use it as" } else { "PDSes cannot use it as" };
        format!("{}{verdict} {}#{}", output::table(&rows), args.host.did(), args.service_id)
    });
    Ok(Report { exit: if usable { Exit::Done } else { Exit::Refused }, ..report })
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::super::{Command, parse};
    use super::*;
    use crate::identity::SigningKey;

    fn args(arguments: &[&str]) -> Result<DidArgs, clap::Error> {
        match parse(&[&["did"], arguments].concat())? {
            Command::Did(args) => Ok(*args),
            _ => unreachable!("did was asked for"),
        }
    }

    #[test]
    fn the_document_is_shown_for_a_key_given_or_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let from_dir = ["--hostname", "fn.example.com", "--json", "--data-dir", path];
        let missing = show(&args(&from_dir).unwrap()).err().unwrap();
        assert!(matches!(missing, CliError::Key(_)), "{missing}");
        assert_eq!(missing.exit(), Exit::Usage);
        let made = show(&args(&[&from_dir[..], &["--create-key"]].concat()).unwrap()).unwrap();
        let key = service_key::load(dir.path()).unwrap().public().to_multikey();
        let given =
            show(&args(&["--hostname", "fn.example.com", "--json", "--public-key-multibase", &key]).unwrap())
                .unwrap();
        assert_eq!(made.text, given.text);
        assert!(String::from_utf8(made.text).unwrap().contains(&key));
        assert_eq!(made.notes, "");
    }

    #[test]
    fn what_is_missing_is_named() {
        let why = |arguments: &[&str]| show(&args(arguments).unwrap()).err().unwrap().to_string();
        assert!(why(&["--data-dir", "x"]).starts_with("--hostname: "));
        assert!(why(&["--hostname", "a.com"]).starts_with("key: give --data-dir"));
    }

    #[test]
    fn arguments_that_cannot_be_meant_are_refused() {
        let key = SigningKey::from_bytes(&[1; 32]).unwrap().public().to_multikey();
        let kind = |arguments: &[&str]| args(arguments).err().unwrap().kind();
        assert_eq!(kind(&["--hostname", "https://a.com"]), ErrorKind::ValueValidation);
        assert_eq!(kind(&["--public-key-multibase", "zzz"]), ErrorKind::ValueValidation);
        assert_eq!(kind(&["--public-key-multibase", &key, "--data-dir", "x"]), ErrorKind::ArgumentConflict);
        assert_eq!(kind(&["--service-id", "#x"]), ErrorKind::ValueValidation);
        assert_eq!(kind(&["check", "a.com:8080"]), ErrorKind::ValueValidation);
        assert_eq!(kind(&["check"]), ErrorKind::MissingRequiredArgument);
    }
}
