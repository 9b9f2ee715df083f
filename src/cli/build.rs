//! `build`: a project's own build, and the module finished and judged.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::check::{self, Asked};
use super::error::CliError;
use super::output::{self, Exit, Report, printable};
use super::project::{BuildArgs, Built, Project};
use super::wrap;

/// Build a project: its own build, then what makes the module fit to be deployed.
///
/// Runs the command of its at-functions.toml. A module that was written for the WIT of functions becomes a component. What no
/// service looks at is taken away, but the names of functions stay, so that the message of a trap can tell them; --strip takes
/// them too. `wasm-opt`, where it is in the PATH, makes it smaller and faster. The finished module is dist/NAME.wasm, which
/// `run`, `check` and `deploy` take. Then it is judged as `check` and services do.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions build
  at-functions build my-project --strip

",
    exit_codes!()
))]
pub(super) struct BuildCommandArgs {
    /// The project [default: that of the current directory]
    project: Option<PathBuf>,
    #[command(flatten)]
    build: BuildArgs,
    /// Print JSON: {file, compiledBytes, bytes, steps, millis, fits, verdict}
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn build(args: BuildCommandArgs) -> Result<Report, CliError> {
    let project = Project::at(args.project.as_deref())?;
    let built = project.build(args.build).await?;
    let findings = check::look(Asked::of_project(&project, built.code.clone())).await?;
    let warning = paths(&built.code).map(|warning| format!("\nwarning: {warning}")).unwrap_or_default();
    let verdict = format!("{}{warning}", findings.verdict());
    let value = json!({
        "file": project.module(),
        "compiledBytes": built.compiled_bytes,
        "bytes": built.code.len(),
        "steps": built.steps.0.iter().map(|(what, bytes)| json!({"what": what, "bytes": bytes})).collect::<Vec<_>>(),
        "millis": built.took.as_millis() as u64,
        "fits": findings.are_taken(),
        "verdict": verdict,
    });
    let report = Report::json_or(args.json, &value, || {
        format!("{}\n{}", told(&project, &built), wrap::for_stdout(&verdict))
    });
    Ok(Report { exit: if findings.are_taken() { Exit::Done } else { Exit::Refused }, ..report })
}

/// Where a module tells where it was built, which everybody can read once it is deployed.
fn paths(code: &[u8]) -> Option<String> {
    let home = std::env::var("HOME").ok().filter(|home| home.len() > 1)?;
    let start = format!("{}/", home.trim_end_matches('/'));
    let is_told = code.windows(start.len()).any(|window| window == start.as_bytes());
    is_told.then(|| {
        format!(
            "it holds paths below {}, which tell who built it: in Rust, RUSTFLAGS=\"--remap-path-prefix=$HOME=~\" leaves them out",
            printable(&home)
        )
    })
}

/// Sizes, from what the compiler wrote to what is deployed.
fn told(project: &Project, built: &Built) -> String {
    let mut rows = vec![["  compiled".to_owned(), output::size(built.compiled_bytes)]];
    rows.extend(built.steps.0.iter().map(|(what, bytes)| [format!("  {what}"), output::size(*bytes)]));
    format!(
        "built {} {} in {:.1} s\n{}  {}, {} bytes\n",
        printable(&project.manifest.name),
        printable(&project.manifest.version),
        built.took.as_secs_f64(),
        output::table(&rows),
        printable(&project.module().display().to_string()),
        built.code.len(),
    )
}
