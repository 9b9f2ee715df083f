//! Which modules are compiled at all.
//!
//! Compilers are slow on hostile input, so everything that can be refused by reading is refused
//! before the compiler sees it: what the mode does not allow, what the engine has switched off, and
//! whatever there is too much of. The same feature set configures the engine, so that neither is
//! laxer than the other.

mod bounds;
mod component;
mod exports;
mod imports;
mod likely;
mod refusal;

use wasmparser::types::Types;
use wasmparser::{FuncValidatorAllocations, FunctionBody, Parser, ValidPayload, Validator, WasmFeatures};

use crate::lexicon::Mode;
use bounds::{Shape, Tally};

pub use bounds::Bound;
pub(crate) use exports::describe;
pub use exports::{ExportKind, ValueType};
pub(in crate::sandbox) use imports::{HOST_MODULES, HostFunction, WASI, WASI_MODULES};
pub use refusal::Refusal;

/// The longest module that is considered.
pub const MAX_MODULE_BYTES: usize = 10 * 1024 * 1024;

/// The number of these rules. It goes up whenever one changes, so that what older ones let in is judged
/// anew rather than taken from a disk.
pub const RULES: u32 = 1;

/// What guests may use of WebAssembly: what stable compilers emit without being asked. Everything
/// else would only add to what can go wrong. `GC_TYPES` stays off, so of the reference types only
/// `funcref` is left. Of the component model it is what was there first: no async, no errors with context, no
/// maps.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

/// What is known of a file that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Memory and tables that an instance has before its first instruction.
    pub initial_bytes: u64,
}

/// Judges a file by the rules of `mode`. Takes time in proportion to its length.
pub(super) fn admit(mode: Mode, code: &[u8]) -> Result<Admitted, Refusal> {
    if code.len() > MAX_MODULE_BYTES {
        return Err(Refusal::TooLong { bytes: code.len() });
    }
    check_header(mode, code)?;
    match mode {
        Mode::PureV1 | Mode::HostV1 | Mode::WasiV1 | Mode::CstrV1 => {
            admit_core(mode, code).map_err(|refusal| refusal.with_likely(mode, || likely(code)))
        }
        Mode::ComponentV1 => component::admit(code),
    }
}

/// The mode that a file was most likely built for, by its imports and exports; it need not pass there.
pub(super) fn likely(code: &[u8]) -> Option<Mode> {
    likely::likely(code)
}

/// The preamble of a core module: magic number and version 1.
const CORE_MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";
/// The preamble of a component: magic number, version 13, layer 1.
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";

fn check_header(mode: Mode, code: &[u8]) -> Result<(), Refusal> {
    if !code.starts_with(&CORE_MODULE[..4]) {
        return Err(Refusal::NotWasm);
    }
    match code.get(..8) {
        Some(header) if header == CORE_MODULE && mode.is_component() => {
            Err(Refusal::CoreModule { likely: likely(code) })
        }
        Some(header) if header == COMPONENT && !mode.is_component() => Err(Refusal::Component { mode }),
        Some(header) if header == CORE_MODULE || header == COMPONENT => Ok(()),
        _ => Err(Refusal::Version),
    }
}

fn admit_core(mode: Mode, code: &[u8]) -> Result<Admitted, Refusal> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut tally = Tally::default();
    let mut allocations = FuncValidatorAllocations::default();
    let mut exports = exports::Found::default();
    for payload in parser.parse_all(code) {
        let payload = payload?;
        imports::section(mode, &payload)?;
        tally.section(&payload)?;
        exports.section(&payload)?;
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => {
                let mut function = function.into_validator(allocations);
                tally.locals(&body)?;
                check_body(&mut function, &body, &mut tally)?;
                allocations = function.into_allocations();
            }
            ValidPayload::End(types) => {
                imports::check(mode, &types)?;
                exports.check(mode, &types)?;
                return Ok(Admitted { initial_bytes: initial_bytes(&types)? });
            }
            ValidPayload::Ok | ValidPayload::Parser(_) => {}
        }
    }
    // The parser gives an end or an error; what has neither is no module.
    Err(Refusal::Malformed { reason: "the module does not end".into(), offset: code.len() })
}

type FuncValidator = wasmparser::FuncValidator<wasmparser::ValidatorResources>;

fn check_body(
    function: &mut FuncValidator,
    body: &FunctionBody<'_>,
    tally: &mut Tally,
) -> Result<(), Refusal> {
    let mut reader = body.get_binary_reader();
    function.read_locals(&mut reader)?;
    reader.set_features(FEATURES);
    let mut shape = Shape::new(function.len_locals());
    while !reader.eof() {
        let offset = reader.original_position();
        let operator = reader.peek_operator(&function.visitor(offset))?;
        reader.visit_operator(&mut function.visitor(offset))??;
        shape.operator(&operator);
        Bound::Nesting.check(function.control_stack_height() as usize)?;
    }
    let end = reader.original_position();
    reader.finish_expression(&function.visitor(end))?;
    tally.shape(&shape)
}

const PAGE_BYTES: u64 = 65_536;

fn initial_bytes(types: &Types) -> Result<u64, Refusal> {
    let types = types.as_ref();
    let mut bytes = 0;
    for index in 0..types.memory_count() {
        let pages = types.memory_at(index).initial;
        Bound::InitialPages.check(usize::try_from(pages).unwrap_or(usize::MAX))?;
        bytes += pages * PAGE_BYTES;
    }
    for index in 0..types.table_count() {
        let elements = types.table_at(index).initial;
        Bound::TableElements.check(usize::try_from(elements).unwrap_or(usize::MAX))?;
        bytes += elements * super::meter::TABLE_ELEMENT_BYTES as u64;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
