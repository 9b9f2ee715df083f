//! The sandbox of a service, for one file on this machine: `check` and `run`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::error::CliError;
use super::output;
use crate::lexicon::Mode;
use crate::sandbox::{
    Artifact, CompileError, Completion, Job, Lease, Refusal, Sandbox as _, ThreadSandbox, ThreadSandboxConfig,
};

/// A compile that takes longer than this is told of to people who watch.
const PATIENCE: Duration = Duration::from_secs(1);

/// A sandbox for one guest at a time.
pub(super) struct Local(Arc<ThreadSandbox>);

/// What the compiler made of a file.
pub(super) struct Compiled {
    pub(super) artifact: Artifact,
    pub(super) took: Duration,
}

impl Local {
    pub(super) fn start() -> Result<Local, CliError> {
        let config = ThreadSandboxConfig { threads: 1, compile_threads: 1, slots: 1 };
        ThreadSandbox::start(config).map(|sandbox| Local(Arc::new(sandbox))).map_err(failed)
    }

    /// Compiles a file as a service does; the inner error is what a service would refuse it for.
    pub(super) async fn compile(
        &self,
        file: &Path,
        mode: Mode,
        code: Bytes,
    ) -> Result<Result<Compiled, Refusal>, CliError> {
        let started = Instant::now();
        let mut compiling = self.0.compile(mode, code);
        let compiled = match tokio::time::timeout(PATIENCE, &mut compiling).await {
            Ok(compiled) => compiled,
            Err(_) => {
                output::progress(&format!("compiling {} ...", file.display()));
                compiling.await
            }
        };
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(CompileError::Refused(refusal)) => return Ok(Err(refusal)),
            Err(error) => return Err(failed(error)),
        };
        let sandbox = Arc::clone(&self.0);
        let installing = tokio::task::spawn_blocking(move || sandbox.install(&compiled));
        let artifact = installing.await.map_err(failed)?.map_err(failed)?;
        Ok(Ok(Compiled { artifact, took: started.elapsed() }))
    }

    pub(super) async fn run(&self, job: Job) -> Result<Completion, CliError> {
        self.0.run(job, Lease::none()).await.map_err(failed)
    }
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Sandbox(error.to_string())
}
