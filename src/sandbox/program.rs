//! A compiled function, in whatever mode.

use bytes::Bytes;
use wasmtime::{Engine, Linker, Module, Store};

use super::admission::Refusal;
use super::component::{self, Component};
use super::cstr::Cstr;
use super::guest::{Ended, Guest};
use super::meter::Parts;
use super::pointer::{self, Pointer};
use super::wasi::{self, Wasi};
use super::{Failure, Limits, Mode, Outcome, json};

/// What the modes offer their guests. Made once an engine.
pub(super) struct Linkers {
    none: Linker<Guest>,
    host: Linker<Guest>,
    wasi: Linker<Guest>,
    component: wasmtime::component::Linker<Guest>,
}

impl Linkers {
    /// Fails only where the machine has no memory for it.
    pub(super) fn new(engine: &Engine) -> wasmtime::Result<Linkers> {
        let mut linkers = Linkers {
            none: Linker::new(engine),
            host: Linker::new(engine),
            wasi: Linker::new(engine),
            component: wasmtime::component::Linker::new(engine),
        };
        pointer::link(&mut linkers.host)?;
        wasi::link(&mut linkers.wasi)?;
        component::link(&mut linkers.component)?;
        Ok(linkers)
    }
}

/// A compiled function, linked to what its mode offers.
pub(super) enum Program {
    Component(Component),
    Pointer(Pointer),
    Cstr(Cstr),
    Wasi(Wasi),
}

impl Program {
    /// Links a core module that admission let in for `mode`. `None` if it does not fit after all.
    pub(super) fn core(linkers: &Linkers, mode: Mode, module: &Module) -> Option<Program> {
        match mode {
            Mode::PureV1 => Pointer::new(&linkers.none, module).map(Program::Pointer),
            Mode::HostV1 => Pointer::new(&linkers.host, module).map(Program::Pointer),
            Mode::CstrV1 => Cstr::new(&linkers.none, module).map(Program::Cstr),
            Mode::WasiV1 => Wasi::new(&linkers.wasi, module).map(Program::Wasi),
            Mode::ComponentV1 => None,
        }
    }

    /// Links a component that admission let in.
    pub(super) fn component(
        linkers: &Linkers,
        component: &wasmtime::component::Component,
    ) -> Result<Program, Refusal> {
        Component::new(&linkers.component, component).map(Program::Component)
    }

    /// What an instance may be made of.
    pub(super) fn parts(&self) -> Parts {
        match self {
            Program::Component(_) => Parts::COMPONENT,
            Program::Pointer(_) | Program::Cstr(_) | Program::Wasi(_) => Parts::CORE,
        }
    }

    /// Runs an instance from its start to its output.
    pub(super) async fn run(&self, store: &mut Store<Guest>, input: &[u8]) -> Result<Output, Ended> {
        match self {
            Program::Component(component) => component.run(store, input).await,
            Program::Pointer(pointer) => pointer.run(store, input).await,
            Program::Cstr(cstr) => cstr.run(store, input).await,
            Program::Wasi(wasi) => wasi.run(store, input).await,
        }
    }
}

/// What a guest handed out.
#[derive(Debug)]
pub(super) struct Output {
    /// One JSON value.
    pub(super) value: Bytes,
    /// The length of what the guest wrote, whitespace around it included.
    pub(super) bytes: u64,
}

impl Output {
    /// Takes what a guest wrote, if it is one JSON value and not too long.
    pub(super) fn json(bytes: &[u8], limits: &Limits) -> Result<Output, Failure> {
        if bytes.len() > limits.output_bytes {
            let message =
                format!("the output has {} bytes; at most {} are allowed", bytes.len(), limits.output_bytes);
            return Err(Failure::new(Outcome::OutputTooLarge, message));
        }
        let value = json::one_value(bytes)
            .map_err(|error| Failure::new(Outcome::OutputInvalid, error.to_string()))?;
        Ok(Output { value: Bytes::copy_from_slice(value), bytes: bytes.len() as u64 })
    }
}
