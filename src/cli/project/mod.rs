//! A function's project: a folder with an `at-functions.toml`.
//!
//! In: a path, or the current directory. Out: what the manifest says, checked; its sources as they are; the module that its build
//! makes, finished. Never: reach the network, or write anything but the finished module.

mod build;
mod due;
mod finish;
mod keys;
mod manifest;
mod sources;
mod toolchain;

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::record::Draft;
use super::schemas::SchemaArgs;
use crate::lexicon::{Mode, RecordKey};

pub(super) use self::build::{BuildArgs, Built};
pub(super) use self::manifest::Manifest;
pub(super) use self::sources::Sources;

/// The file that makes a folder a project.
pub(super) const MANIFEST: &str = "at-functions.toml";

/// Where finished modules are, within the project.
const FINISHED: &str = "dist";

/// A folder with a manifest that was read.
#[derive(Debug)]
pub(super) struct Project {
    /// The folder; the manifest's paths start here. Empty for the current directory.
    pub(super) root: PathBuf,
    pub(super) manifest: Manifest,
}

/// What a command is pointed at.
#[derive(Debug)]
pub(super) enum Subject {
    /// A file, or `-` for stdin.
    File(PathBuf),
    Project(Box<Project>),
}

impl Subject {
    /// The file or project at `path`: a folder or a manifest is a project, all else a file. Without a path, the project
    /// that the current directory is in.
    pub(super) fn at(path: Option<&Path>) -> Result<Subject, CliError> {
        match path {
            Some(path) if !path.is_dir() && !is_manifest(path) => Ok(Subject::File(path.to_owned())),
            path => Project::at(path).map(|project| Subject::Project(Box::new(project))),
        }
    }

    /// The same, where folders without a manifest are no mistake.
    pub(super) fn at_any(path: &Path) -> Result<Subject, CliError> {
        match path.is_dir() && !path.join(MANIFEST).is_file() {
            true => Ok(Subject::File(path.to_owned())),
            false => Subject::at(Some(path)),
        }
    }
}

impl Project {
    /// The project in the folder `path`, or whose manifest `path` is. Without a path, the one of the current directory, or
    /// of the nearest folder above that has one, as Cargo looks for its own.
    pub(super) fn at(path: Option<&Path>) -> Result<Project, CliError> {
        let root = match path {
            None => {
                return Project::enclosing()?.ok_or_else(|| {
                    let why = "there is none here or in a folder above: give the path of a .wasm file or of a project, or make one with `at-functions new DIR`";
                    CliError::setting(MANIFEST, why)
                });
            }
            Some(path) if is_manifest(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
            Some(path) if path.join(MANIFEST).is_file() => path.to_owned(),
            Some(path) => {
                let why = format!("it has no {MANIFEST}: `at-functions new DIR` makes a project");
                return Err(CliError::setting(path.display().to_string(), why));
            }
        };
        Project::read(root)
    }

    /// The project that the current directory is in, if it is in one.
    pub(super) fn enclosing() -> Result<Option<Project>, CliError> {
        let here = std::env::current_dir().map_err(|source| file_error(Path::new("."), source))?;
        enclosing(&here).map(|root| Project::read(near(&here, root))).transpose()
    }

    fn read(root: PathBuf) -> Result<Project, CliError> {
        let path = root.join(MANIFEST);
        let text = std::fs::read_to_string(&path).map_err(|source| file_error(&path, source))?;
        let manifest = Manifest::parse(&text).map_err(|fault| {
            let what = match fault.line {
                Some(line) => format!("{}, line {line}", path.display()),
                None => path.display().to_string(),
            };
            CliError::setting(what, fault.why)
        })?;
        Ok(Project { root, manifest })
    }

    /// The folder, as something that can be opened.
    fn folder(&self) -> &Path {
        if self.root.as_os_str().is_empty() { Path::new(".") } else { &self.root }
    }

    /// The module as `at-functions build` leaves it behind, ready to be run and deployed.
    pub(super) fn module(&self) -> PathBuf {
        self.root.join(FINISHED).join(format!("{}.wasm", self.manifest.rkey))
    }

    /// The record that the manifest describes, with the schemas read from their files.
    pub(super) async fn draft(&self, mode: Mode) -> Result<Draft, CliError> {
        let [input_schema, output_schema] = self.schemas().read().await?;
        let manifest = &self.manifest;
        Ok(Draft {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            description: manifest.description.clone(),
            mode,
            max_memory_mb: manifest.max_memory_mb,
            max_duration_ms: manifest.max_duration_ms,
            public: manifest.public,
            allowed_hosts: manifest.allowed_hosts.clone(),
            input_schema: input_schema.map(|given| given.json),
            output_schema: output_schema.map(|given| given.json),
            strict_output: manifest.strict_output,
        })
    }

    /// The key of the function's record.
    pub(super) fn rkey(&self) -> &RecordKey {
        &self.manifest.rkey
    }

    /// The files of the schemas, as the flags `--input-schema` and `--output-schema` would name them.
    pub(super) fn schemas(&self) -> SchemaArgs {
        let path = |file: &Option<PathBuf>| file.as_ref().map(|file| self.root.join(file));
        SchemaArgs {
            input_schema: path(&self.manifest.input_schema),
            output_schema: path(&self.manifest.output_schema),
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == MANIFEST)
}

/// The nearest folder with a manifest, of `start` and those above it.
fn enclosing(start: &Path) -> Option<&Path> {
    start.ancestors().find(|folder| folder.join(MANIFEST).is_file())
}

/// A folder as people would write it: nothing for the one that they are in.
fn near(here: &Path, folder: &Path) -> PathBuf {
    if folder == here { PathBuf::new() } else { folder.to_owned() }
}

fn file_error(path: &Path, source: std::io::Error) -> CliError {
    CliError::File { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "name = \"words\"\nversion = \"0.1.0\"\n[build]\nmodule = \"out/words.wasm\"\n";

    fn told(result: Result<Subject, CliError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_folder_and_its_manifest_are_the_same_project() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join(MANIFEST);
        std::fs::write(&manifest, LEAST).unwrap();
        for path in [dir.path(), manifest.as_path()] {
            let Subject::Project(project) = Subject::at(Some(path)).unwrap() else { panic!("a project") };
            assert_eq!(project.module(), dir.path().join("dist/words.wasm"));
            assert_eq!(project.rkey().as_str(), "words");
        }
        for path in [dir.path().join("x.wasm"), PathBuf::from("-")] {
            assert!(matches!(Subject::at(Some(&path)).unwrap(), Subject::File(file) if file == path));
        }
    }

    #[test]
    fn the_nearest_folder_with_a_manifest_counts() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("src/deep");
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(enclosing(&deep), None);
        std::fs::write(dir.path().join(MANIFEST), LEAST).unwrap();
        assert_eq!(enclosing(&deep), Some(dir.path()));
        std::fs::write(dir.path().join("src").join(MANIFEST), LEAST).unwrap();
        assert_eq!(enclosing(&deep), Some(dir.path().join("src").as_path()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        assert_eq!(
            told(Subject::at(Some(dir.path()))),
            format!("{root}: it has no at-functions.toml: `at-functions new DIR` makes a project")
        );
        std::fs::write(dir.path().join(MANIFEST), LEAST.replace("version", "versoin")).unwrap();
        let told = told(Subject::at(Some(dir.path())));
        assert!(
            told.starts_with(&format!(
                "{root}/at-functions.toml, line 2: there is no key `versoin`: did you mean `version`?"
            )),
            "{told}"
        );
    }
}
