//! What `check` and `build` judge: a file with flags, or a project.

use std::path::PathBuf;

use super::CheckArgs;
use crate::cli::error::CliError;
use crate::cli::files;
use crate::cli::project::{Project, Subject};
use crate::cli::schemas::SchemaArgs;
use crate::cli::wasm;
use crate::lexicon::{FunctionMetadata, Mode};

/// A function, and what is to be judged beside its code.
pub(in crate::cli) struct Asked {
    pub(in crate::cli) file: PathBuf,
    pub(in crate::cli) code: Vec<u8>,
    pub(in crate::cli) mode: Option<Mode>,
    pub(in crate::cli) allow: Vec<String>,
    pub(in crate::cli) schemas: SchemaArgs,
    pub(in crate::cli) words: Words,
}

/// What the author calls what they gave: flags, or keys of the manifest; and the memory that it may use.
pub(in crate::cli) struct Words {
    pub(super) allow: &'static str,
    pub(super) output_schema: &'static str,
    pub(super) memory: &'static str,
    pub(super) memory_mb: u16,
}

impl Asked {
    /// A project's code, with what its manifest says.
    pub(in crate::cli) fn of_project(project: &Project, code: Vec<u8>) -> Asked {
        let manifest = &project.manifest;
        Asked {
            file: project.module(),
            code,
            mode: manifest.mode,
            allow: manifest.allowed_hosts.clone().unwrap_or_default(),
            schemas: project.schemas(),
            words: Words {
                allow: "allowed-hosts",
                output_schema: "output-schema",
                memory: "raise max-memory-mb to",
                memory_mb: manifest.max_memory_mb,
            },
        }
    }

    /// What is asked, of a file or a project; a flag counts more than the manifest.
    pub(super) async fn by(args: CheckArgs) -> Result<Asked, CliError> {
        match Subject::at(args.file.as_deref())? {
            Subject::File(file) => Ok(Asked {
                code: files::read(&file, wasm::MAX_CODE_BYTES).await?,
                file,
                mode: args.mode,
                allow: args.allow,
                schemas: args.schemas,
                words: Words {
                    allow: "--allow",
                    output_schema: "--output-schema",
                    memory: "deploy and run it with --max-memory-mb",
                    memory_mb: FunctionMetadata::DEFAULT_MEMORY_MB,
                },
            }),
            Subject::Project(project) => {
                let said = Asked::of_project(&project, project.code().await?);
                Ok(Asked {
                    mode: args.mode.or(said.mode),
                    allow: if args.allow.is_empty() { said.allow } else { args.allow },
                    schemas: args.schemas.or(said.schemas),
                    ..said
                })
            }
        }
    }
}
