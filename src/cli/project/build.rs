//! A project's build: its own command, then the finish.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use tokio::process::Command;

use super::super::error::CliError;
use super::super::files;
use super::super::output::{self, printable};
use super::super::wasm;
use super::finish::{self, Steps, Wanted};
use super::{MANIFEST, Project, toolchain};

/// What may be asked of a build.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(in crate::cli) struct BuildArgs {
    /// Take the names of functions away too: smaller, but a trap's message names none
    #[arg(long)]
    strip: bool,
    /// Do not use wasm-opt, even if it is there
    #[arg(long)]
    no_optimise: bool,
}

/// What a build made.
#[derive(Debug)]
pub(in crate::cli) struct Built {
    /// The finished module.
    pub(in crate::cli) code: Vec<u8>,
    /// Bytes that the compiler wrote.
    pub(in crate::cli) compiled_bytes: u64,
    pub(in crate::cli) steps: Steps,
    /// How long it all took.
    pub(in crate::cli) took: Duration,
}

impl Project {
    /// Runs the build and writes the finished module. What the command prints goes to stderr as it comes.
    pub(in crate::cli) async fn build(&self, args: BuildArgs) -> Result<Built, CliError> {
        let started = Instant::now();
        if let Some(command) = &self.manifest.build.command {
            self.run(command).await?;
        }
        let compiled = self.root.join(&self.manifest.build.module);
        let code = match files::read(&compiled, wasm::MAX_CODE_BYTES * 4).await {
            Err(CliError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(self.no_module(&compiled));
            }
            code => code?,
        };
        let compiled_bytes = code.len() as u64;
        let wanted = Wanted { strip: args.strip, optimise: !args.no_optimise };
        let finished = finish::finish(code, wanted).await;
        let (code, steps) = finished.map_err(|why| {
            CliError::Build(format!("{}: {why}", printable(&compiled.display().to_string())))
        })?;
        write(&self.module(), &code)?;
        Ok(Built { code, compiled_bytes, steps, took: started.elapsed() })
    }

    async fn run(&self, command: &str) -> Result<(), CliError> {
        output::note(&format!("building {}: {}", self.manifest.name, printable(command)));
        let script = format!("{}{command}", toolchain::stand_in(command).await);
        let cannot = |error| CliError::Build(format!("cannot start the build: {error}"));
        let told = std::io::stderr().as_fd().try_clone_to_owned().map_err(cannot)?;
        let running = Command::new("sh")
            .args(["-c", &script])
            .current_dir(self.folder())
            .stdin(Stdio::null())
            // stdout is for what the command of ours has to say.
            .stdout(Stdio::from(told))
            .kill_on_drop(true)
            .status();
        let status = running.await.map_err(cannot)?;
        if status.success() {
            return Ok(());
        }
        let why = format!("the build failed ({}): {}", ended(status), printable(command));
        Err(CliError::Build(match toolchain::missing(command, self.folder()).await {
            Some(missing) => format!("{why}\n{missing}"),
            None => why,
        }))
    }

    fn no_module(&self, compiled: &Path) -> CliError {
        let module = printable(&compiled.display().to_string());
        let manifest = self.root.join(MANIFEST);
        let manifest = printable(&manifest.display().to_string());
        CliError::Build(match self.manifest.build.command {
            Some(_) => format!(
                "the build left no {module}: write the path that it does write to `module` in {manifest}"
            ),
            None => format!(
                "there is no {module}: put a module there, or the command that builds it to `command` under [build] in {manifest}"
            ),
        })
    }
}

fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => "it was killed".to_owned(),
    }
}

/// Writes a file as a whole: who reads it meanwhile gets the one before.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |error: std::io::Error| {
        CliError::Build(format!("cannot write {}: {error}", printable(&path.display().to_string())))
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::super::Manifest;
    use super::*;
    use crate::lexicon::Mode;

    fn project(root: &Path, command: &str) -> Project {
        let text = format!(
            "name = \"words\"\nversion = \"1\"\n[build]\ncommand = '''{command}'''\nmodule = \"out/a.wasm\"\n"
        );
        Project { root: root.to_owned(), manifest: Manifest::parse(&text).unwrap() }
    }

    #[tokio::test]
    async fn a_build_leaves_the_finished_module_behind() {
        let dir = tempfile::tempdir().unwrap();
        let echo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust/echo.wasm");
        let project = project(dir.path(), &format!("mkdir -p out && cp {echo} out/a.wasm"));
        let built = project.build(BuildArgs { no_optimise: true, ..BuildArgs::default() }).await.unwrap();
        assert_eq!(built.compiled_bytes, std::fs::metadata(echo).unwrap().len());
        assert_eq!(std::fs::read(dir.path().join("dist/words.wasm")).unwrap(), built.code);
        assert!(wasm::check(&built.code, Mode::PureV1).is_ok());
        assert_eq!(project.code().await.unwrap(), built.code);
    }

    #[tokio::test]
    async fn a_build_that_fails_says_how_and_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let told = async |command: &str| {
            let error = project(dir.path(), command).build(BuildArgs::default()).await.unwrap_err();
            error.to_string()
        };
        assert_eq!(told("exit 3").await, "the build failed (exit code 3): exit 3");
        let missing = "cargo build --target wasm64-unknown-unknown --manifest-path absent/Cargo.toml";
        assert!(told(missing).await.ends_with("`rustup target add wasm64-unknown-unknown` installs it"));
        let none = told("true").await;
        assert!(none.starts_with("the build left no ") && none.contains("at-functions.toml"), "{none}");
    }
}
