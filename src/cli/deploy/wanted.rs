//! What is to be deployed: from a file and flags, or from a project and the flags that win over it.

use std::path::PathBuf;

use super::DeployArgs;
use crate::cli::error::CliError;
use crate::cli::files;
use crate::cli::project::{MANIFEST, Project, Subject};
use crate::cli::record::{self, Draft};
use crate::cli::schemas::SchemaArgs;
use crate::cli::wasm;
use crate::lexicon::{Mode, RecordKey};
use crate::policy::MAX_SCOPES;

/// The version of a file whose flags name none.
const FIRST_VERSION: &str = "0.1.0";

/// A function that services would take.
pub(super) struct Wanted {
    pub(super) rkey: RecordKey,
    pub(super) draft: Draft,
    /// Where the code is.
    pub(super) file: PathBuf,
    pub(super) code: Vec<u8>,
}

impl Wanted {
    /// Reads and judges all that can be wrong on this side.
    pub(super) async fn read(args: &DeployArgs, subject: &Subject) -> Result<Wanted, CliError> {
        let project = match subject {
            Subject::Project(project) => Some(project.as_ref()),
            Subject::File(_) => None,
        };
        let manifest = project.map(|project| &project.manifest);
        let Some(name) = args.name.as_ref().or(manifest.map(|manifest| &manifest.name)) else {
            let why = format!("give the function's name, or deploy a project (a folder with {MANIFEST})");
            return Err(CliError::setting("--name", why));
        };
        let rkey = match (&args.rkey, &args.name, manifest) {
            (Some(rkey), ..) => rkey.clone(),
            (None, None, Some(manifest)) => manifest.rkey.clone(),
            _ => record::record_key(name).map_err(|why| CliError::setting("--name", why))?,
        };
        let (file, code) = code(subject, args.no_build).await?;
        let mode = args.mode.or(manifest.and_then(|manifest| manifest.mode));
        let mode = mode.unwrap_or_else(|| wasm::likely_mode(&code));
        let draft = draft(args, project, name, mode).await?;
        judge(&file, &code, &draft)?;
        Ok(Wanted { rkey, draft, file, code })
    }
}

/// Reads the code, no further than the largest that can be deployed.
async fn code(subject: &Subject, no_build: bool) -> Result<(PathBuf, Vec<u8>), CliError> {
    match subject {
        Subject::File(file) => Ok((file.clone(), files::read(file, wasm::MAX_CODE_BYTES).await?)),
        Subject::Project(project) if no_build => Ok((project.module(), project.code().await?)),
        Subject::Project(project) => Ok((project.module(), project.code_of_sources().await?)),
    }
}

async fn draft(
    args: &DeployArgs,
    project: Option<&Project>,
    name: &str,
    mode: Mode,
) -> Result<Draft, CliError> {
    let manifest = project.map(|project| &project.manifest);
    if args.allow.len() > MAX_SCOPES {
        let why = format!("given {} times, a service considers {MAX_SCOPES} entries", args.allow.len());
        return Err(CliError::setting("--allow", why));
    }
    let given = (args.allow_none || !args.allow.is_empty()).then(|| args.allow.clone());
    let [input_schema, output_schema] = schemas(args, project).read().await?;
    let strict_output = args.strict_output || manifest.is_some_and(|manifest| manifest.strict_output);
    if strict_output && output_schema.is_none() {
        return Err(CliError::setting("--strict-output", "give the schema too, with --output-schema"));
    }
    let version = args.version.clone().or(manifest.map(|manifest| manifest.version.clone()));
    Ok(Draft {
        name: name.to_owned(),
        version: version.unwrap_or_else(|| FIRST_VERSION.to_owned()),
        description: args.description.clone().or(manifest.and_then(|manifest| manifest.description.clone())),
        mode,
        max_memory_mb: args.limits.memory_mb(manifest),
        max_duration_ms: args.limits.duration_ms(manifest),
        public: !args.private && manifest.is_none_or(|manifest| manifest.public),
        allowed_hosts: given.or(manifest.and_then(|manifest| manifest.allowed_hosts.clone())),
        input_schema: input_schema.map(|given| given.json),
        output_schema: output_schema.map(|given| given.json),
        strict_output,
    })
}

fn schemas(args: &DeployArgs, project: Option<&Project>) -> SchemaArgs {
    let of_project = project.map(Project::schemas);
    let [input, output] = match of_project {
        Some(SchemaArgs { input_schema, output_schema }) => [input_schema, output_schema],
        None => [None, None],
    };
    SchemaArgs {
        input_schema: args.schemas.input_schema.clone().or(input),
        output_schema: args.schemas.output_schema.clone().or(output),
    }
}

/// Judges the code as a service would.
fn judge(file: &std::path::Path, code: &[u8], draft: &Draft) -> Result<(), CliError> {
    let admitted =
        wasm::check(code, draft.mode).map_err(|why| CliError::setting(file.display().to_string(), why))?;
    let needed = admitted.initial_bytes.div_ceil(1 << 20);
    if needed > u64::from(draft.max_memory_mb) {
        let why = format!("the module starts with {needed} MiB of memory, so no run of it would begin");
        return Err(CliError::setting(format!("--max-memory-mb {}", draft.max_memory_mb), why));
    }
    Ok(())
}
