//! Whether a project's module is what its sources say, and building it where it is not.

use std::path::PathBuf;

use super::super::error::CliError;
use super::super::files;
use super::super::output::{self, printable};
use super::super::wasm;
use super::{BuildArgs, MANIFEST, Project, Sources, file_error};

/// Why a build is due.
pub(super) enum Due {
    /// There is no module.
    Missing,
    /// A source that is newer than the module.
    Newer(PathBuf),
}

impl Project {
    /// Why the module has to be built, if it has to be.
    pub(super) fn due(&self) -> Result<Option<Due>, CliError> {
        let module = self.module();
        match std::fs::metadata(&module).and_then(|file| file.modified()) {
            Ok(built) => Ok(Sources::of(self).newer_than(built).map(|newer| Due::Newer(newer.to_owned()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(Due::Missing)),
            Err(source) => Err(file_error(&module, source)),
        }
    }

    /// The bytes of the finished module; says so if there is none, and if sources are newer.
    pub(in crate::cli) async fn code(&self) -> Result<Vec<u8>, CliError> {
        match self.due()? {
            Some(Due::Missing) => {
                let what = self.root.join(MANIFEST).display().to_string();
                let why = "the project is not built yet: `at-functions build` does it";
                return Err(CliError::setting(what, why));
            }
            Some(Due::Newer(newer)) => output::note(&format!(
                "note: {} is newer than the module: `at-functions build` builds it again",
                printable(&newer.display().to_string())
            )),
            None => {}
        }
        files::read(&self.module(), wasm::MAX_CODE_BYTES).await
    }

    /// The same, built first where that is due. What the sources say is deployed, not what they said.
    pub(in crate::cli) async fn code_of_sources(&self) -> Result<Vec<u8>, CliError> {
        let why = match self.due()? {
            None => return self.code().await,
            Some(Due::Missing) => "it is not built yet".to_owned(),
            Some(Due::Newer(newer)) => {
                format!("{} is newer than the module", printable(&newer.display().to_string()))
            }
        };
        output::note(&format!("{why}: building first (--no-build leaves it)"));
        let built = self.build(BuildArgs::default()).await?;
        let (size, seconds) = (output::size(built.code.len() as u64), built.took.as_secs_f64());
        output::note(&format!(
            "built {} ({size}) in {seconds:.1} s",
            printable(&self.module().display().to_string())
        ));
        Ok(built.code)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::Manifest;
    use super::*;

    #[tokio::test]
    async fn what_is_missing_or_older_than_its_sources_is_built_first_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let echo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust/echo.wasm");
        // Each build leaves a mark.
        let command = format!("mkdir -p target && echo >> target/builds && cp {echo} target/a.wasm");
        let text = format!(
            "name = \"words\"\nversion = \"1\"\n[build]\ncommand = '''{command}'''\nmodule = \"target/a.wasm\"\n"
        );
        std::fs::write(dir.path().join(MANIFEST), &text).unwrap();
        std::fs::write(dir.path().join("lib.rs"), "x").unwrap();
        let project = Project { root: dir.path().to_owned(), manifest: Manifest::parse(&text).unwrap() };
        let builds = || std::fs::read(dir.path().join("target/builds")).unwrap_or_default().len();

        assert!(matches!(project.due().unwrap(), Some(Due::Missing)));
        let first = project.code_of_sources().await.unwrap();
        assert_eq!((first.as_slice(), builds()), (std::fs::read(project.module()).unwrap().as_slice(), 1));
        // As old as the module, to the tick, is not newer.
        let touch = |name: &str, at: SystemTime| {
            let file = std::fs::File::options().write(true).open(dir.path().join(name)).unwrap();
            file.set_modified(at).unwrap();
        };
        let built = std::fs::metadata(project.module()).unwrap().modified().unwrap();
        touch("lib.rs", built);
        touch(MANIFEST, built);
        assert_eq!(project.code_of_sources().await.unwrap(), first);
        assert_eq!(builds(), 1);
        touch("lib.rs", built + Duration::from_secs(1));
        assert!(matches!(project.due().unwrap(), Some(Due::Newer(path)) if path.ends_with("lib.rs")));
        // Told, not built, where that is not asked for.
        assert_eq!(project.code().await.unwrap(), first);
        assert_eq!(builds(), 1);
        project.code_of_sources().await.unwrap();
        assert_eq!(builds(), 2);
    }

    #[tokio::test]
    async fn a_build_that_fails_gives_no_older_module() {
        let dir = tempfile::tempdir().unwrap();
        let text = "name = \"words\"\nversion = \"1\"\n[build]\ncommand = 'exit 3'\nmodule = \"a.wasm\"\n";
        let project = Project { root: dir.path().to_owned(), manifest: Manifest::parse(text).unwrap() };
        std::fs::create_dir(dir.path().join("dist")).unwrap();
        std::fs::write(project.module(), "older").unwrap();
        let older = std::fs::File::options().write(true).open(project.module()).unwrap();
        older.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        std::fs::write(dir.path().join(MANIFEST), text).unwrap();
        let told = project.code_of_sources().await.unwrap_err().to_string();
        assert_eq!(told, "the build failed (exit code 3): exit 3");
    }
}
