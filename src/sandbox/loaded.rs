//! What an artifact of a thread's sandbox holds: native code, ready to be made instances of.

use std::time::Duration;

use wasmtime::Engine;

use super::compile::Compiled;
use super::program::{Linkers, Program};
use super::{Completion, InstallError, Job, Logs, Usage, deserialize, guest};

/// A function that can be run.
pub(super) struct Loaded {
    program: Program,
    initial_bytes: u64,
}

impl Loaded {
    /// Loads what was compiled.
    pub(super) fn of(
        engine: &Engine,
        linkers: &Linkers,
        compiled: &Compiled,
    ) -> Result<Loaded, InstallError> {
        let (mode, initial_bytes) = (compiled.mode(), compiled.initial_bytes());
        let misfit = || InstallError::Foreign(format!("it does not fit mode {mode}"));
        // The image of a memory is made here rather than in the first run's time.
        let program = if mode.is_component() {
            let component = deserialize::component(engine, compiled).map_err(failed)?;
            component.initialize_copy_on_write_image().map_err(no_image)?;
            Program::component(linkers, &component).map_err(|_| misfit())?
        } else {
            let module = deserialize::module(engine, compiled).map_err(failed)?;
            module.initialize_copy_on_write_image().map_err(no_image)?;
            Program::core(linkers, mode, &module).ok_or_else(misfit)?
        };
        Ok(Loaded { program, initial_bytes })
    }

    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    /// A function that starts with more memory than its record allows does not start at all.
    pub(super) fn too_large_to_start(&self, job: &Job) -> Option<Completion> {
        (self.initial_bytes > job.limits.memory_bytes).then(|| Completion {
            result: Err(guest::memory_exceeded(
                &job.limits,
                &format!("it starts with {} KiB", self.initial_bytes.div_ceil(1024)),
            )),
            wall: Duration::ZERO,
            usage: Usage { input_bytes: job.input.len() as u64, ..Usage::default() },
            logs: Logs::default(),
        })
    }
}

fn failed(error: wasmtime::Error) -> InstallError {
    match guest::is_the_machines(&error) {
        true => InstallError::Machine(error.to_string()),
        false => InstallError::Foreign(error.root_cause().to_string()),
    }
}

fn no_image(error: wasmtime::Error) -> InstallError {
    InstallError::Machine(error.to_string())
}
