//! Where guests run: the sandbox that the settings ask for.

use std::sync::Arc;

use super::StartError;
use crate::config::{Config, Isolation};
use crate::sandbox::{Sandbox, ThreadSandbox, ThreadSandboxConfig};

/// Starts the sandbox that the settings ask for. With `--isolation process` that fails where a process
/// cannot be sealed: a wall that is not there must not be counted on.
pub async fn sandbox(config: &Config) -> Result<Arc<dyn Sandbox>, StartError> {
    match config.isolation {
        Isolation::Thread => threads(config),
        #[cfg(target_os = "linux")]
        Isolation::Process => {
            use crate::workers::process::{ProcessSandbox, ProcessSandboxConfig, Program};
            let program = Program::this().map_err(StartError::of)?;
            let size = ProcessSandboxConfig {
                max_workers: config.max_workers,
                threads: config.guest_threads,
                ..ProcessSandboxConfig::default()
            };
            let sandbox = ProcessSandbox::start(size, program).await.map_err(StartError::of)?;
            sandbox.try_every_mode().await.map_err(StartError::of)?;
            Ok(Arc::new(sandbox))
        }
        #[cfg(not(target_os = "linux"))]
        Isolation::Process => Err(StartError::of(
            "--isolation process is built on Linux's walls; here there is --isolation thread",
        )),
    }
}

/// Threads of this process.
pub(super) fn threads(config: &Config) -> Result<Arc<dyn Sandbox>, StartError> {
    let size = ThreadSandboxConfig { threads: config.guest_threads, ..ThreadSandboxConfig::default() };
    let sandbox = ThreadSandbox::start(size).map_err(StartError::of)?;
    Ok(Arc::new(sandbox))
}
