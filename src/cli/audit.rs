//! `at-functions audit verify`: whether an audit log is whole.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::error::CliError;
use super::output::{Exit, Report, printable};
use crate::audit::{self, Committed, Expected, Findings, Head, LogFiles};
use crate::identity::PublicKey;
use crate::identity::service_key::{self, ServiceKeyError};

/// Look at a service's audit log.
#[derive(Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    Verify(VerifyArgs),
}

/// Verify that an audit log is whole: no line broken, changed, missing, moved or repeated, and all of it signed
///
/// Reads the log in the data directory, or the files that are given, and names each flaw by file and line. Without
/// files, the log must also reach the head that the service has committed. Lines after the last checkpoint are not signed yet:
/// that is told, and is no flaw. A service may be running meanwhile.
///
/// The service's key in the data directory is trusted, and those given with --key. Heads that were kept elsewhere (from
/// the file audit/head, or the service's own log) find what was cut or written anew by somebody who has the key.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions audit verify --data-dir /var/lib/at-functions
  at-functions audit verify --head 1042:5e2d...
  at-functions audit verify --key zQ3sh... copies/*.jsonl --json

",
    exit_codes!()
))]
struct VerifyArgs {
    /// Files of a log; the one in the data directory when absent
    files: Vec<PathBuf>,
    /// The service's data directory, with its key
    #[arg(long, env = "AT_FUNCTIONS_DATA_DIR", value_name = "DIR", default_value = "data")]
    data_dir: PathBuf,
    /// A public key that the service has or had; may be given several times
    #[arg(long, value_name = "MULTIKEY", value_parser = PublicKey::from_multikey)]
    key: Vec<PublicKey>,
    /// A line that is known to have been in the log; may be given several times
    #[arg(long, value_name = "SEQ:HASH")]
    head: Vec<Head>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(super) async fn run(args: AuditArgs) -> Result<Report, CliError> {
    let AuditCommand::Verify(args) = args.command;
    // A log is long; Ctrl-C must still be heard.
    let verifying = tokio::task::spawn_blocking(move || verify(&args));
    verifying.await.unwrap_or_else(|error| Err(CliError::Runtime(std::io::Error::other(error))))
}

fn verify(args: &VerifyArgs) -> Result<Report, CliError> {
    let mut expected = Expected { keys: args.key.clone(), heads: args.head.clone(), first: None };
    match service_key::load(&args.data_dir) {
        Ok(key) => expected.keys.push(key.public()),
        // There are others to go by.
        Err(ServiceKeyError::Missing { .. }) if !expected.keys.is_empty() => {}
        Err(error) => return Err(error.into()),
    }
    let files = match &*args.files {
        [] => {
            // Before the log is read, which only grows.
            let committed =
                audit::committed(&args.data_dir).map_err(|error| in_log(&args.data_dir, error))?;
            if let Some(Committed { head, first }) = committed {
                expected.heads.push(head);
                expected.first = Some(first);
            }
            let directory = args.data_dir.join("audit");
            LogFiles::in_directory(&directory)
                .map_err(|source| CliError::File { path: directory.clone(), source })?
                .0
        }
        files => audit::in_order(files.to_vec()),
    };
    if files.is_empty() && expected.heads.is_empty() {
        return Err(CliError::setting("--data-dir", "there is no audit log in it"));
    }
    let mut opened = PathBuf::new();
    let readers = files.iter().map(|path| {
        opened.clone_from(path);
        Ok((path.display().to_string(), BufReader::new(File::open(path)?)))
    });
    let found = audit::verify(readers, &expected);
    let found = found.map_err(|source| CliError::File { path: opened, source })?;
    let report = match args.json {
        true => Report::json_or(true, &as_json(&found), String::new),
        false => Report::done(as_text(&found)),
    };
    let exit = if found.issues.is_empty() { Exit::Done } else { Exit::Refused };
    Ok(Report { exit, ..report })
}

fn in_log(data_dir: &Path, error: audit::OpenError) -> CliError {
    CliError::setting(format!("--data-dir {}", data_dir.display()), error)
}

fn as_text(found: &Findings) -> String {
    let mut lines: Vec<String> = found
        .issues
        .iter()
        .map(|issue| format!("{}:{}: {}", printable(&issue.file), issue.line, issue.flaw))
        .collect();
    if found.more_issues > 0 {
        lines.push(format!("and {} more", found.more_issues));
    }
    for place in &found.starts_without_head {
        lines.push(format!(
            "{}: note: the service started without a committed head; what was before may have been cut",
            printable(place)
        ));
    }
    if found.torn_bytes > 0 {
        lines.push(format!(
            "note: {} bytes of an unfinished line at the end: a crash, or a write under way",
            found.torn_bytes
        ));
    }
    if found.dropped > 0 {
        lines.push(format!("note: {} calls have no line, because none could be written", found.dropped));
    }
    let verdict = if found.issues.is_empty() { "whole" } else { "NOT whole" };
    let numbers = match (found.first, found.last) {
        (Some(first), Some(last)) => format!("; numbers {first} to {}", last.seq),
        _ => String::new(),
    };
    let signed = found.signed.map_or("nothing signed".into(), |seq| format!("signed up to {seq}"));
    let tail = match found.unsigned_tail {
        0 => String::new(),
        count => format!(", then an unsigned tail ({count})"),
    };
    lines.push(format!(
        "The log is {verdict}: files {}, lines {}, calls {}{numbers}; {signed}{tail}.",
        found.files, found.lines, found.calls
    ));
    lines.join("\n")
}

fn as_json(found: &Findings) -> serde_json::Value {
    let issues: Vec<_> = found
        .issues
        .iter()
        .map(|issue| {
            json!({
                "file": issue.file, "line": issue.line, "flaw": issue.flaw.name(),
                "message": issue.flaw.to_string(),
            })
        })
        .collect();
    json!({
        "whole": found.issues.is_empty(),
        "issues": issues,
        "moreIssues": found.more_issues,
        "files": found.files,
        "lines": found.lines,
        "calls": found.calls,
        "first": found.first,
        "last": found.last.map(|head| head.to_string()),
        "signed": found.signed,
        "unsignedTail": found.unsigned_tail,
        "tornBytes": found.torn_bytes,
        "dropped": found.dropped,
        "startsWithoutHead": found.starts_without_head,
    })
}
