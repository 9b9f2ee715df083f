//! Why a module is not compiled.

use wasmparser::WasmFeatures;

use super::{Bound, ExportKind, MAX_MODULE_BYTES};

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
        "this is a component; mode pure-v1 takes a core module (build for wasm32-unknown-unknown, without wrapping \
         it into a component)"
    )]
    Component,
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
        "this is a core module; mode component-v1 takes a component (`wasm-tools component new` makes one of it)"
    )]
    CoreModule,
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
    /// An import, where the mode has none.
    #[error("the module imports {kind} `{import}`; mode pure-v1 has no imports{}", import_hint(.import))]
    Import {
        /// `MODULE.NAME`, with anything unprintable escaped, cut to a readable length.
        import: String,
        /// What is imported.
        kind: &'static str,
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
    #[error("the module does not export `{name}`, which must be {expected}")]
    MissingExport {
        /// The export.
        name: &'static str,
        /// What it must be.
        expected: ExportKind,
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

    pub(super) fn import(module: &str, name: &str, kind: &'static str) -> Refusal {
        Refusal::Import { import: format!("{}.{}", shown(module), shown(name)), kind }
    }
}

impl From<wasmparser::Error> for Refusal {
    fn from(error: wasmparser::Error) -> Refusal {
        let reason = shown(error.message());
        let offset = error.offset();
        match error.missing_wasm_feature().and_then(proposal) {
            Some((name, flag)) => Refusal::Feature { name, flag, reason, offset },
            None => Refusal::Malformed { reason, offset },
        }
    }
}

/// A text of the module's, fit to stand in a message.
fn shown(text: &str) -> String {
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

fn import_hint(import: &str) -> &'static str {
    if import.starts_with("wasi") {
        " (build for wasm32-unknown-unknown instead of a WASI target)"
    } else if import.starts_with("__wbindgen") {
        " (build without wasm-bindgen)"
    } else {
        ""
    }
}
