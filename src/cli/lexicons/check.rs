//! `lexicon check`: whether files are lexicons.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::document::{self, Findings};
use crate::cli::error::{CliError, shown};
use crate::cli::files;
use crate::cli::home;
use crate::cli::output::{Exit, Report};

/// A PDS takes records of about 150 kB.
const MAX_LEXICON_BYTES: u64 = 256 * 1024;

/// Check lexicon files by the rules of the language.
///
/// Faults are told with their place, and end with exit code 1. Words that Lexicon does not know are remarks: readers pass over
/// them, so they may be misspelt. What a file refers to in other lexicons is not looked up.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions lexicon check lexicons/*.json

",
    exit_codes!()
))]
pub(super) struct CheckArgs {
    /// JSON files, each one lexicon
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON: {files: [{file, id, faults, remarks}]}
    #[arg(long)]
    json: bool,
}

/// A file, and what was found in it.
pub(super) struct Checked {
    pub(super) file: PathBuf,
    pub(super) document: Value,
    pub(super) findings: Findings,
}

/// Runs the command.
pub(super) async fn check(args: CheckArgs) -> Result<Report, CliError> {
    let mut all = Vec::new();
    for file in &args.files {
        all.push(read(file).await?);
    }
    let listed: Vec<Value> = all
        .iter()
        .map(|checked| {
            json!({
                "file": checked.file.display().to_string(), "id": checked.document["id"],
                "faults": checked.findings.faults, "remarks": checked.findings.remarks,
            })
        })
        .collect();
    let exit = if all.iter().all(Checked::is_sound) { Exit::Done } else { Exit::Refused };
    let text = || all.iter().map(Checked::text).collect::<Vec<_>>().join("\n");
    Ok(Report { exit, ..Report::json_or(args.json, &json!({ "files": listed }), text) })
}

/// Reads and checks a file; one that is no JSON has that as its fault.
pub(super) async fn read(file: &Path) -> Result<Checked, CliError> {
    let bytes = files::read(file, MAX_LEXICON_BYTES).await?;
    let parsed = match bytes.len() as u64 > MAX_LEXICON_BYTES {
        true => Err("larger than 256 KiB: no PDS takes a record like that".to_owned()),
        false => serde_json::from_slice(&bytes).map_err(|error| format!("not JSON: {error}")),
    };
    let (document, findings) = match parsed {
        Ok(document) => {
            let findings = document::check(&document);
            (document, findings)
        }
        Err(why) => (Value::Null, Findings { faults: vec![why], remarks: Vec::new() }),
    };
    Ok(Checked { file: file.to_owned(), document, findings })
}

impl Checked {
    pub(super) fn is_sound(&self) -> bool {
        self.findings.faults.is_empty()
    }

    fn text(&self) -> String {
        let file = home::shown(&self.file);
        let id = shown(self.document["id"].as_str().unwrap_or("no id"));
        let head =
            if self.is_sound() { format!("ok    {file} ({id})") } else { format!("WRONG {file} ({id})") };
        let faults = self.findings.faults.iter().map(|fault| format!("\n      fault  {}", shown(fault)));
        let remarks = self.findings.remarks.iter().map(|remark| format!("\n      remark {}", shown(remark)));
        faults.chain(remarks).fold(head, |text, line| text + &line)
    }
}
