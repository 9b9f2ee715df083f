//! Compiling, apart from loading: from a module's bytes to native code that an engine of the same
//! build loads, here or in another process.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use wasmtime::component::Component;
use wasmtime::{Engine, Module, Precompiled};

use super::admission::{self, Refusal};
use super::program::{Linkers, Program};
use super::{CompileError, StartError, engine, guest};
use crate::lexicon::Mode;

/// Compiled functions are at most this long, ...
pub(crate) const MAX_COMPILED_BYTES: usize = 64 * 1024 * 1024;
/// ... and at most this many times their module, beside what any module takes.
const MAX_COMPILED_RATIO: usize = 16;
const COMPILED_BASE_BYTES: usize = 2 * 1024 * 1024;

/// How long a compiled function may be whose module has so many bytes.
pub(crate) fn most_compiled_bytes(module: usize) -> usize {
    MAX_COMPILED_BYTES.min(module.saturating_mul(MAX_COMPILED_RATIO).saturating_add(COMPILED_BASE_BYTES))
}

/// A function as the compiler left it: native code, and what admission learned of the module. It may
/// be kept and sent; a sandbox loads it ([`super::Sandbox::install`]). Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Compiled {
    mode: Mode,
    initial_bytes: u64,
    code: Bytes,
}

impl Compiled {
    /// Puts together again what was taken apart for the way through a file or a socket.
    ///
    /// The code will be run as it is. Whoever calls this vouches that all three parts are what a
    /// [`Compiler`] of this service made, byte for byte: because a keyed hash says so, or because they
    /// come straight from a process of ours that was sealed before it saw the module.
    pub(crate) fn vouched_for(mode: Mode, initial_bytes: u64, code: Bytes) -> Compiled {
        Compiled { mode, initial_bytes, code }
    }

    /// The mode that the module was judged and compiled for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Memory and table that an instance has before its first instruction.
    pub fn initial_bytes(&self) -> u64 {
        self.initial_bytes
    }

    /// The native code, in the engine's own format.
    pub fn code(&self) -> &Bytes {
        &self.code
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("mode", &self.mode).field("bytes", &self.code.len()).finish()
    }
}

/// Judges and compiles modules. Runs nothing of them.
pub(crate) struct Compiler {
    engine: Engine,
    linkers: Linkers,
}

impl Compiler {
    pub(crate) fn new() -> Result<Compiler, StartError> {
        let engine = engine::for_compiling()?;
        let linkers = Linkers::new(&engine).map_err(|error| StartError::Linking(error.to_string()))?;
        Ok(Compiler { engine, linkers })
    }

    /// What is admitted and compiled also links: a module that passes here fails to load only for
    /// the machine's reasons.
    pub(crate) fn compile(&self, mode: Mode, code: &[u8]) -> Result<Compiled, CompileError> {
        let admitted = admission::admit(mode, code)?;
        let compiled = match mode.is_component() {
            true => self.compile_component(code)?,
            false => self.compile_core(mode, code)?,
        };
        let bytes = compiled.len();
        if bytes > most_compiled_bytes(code.len()) {
            return Err(Refusal::ArtifactTooLarge { bytes }.into());
        }
        Ok(Compiled { mode, initial_bytes: admitted.initial_bytes, code: compiled.into() })
    }

    fn compile_core(&self, mode: Mode, code: &[u8]) -> Result<Vec<u8>, CompileError> {
        let module = Module::from_binary(&self.engine, code).map_err(not_compiled)?;
        Program::core(&self.linkers, mode, &module).ok_or(CompileError::Lost)?;
        module.serialize().map_err(not_compiled)
    }

    fn compile_component(&self, code: &[u8]) -> Result<Vec<u8>, CompileError> {
        let component = Component::from_binary(&self.engine, code).map_err(not_compiled)?;
        Program::component(&self.linkers, &component)?;
        component.serialize().map_err(not_compiled)
    }
}

fn not_compiled(error: wasmtime::Error) -> CompileError {
    if guest::is_the_machines(&error) {
        tracing::error!(%error, "a module could not be compiled");
        return CompileError::Lost;
    }
    CompileError::Refused(Refusal::Compiler { reason: error.root_cause().to_string() })
}

/// Whether compiled code has the form that the engine gives it for its mode. Reads no more than the
/// file's headers: what is in it is for the engine, where it can do no harm.
pub(crate) fn looks_whole(compiled: &Compiled) -> bool {
    match Engine::detect_precompiled(compiled.code()) {
        Some(Precompiled::Module) => !compiled.mode().is_component(),
        Some(Precompiled::Component) => compiled.mode().is_component(),
        None => false,
    }
}

/// A number that differs where compiled code does not fit: another version or another setting of the
/// engine, another processor.
pub(super) fn fingerprint(engine: &Engine) -> u64 {
    // Its keys are fixed, so the number is the same in every process of one build.
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{InstallError, Sandbox, ThreadSandbox, ThreadSandboxConfig};

    #[test]
    fn the_compilers_engine_and_the_pooled_one_have_one_fingerprint() {
        let pooled = engine::build(4).unwrap().engine;
        assert_eq!(fingerprint(&engine::for_compiling().unwrap()), fingerprint(&pooled));
    }

    #[test]
    fn code_that_no_compiler_made_is_not_installed() {
        let sandbox = ThreadSandbox::start(ThreadSandboxConfig { slots: 4, ..Default::default() }).unwrap();
        for code in [&b""[..], b"not native code", b"\0asm\x01\0\0\0"] {
            let compiled = Compiled::vouched_for(Mode::PureV1, 0, Bytes::from_static(code));
            assert!(matches!(sandbox.install(&compiled), Err(InstallError::Foreign(_))), "{code:?}");
        }
    }

    #[test]
    fn what_is_refused_is_not_compiled() {
        let compiler = Compiler::new().unwrap();
        assert_eq!(compiler.compile(Mode::PureV1, b"\x7fELF"), Err(Refusal::NotWasm.into()));
    }
}
