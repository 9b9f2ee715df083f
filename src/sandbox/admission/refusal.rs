//! Why a module is not compiled.

use wasmparser::WasmFeatures;

use super::imports::{HOST, HOST_MODULES};
use super::{Bound, ExportKind, MAX_MODULE_BYTES};
use crate::lexicon::Mode;

/// Why a module is refused, in words for its author. The same bytes are refused the same way at any
/// time, so refusals may be remembered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The compiled code is out of proportion to the module.
    #[error("the module compiles to {bytes} bytes, which is too much for its size")]
    ArtifactTooLarge {
        /// The length of the artifact.
        bytes: usize,
    },
    /// The compiler refused what admission let through.
    #[error("the module cannot be compiled: {reason}")]
    Compiler {
        /// What the compiler says.
        reason: String,
    },
    /// A component, where the mode takes a core module.
    #[error(
        "this is a component; mode {mode} takes a core module (publish it as component-v1, or build for {} without \
         wrapping it into a component)",
        target(*mode)
    )]
    Component {
        /// The mode.
        mode: Mode,
    },
    /// An import of a component that is not offered.
    #[error("the component imports `{import}`, which is not offered: {advice}")]
    ComponentImport {
        /// The name, with anything unprintable escaped, cut to a readable length.
        import: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// A core module, where the mode takes a component.
    #[error(
        "this is a core module; mode component-v1 takes a component ({}wrap it into one: `wasm-tools component new`)",
        likely.map(|mode| format!("publish it as {mode}, or ")).unwrap_or_default()
    )]
    CoreModule {
        /// The mode that its imports and exports speak for.
        likely: Option<Mode>,
    },
    /// An instruction or type of a part of WebAssembly that is switched off.
    #[error("the module uses {name}, which is not supported: {reason} at byte {offset}{}", hint(.flag))]
    Feature {
        /// The proposal's name.
        name: &'static str,
        /// The `-C target-feature` of compilers that switches it off, where there is one.
        flag: Option<&'static str>,
        /// What the validator says.
        reason: String,
        /// Where in the module.
        offset: usize,
    },
    /// A component instantiates a module or component that it is handed, so that nobody can tell how
    /// large it becomes.
    #[error(
        "the component instantiates what it is handed by others; compose it with what it needs, by definition"
    )]
    HandedIn,
    /// An import that the mode does not have.
    #[error("the module imports {kind} `{import}`, which mode {mode} does not have{}", import_hint(*.mode, .import))]
    Import {
        /// The mode.
        mode: Mode,
        /// `MODULE.NAME`, with anything unprintable escaped, cut to a readable length.
        import: String,
        /// What is imported.
        kind: &'static str,
    },
    /// An import that the mode has, of another type.
    #[error("the module imports `{import}` as {found}, but it is {expected}")]
    ImportType {
        /// `MODULE.NAME`.
        import: String,
        /// What the mode offers.
        expected: ExportKind,
        /// What the module asks for.
        found: String,
    },
    /// The bytes do not make a module.
    #[error("the module is damaged: {reason} at byte {offset}")]
    Malformed {
        /// What the validator says.
        reason: String,
        /// Where in the module.
        offset: usize,
    },
    /// An export of the ABI is not there.
    #[error("the module does not export `{name}`, which must be {expected}{}", likely_hint(*.likely))]
    MissingExport {
        /// The export.
        name: &'static str,
        /// What it must be.
        expected: ExportKind,
        /// Another mode, if its imports and exports speak for that.
        likely: Option<Mode>,
    },
    /// A component does not export `run`.
    #[error("the component does not export `run`, which must be {RUN}")]
    MissingRun,
    /// Not WebAssembly at all.
    #[error("this is not WebAssembly (it does not start with the bytes 00 61 73 6d)")]
    NotWasm,
    /// Longer than a module may be.
    #[error("the module has {bytes} bytes; at most {MAX_MODULE_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The compiler took more processor time than a module may cost.
    #[error("the module takes too long to compile")]
    TooSlow,
    /// More of something than a module may have.
    #[error("the module has {found} {bound}; at most {} are allowed", bound.limit())]
    TooMuch {
        /// Of what.
        bound: Bound,
        /// How much was found before counting stopped.
        found: usize,
    },
    /// What a component imports or exports has other types than what is offered under its name.
    #[error("the component does not fit its host: {reason}")]
    Unlinkable {
        /// What the engine says.
        reason: String,
    },
    /// A version of the binary format that does not exist, or a header that is cut off.
    #[error("this is WebAssembly of an unknown version (a core module starts with 00 61 73 6d 01 00 00 00)")]
    Version,
    /// An export of the ABI is something else.
    #[error("the module's export `{name}` must be {expected}, but is {found}")]
    WrongExport {
        /// The export.
        name: &'static str,
        /// What it must be.
        expected: ExportKind,
        /// What it is.
        found: String,
    },
    /// A component's export `run` is something else.
    #[error("the component's export `run` must be {RUN}, and not in an interface")]
    WrongRun,
}

/// The export of a component, in WIT.
const RUN: &str = "`func(input-json: string) -> result<string, string>`";

impl Refusal {
    pub(super) fn component_import(name: &str, advice: &'static str) -> Refusal {
        Refusal::ComponentImport { import: shown(name), advice }
    }

    /// `reason` is the engine's, and may quote the component.
    pub(in crate::sandbox) fn unlinkable(reason: &str) -> Refusal {
        const LONGEST: usize = 500;
        let reason = reason.chars().take(LONGEST).flat_map(|char| match char {
            '\n' | '`' => char::escape_debug(' '),
            char => char::escape_debug(char),
        });
        Refusal::Unlinkable { reason: reason.collect() }
    }

    pub(super) fn import(mode: Mode, module: &str, name: &str, kind: &'static str) -> Refusal {
        Refusal::Import { mode, import: format!("{}.{}", shown(module), shown(name)), kind }
    }

    pub(super) fn import_type(module: &str, name: &str, expected: ExportKind, found: String) -> Refusal {
        Refusal::ImportType { import: format!("{}.{}", shown(module), shown(name)), expected, found }
    }

    /// Adds what the module looks like, where a refusal by `mode` has room for it.
    pub(super) fn with_likely(mut self, mode: Mode, find: impl FnOnce() -> Option<Mode>) -> Refusal {
        if let Refusal::MissingExport { likely, .. } = &mut self {
            *likely = find().filter(|found| *found != mode);
        }
        self
    }
}

impl From<wasmparser::Error> for Refusal {
    fn from(error: wasmparser::Error) -> Refusal {
        let reason = shown(error.message());
        let offset = error.offset();
        match error.missing_wasm_feature().and_then(proposal) {
            Some((name, flag)) => Refusal::Feature { name, flag, reason, offset },
            // The validator has no flag for these, only words.
            None if reason.contains("the component model") => {
                Refusal::Feature { name: "a newer part of the component model", flag: None, reason, offset }
            }
            None => Refusal::Malformed { reason, offset },
        }
    }
}

/// A text of the module's, fit to stand in a message.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    text.chars().take(LONGEST).flat_map(char::escape_debug).collect()
}

/// The name of a proposal, and the flag of LLVM's targets that switches it off.
fn proposal(missing: WasmFeatures) -> Option<(&'static str, Option<&'static str>)> {
    const PROPOSALS: [(WasmFeatures, &str, Option<&str>); 17] = [
        (WasmFeatures::CUSTOM_DESCRIPTORS, "custom descriptors", None),
        (WasmFeatures::COMPACT_IMPORTS, "compact imports", None),
        (WasmFeatures::COMPONENT_MODEL, "the component model", None),
        (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes", None),
        (WasmFeatures::EXCEPTIONS, "exception handling", Some("exception-handling")),
        (WasmFeatures::FUNCTION_REFERENCES, "typed function references", None),
        (WasmFeatures::GC, "garbage collection", Some("gc")),
        (WasmFeatures::GC_TYPES, "references to host values", None),
        (WasmFeatures::LEGACY_EXCEPTIONS, "legacy exception handling", Some("exception-handling")),
        (WasmFeatures::MEMORY64, "64-bit memories", None),
        (WasmFeatures::MULTI_MEMORY, "more than one memory", Some("multimemory")),
        (WasmFeatures::RELAXED_SIMD, "relaxed SIMD", Some("relaxed-simd")),
        (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared-everything threads", None),
        (WasmFeatures::STACK_SWITCHING, "stack switching", None),
        (WasmFeatures::TAIL_CALL, "tail calls", Some("tail-call")),
        (WasmFeatures::THREADS, "threads", Some("atomics")),
        (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic", Some("wide-arithmetic")),
    ];
    PROPOSALS
        .into_iter()
        .find(|(feature, ..)| missing.intersects(*feature))
        .map(|(_, name, flag)| (name, flag))
}

fn hint(flag: &Option<&'static str>) -> String {
    flag.map(|flag| format!(" (compile with -C target-feature=-{flag})")).unwrap_or_default()
}

fn likely_hint(likely: Option<Mode>) -> String {
    likely.map(|mode| format!(" (it looks as if it were built for mode {mode})")).unwrap_or_default()
}

/// The target of compilers that build for a mode of core modules.
fn target(mode: Mode) -> &'static str {
    if mode == Mode::WasiV1 { "wasm32-wasip1" } else { "wasm32-unknown-unknown" }
}

fn import_hint(mode: Mode, import: &str) -> String {
    let (module, name) = import.split_once('.').unwrap_or((import, ""));
    let is_host_call = HOST.iter().any(|function| function.name == name);
    match module {
        "wasi_snapshot_preview1" if mode == Mode::WasiV1 => {
            " (it has the functions of WASI preview 1)".into()
        }
        "wasi_snapshot_preview1" => {
            format!(" (publish it as wasi-v1 if it is a command, or build for {})", target(mode))
        }
        module if module.starts_with("wasi") => {
            format!(" (build for {}: this is another version of WASI)", target(mode))
        }
        module if HOST_MODULES.contains(&module) && is_host_call => {
            " (publish it as host-v1; only that mode of core modules has host calls)".into()
        }
        "env" if name == "memory" => " (build without --import-memory: the module has its own)".into(),
        "env" if name == "abort" => " (AssemblyScript: build with `--use abort=`)".into(),
        "env" if name.starts_with("emscripten") => " (Emscripten: build with -sSTANDALONE_WASM)".into(),
        module if module.starts_with("__wbindgen") => " (build without wasm-bindgen)".into(),
        _ if mode == Mode::HostV1 => format!(" (it has {})", HOST.map(|function| function.name).join(", ")),
        _ if mode == Mode::WasiV1 => " (it has the functions of `wasi_snapshot_preview1`)".into(),
        _ => " (it has no imports)".into(),
    }
}
