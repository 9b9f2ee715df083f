//! The ABI of `wasi-v1`: a WASI preview 1 command that reads JSON from stdin and writes JSON to stdout.
//!
//! All of preview 1 is there, since start-up code of toolchains imports what it likes, and nothing is
//! behind it: no files, no arguments, no environment, no sockets. Both clocks stand still at the run's
//! start. Random bytes are real, up to a bound. What is written to stderr is the log.
//!
//! `state` is what a command has of the world, `functions` what it can call, `descriptors` the three
//! that are open, `poll` how it waits, `abi` how numbers and addresses look in its memory.

mod abi;
mod descriptors;
mod functions;
mod poll;
mod state;
mod stderr;

use wasmtime::{InstancePre, Linker, Module, ModuleExport, Store};

use super::guest::{Ended, Guest};
use super::program::Output;
use super::{Failure, Outcome};

pub(super) use functions::link;
pub(super) use state::State;

/// A compiled command, linked to all of preview 1.
pub(super) struct Wasi {
    pre: InstancePre<Guest>,
    start: ModuleExport,
}

/// A command's own end: it called `proc_exit`.
#[derive(Debug, thiserror::Error)]
#[error("the function exited with code {0}")]
struct Exit(i32);

impl Wasi {
    /// `None` if an import is not of preview 1 or `_start` is not there; admission has seen to it that
    /// they are.
    pub(super) fn new(linker: &Linker<Guest>, module: &Module) -> Option<Wasi> {
        Some(Wasi { pre: linker.instantiate_pre(module).ok()?, start: module.get_export_index("_start")? })
    }

    /// Runs an instance from its start function to its end.
    pub(super) async fn run(&self, store: &mut Store<Guest>, input: &[u8]) -> Result<Output, Ended> {
        let guest = store.data_mut();
        guest.wasi = State::new(input, guest.limits.output_bytes, guest.host.context().started);
        let result = self.start(store).await;
        let Guest { wasi, host, .. } = store.data_mut();
        wasi.stderr.finish(host);
        let exit = match result {
            Ok(()) => 0,
            Err(error) => match error.downcast_ref() {
                Some(Exit(code)) => *code,
                None => {
                    let guest = store.data();
                    return Err(match guest.ended(&error) {
                        Ended::Failed(failure) if failure.outcome == Outcome::Trap => {
                            let last_words = guest.wasi.stderr.last_words();
                            Failure::new(Outcome::Trap, failure.message + &last_words).into()
                        }
                        other => other,
                    });
                }
            },
        };
        let Guest { wasi: State { stdout, stderr, .. }, limits, .. } = store.data();
        if exit != 0 {
            let message = Exit(exit).to_string() + &stderr.last_words();
            return Err(Failure::new(Outcome::GuestError, message).into());
        }
        Ok(Output::json(stdout, limits)?)
    }

    async fn start(&self, store: &mut Store<Guest>) -> wasmtime::Result<()> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        // Admission checked name and type, so this does not fail.
        let start = instance.get_module_export(&mut *store, &self.start);
        let start = start.and_then(|export| export.into_func());
        let start =
            start.ok_or_else(|| wasmtime::Error::msg("an export is gone"))?.typed::<(), ()>(&*store)?;
        start.call_async(&mut *store, ()).await
    }
}
