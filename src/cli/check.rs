//! `check`: what a wasm file is, which modes it fits, and what services would refuse it for. `build` says it too.

mod asked;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

pub(super) use self::asked::Asked;
use super::anatomy::{Anatomy, Items};
use super::deploy;
use super::error::{CliError, shown};
use super::local::Local;
use super::output::{self, Exit, Report};
use super::output_schema;
use super::schemas::{Given, SchemaArgs};
use super::wasm::{self, InvalidWasm};
use super::wrap;
use crate::lexicon::Mode;
use crate::policy::judged;
use crate::repo::blob_cid;
use crate::sandbox::Admitted;

/// Imports and exports that people are shown, each.
const SHOWN: usize = 24;

/// Look at a wasm file as services do: what it is, which modes it fits, what they would refuse.
///
/// The file is judged by the rules of every mode and then compiled, by the same code as in a service.
/// It fits if it passes as the mode that is given; without --mode, if it passes as any, and the best
/// guess is said. Schemas are judged too, where files with them are given: a record with one that services
/// refuse cannot be called. What its outputs are like only a run can tell (see `at-functions run`), and
/// its outputSchema in part.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions check echo.wasm
  at-functions check my-project
  at-functions check lister.wasm --mode host-v1 --allow at://alice.example.com/app.bsky.feed.post
  at-functions check words.wasm --input-schema input.json --output-schema output.json
  at-functions check echo.wasm --json

",
    exit_codes!()
))]
pub(super) struct CheckArgs {
    /// The wasm binary, or - for stdin; or a project, as it was built [default: the project of the current directory]
    file: Option<PathBuf>,
    /// How the function is to talk with its host [default: the mode that it looks built for]
    #[arg(long, value_parser = deploy::mode)]
    mode: Option<Mode>,
    /// An entry of the record's allowedHosts, to be looked at too. May be given many times
    #[arg(long, value_name = "AT_URI")]
    allow: Vec<String>,
    #[command(flatten)]
    schemas: SchemaArgs,
    /// Print JSON: {cid, size, kind, imports, exports, modes, mode, fits, compiled, inputSchema,
    /// outputSchema, warnings}
    #[arg(long)]
    json: bool,
}

/// What was found.
pub(super) struct Findings {
    size: u64,
    cid: String,
    anatomy: Anatomy,
    /// Each mode, with why services refuse the file as that.
    modes: Vec<(Mode, Result<Admitted, InvalidWasm>)>,
    /// The mode that counts: the given one, or the best guess.
    mode: Mode,
    is_given: bool,
    file: PathBuf,
    compiled: Option<Result<Compiled, String>>,
    /// `inputSchema` and `outputSchema`, where they are given, with why services refuse them.
    schemas: [(&'static str, Option<Result<(), String>>); 2],
    /// Their files.
    schema_files: [Option<PathBuf>; 2],
    warnings: Vec<String>,
}

struct Compiled {
    millis: u64,
    bytes: u64,
}

/// Runs the command.
pub(super) async fn check(args: CheckArgs) -> Result<Report, CliError> {
    let as_json = args.json;
    let findings = look(Asked::by(args).await?).await?;
    let exit = if findings.are_taken() { Exit::Done } else { Exit::Refused };
    let report = Report::json_or(as_json, &findings.json(), || wrap::for_stdout(&findings.text()));
    Ok(Report { exit, ..report })
}

/// Judges a function.
pub(super) async fn look(asked: Asked) -> Result<Findings, CliError> {
    let bytes = &asked.code;
    let [input_schema, output_schema] = asked.schemas.judge().await?;
    let modes: Vec<_> = Mode::ALL.map(|mode| (mode, wasm::check(bytes, mode))).into();
    let mode = asked.mode.unwrap_or_else(|| best(&modes, wasm::likely_mode(bytes)));
    let admitted = modes.iter().find_map(|(of, verdict)| verdict.as_ref().ok().filter(|_| *of == mode));
    let anatomy = Anatomy::of(bytes);
    let mut findings = Findings {
        size: bytes.len() as u64,
        cid: blob_cid(bytes).to_string(),
        warnings: warnings(&asked, &anatomy, bytes.len() as u64, mode, admitted),
        compiled: None,
        schemas: [("inputSchema", verdict(&input_schema)), ("outputSchema", verdict(&output_schema))],
        schema_files: [asked.schemas.input_schema.clone(), asked.schemas.output_schema.clone()],
        anatomy,
        mode,
        is_given: asked.mode.is_some(),
        modes,
        file: asked.file,
    };
    let describes = output_schema.and_then(Result::ok).map(|given| output_schema::warnings(&given.json));
    let of_outputs = describes.unwrap_or_default();
    let named = asked.words.output_schema;
    findings.warnings.extend(of_outputs.into_iter().map(|warning| format!("{named}: {warning}")));
    if findings.is_admitted() {
        let compiled = Local::start()?.compile(&findings.file, mode, asked.code.into()).await?;
        findings.compiled = Some(match compiled {
            Ok(compiled) => Ok(Compiled {
                millis: compiled.took.as_millis() as u64,
                bytes: compiled.artifact.bytes() as u64,
            }),
            Err(refusal) => Err(refusal.to_string()),
        });
    }
    Ok(findings)
}

/// The mode that a file looks built for if it passes as that, else the first that it passes as.
fn best(modes: &[(Mode, Result<Admitted, InvalidWasm>)], likely: Mode) -> Mode {
    let passes = |wanted: Mode| modes.iter().any(|(mode, verdict)| *mode == wanted && verdict.is_ok());
    if passes(likely) { likely } else { Mode::ALL.into_iter().find(|mode| passes(*mode)).unwrap_or(likely) }
}

impl Findings {
    fn is_admitted(&self) -> bool {
        self.modes.iter().any(|(mode, verdict)| *mode == self.mode && verdict.is_ok())
    }

    fn fits(&self) -> bool {
        matches!(self.compiled, Some(Ok(_)))
    }

    /// The schema that services refuse, if there is one.
    fn refused_schema(&self) -> Option<&'static str> {
        self.schemas.iter().find(|(_, verdict)| matches!(verdict, Some(Err(_)))).map(|(name, _)| *name)
    }

    /// Whether services run the file, with the schemas.
    pub(super) fn are_taken(&self) -> bool {
        self.fits() && self.refused_schema().is_none()
    }

    /// Why the file is no WebAssembly at all, if it is none.
    fn no_wasm(&self) -> Option<&InvalidWasm> {
        let (_, verdict) = self.modes.first()?;
        verdict.as_ref().err().filter(|why| why.is_no_wasm())
    }

    fn kind(&self) -> &'static str {
        match (self.no_wasm(), self.anatomy.is_component) {
            (Some(_), _) => "no WebAssembly binary",
            (None, true) => "component",
            (None, false) => "core module",
        }
    }

    fn json(&self) -> Value {
        let items = |items: &Items| -> Vec<Value> {
            items.first.iter().map(|item| json!({"name": item.name, "type": item.ty})).collect()
        };
        let modes: Vec<Value> = self
            .modes
            .iter()
            .map(|(mode, verdict)| {
                let reason = verdict.as_ref().err().map(ToString::to_string);
                json!({"mode": mode.as_str(), "fits": verdict.is_ok(), "reason": reason})
            })
            .collect();
        let compiled = self.compiled.as_ref().map(|compiled| match compiled {
            Ok(compiled) => json!({"ok": true, "millis": compiled.millis, "bytes": compiled.bytes}),
            Err(reason) => json!({"ok": false, "reason": reason}),
        });
        let schema = |verdict: &Option<Result<(), String>>| {
            verdict.as_ref().map(|taken| json!({"ok": taken.is_ok(), "reason": taken.as_ref().err()}))
        };
        let [input_schema, output_schema] = self.schemas.each_ref().map(|(_, verdict)| schema(verdict));
        json!({
            "cid": self.cid,
            "size": self.size,
            "kind": self.kind(),
            "imports": items(&self.anatomy.imports),
            "exports": items(&self.anatomy.exports),
            "modes": modes,
            "mode": self.mode.as_str(),
            "fits": self.fits(),
            "compiled": compiled,
            "inputSchema": input_schema,
            "outputSchema": output_schema,
            "warnings": self.warnings,
        })
    }

    fn text(&self) -> String {
        let file = output::printable(&self.file.display().to_string());
        let mut text = match self.no_wasm() {
            Some(why) => format!("{file}\n  {}: {why}\n\nservices refuse it\n", self.kind()),
            None => format!("{file}\n{}\n{}\n", output::table(&self.rows()), self.conclusion()),
        };
        for warning in &self.warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        text
    }

    fn rows(&self) -> Vec<[String; 2]> {
        let mut rows = vec![
            pair("kind", format!("{}, {}", self.kind(), output::size(self.size))),
            pair("blob", self.cid.clone()),
        ];
        for (name, items) in [("imports", &self.anatomy.imports), ("exports", &self.anatomy.exports)] {
            rows.extend(list(name, items));
        }
        for (mode, verdict) in &self.modes {
            let told = match verdict {
                Ok(_) => "fits".to_owned(),
                Err(why) => format!("no: {}", shown(&why.to_string())),
            };
            rows.push(pair(mode.as_str(), told));
        }
        match &self.compiled {
            Some(Ok(compiled)) => {
                let told = format!("in {} ms, to {}", compiled.millis, output::size(compiled.bytes));
                rows.push(pair("compiles", told));
            }
            Some(Err(why)) => rows.push(pair("compiles", format!("no: {}", shown(why)))),
            None => {}
        }
        for (name, verdict) in &self.schemas {
            match verdict {
                Some(Ok(())) => rows.push(pair(name, "services take it".to_owned())),
                Some(Err(why)) => rows.push(pair(name, format!("no: {}", shown(why)))),
                None => {}
            }
        }
        rows
    }

    /// The verdict in few lines: the reasons of a refusal, and warnings.
    pub(super) fn verdict(&self) -> String {
        let mut lines = vec![self.conclusion()];
        let of_mode = self.modes.iter().find(|(mode, _)| *mode == self.mode);
        let refused = of_mode.and_then(|(_, verdict)| verdict.as_ref().err()).map(ToString::to_string);
        let uncompiled = self.compiled.as_ref().and_then(|compiled| compiled.as_ref().err()).cloned();
        lines.extend(refused.or(uncompiled).map(|why| format!("  {}", shown(&why))));
        for ((name, verdict), file) in self.schemas.iter().zip(&self.schema_files) {
            if let Some(Err(why)) = verdict {
                let file = file.as_deref().unwrap_or(Path::new(""));
                lines.push(format!("  {name} {}: {}", shown(&file.display().to_string()), shown(why)));
            }
        }
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.join("\n")
    }

    fn conclusion(&self) -> String {
        let mode = self.mode;
        let told = match (self.fits(), self.is_given) {
            (true, true) => format!("services run it as {mode}"),
            (true, false) => format!("services run it as {mode}, which it looks built for"),
            (false, true) => format!("services refuse it as {mode}"),
            (false, false) => format!("services refuse it; it looks built for {mode}"),
        };
        match self.refused_schema() {
            Some(schema) => format!("{told}; they refuse a record with this {schema}"),
            None => told,
        }
    }
}

fn verdict(schema: &Option<Result<Given, String>>) -> Option<Result<(), String>> {
    schema.as_ref().map(|judged| judged.as_ref().map(|_| ()).map_err(String::clone))
}

/// What a service would take, and its author may regret.
fn warnings(
    asked: &Asked,
    anatomy: &Anatomy,
    size: u64,
    mode: Mode,
    admitted: Option<&Admitted>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if size > deploy::USUAL_BLOB_LIMIT && size <= wasm::MAX_CODE_BYTES {
        warnings.push(format!(
            "larger than {}, which is what many PDSes take: optimise for size and strip it",
            output::size(deploy::USUAL_BLOB_LIMIT)
        ));
    }
    if admitted.is_some() && !anatomy.has_names {
        warnings.push("it has no names of functions, so the message of a trap will name none".to_owned());
    }
    let needed = admitted.map_or(0, |admitted| admitted.initial_bytes.div_ceil(1 << 20));
    let words = &asked.words;
    if needed > u64::from(words.memory_mb) {
        let memory = words.memory;
        warnings.push(format!("it starts with {needed} MiB of memory: {memory} {needed} or more"));
    }
    if !asked.allow.is_empty() && !mode.has_host_calls() {
        warnings.push(format!("{} has no effect: functions of {mode} read nothing", words.allow));
    }
    for (entry, scope) in judged(&asked.allow) {
        if let Err(why) = scope {
            warnings.push(format!("{} {} covers nothing: {why}", words.allow, shown(entry)));
        }
    }
    warnings
}

fn pair(name: &str, told: String) -> [String; 2] {
    [format!("  {name}"), told]
}

/// Imports or exports, a line each.
fn list(name: &str, items: &Items) -> Vec<[String; 2]> {
    if items.total == 0 {
        return vec![pair(name, "none".to_owned())];
    }
    let mut rows: Vec<_> = items
        .first
        .iter()
        .take(SHOWN)
        .enumerate()
        .map(|(i, item)| pair(if i == 0 { name } else { "" }, format!("{}: {}", item.name, item.ty)))
        .collect();
    let more = items.total.saturating_sub(SHOWN);
    if more > 0 {
        rows.push(pair("", format!("and {more} more")));
    }
    rows
}
