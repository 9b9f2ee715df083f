//! What is run, and what is said of it by flags or, where there are none, by its project.

use std::path::PathBuf;

use super::RunArgs;
use crate::cli::error::CliError;
use crate::cli::project::{Manifest, Subject};
use crate::cli::schemas::SchemaArgs;

/// A file or a project's module, and what is not taken from it.
pub(super) struct Asked<'a> {
    pub(super) file: PathBuf,
    pub(super) manifest: Option<&'a Manifest>,
    /// Absent: any public repo.
    pub(super) allow: Option<Vec<String>>,
    pub(super) schemas: SchemaArgs,
}

impl Asked<'_> {
    pub(super) fn of<'a>(args: &RunArgs, subject: &'a Subject) -> Result<Asked<'a>, CliError> {
        let given = SchemaArgs {
            input_schema: args.schemas.input_schema.clone(),
            output_schema: args.schemas.output_schema.clone(),
        };
        match subject {
            Subject::File(_) if args.strict_output && given.output_schema.is_none() => {
                let why = "there is no schema to be strict about: give --output-schema";
                Err(CliError::setting("--strict-output", why))
            }
            Subject::File(file) => Ok(Asked {
                file: file.clone(),
                manifest: None,
                // Without entries, nothing.
                allow: Some(args.allow.clone()),
                schemas: given,
            }),
            Subject::Project(project) => Ok(Asked {
                file: project.module(),
                manifest: Some(&project.manifest),
                allow: match args.allow.is_empty() {
                    true => project.manifest.allowed_hosts.clone(),
                    false => Some(args.allow.clone()),
                },
                schemas: given.or(project.schemas()),
            }),
        }
    }
}
