//! A compiled function, in whatever mode.

use wasmtime::{Engine, Module, Store};

use super::guest::{Control, Ended, Guest};
use super::pointer::{Output, Pointer};
use super::{Limits, Mode};

/// A compiled function, linked to what its mode offers.
pub(super) enum Program {
    Pointer(Pointer),
}

impl Program {
    /// Links a core module that admission let in for `mode`. `None` if it does not fit after all.
    pub(super) fn core(engine: &Engine, mode: Mode, module: &Module) -> Option<Program> {
        match mode {
            Mode::PureV1 => Pointer::new(engine, module).map(Program::Pointer),
            Mode::HostV1 | Mode::ComponentV1 | Mode::WasiV1 | Mode::CstrV1 => None,
        }
    }

    /// Runs an instance from its start to its output.
    pub(super) async fn run(
        &self,
        store: &mut Store<Guest>,
        input: &[u8],
        limits: &Limits,
        control: &Control,
    ) -> Result<Output, Ended> {
        match self {
            Program::Pointer(pointer) => pointer.run(store, input, limits, control).await,
        }
    }
}
