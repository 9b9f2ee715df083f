//! Which modules are compiled at all.
//!
//! Compilers are slow on hostile input, so everything that can be refused by reading is refused
//! before the compiler sees it: what the mode does not allow, what the engine has switched off, and
//! whatever there is too much of. The same feature set configures the engine, so that neither is
//! laxer than the other.

mod bounds;
mod exports;
mod refusal;

use wasmparser::types::Types;
use wasmparser::{
    FuncValidatorAllocations, FunctionBody, Parser, Payload, TypeRef, ValidPayload, Validator, WasmFeatures,
};

use crate::lexicon::Mode;
use bounds::{Shape, Tally};

pub use bounds::Bound;
pub use exports::ExportKind;
pub use refusal::Refusal;

/// The longest module that is considered.
pub const MAX_MODULE_BYTES: usize = 10 * 1024 * 1024;

/// The number of these rules. It goes up whenever one changes, so that what older ones let in is judged
/// anew rather than taken from a disk.
pub const RULES: u32 = 1;

/// What guests may use of WebAssembly: what stable compilers emit without being asked. Everything
/// else would only add to what can go wrong. `GC_TYPES` stays off, so of the reference types only
/// `funcref` is left.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST);

/// What is known of a module that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Memory and table that an instance has before its first instruction.
    pub initial_bytes: u64,
}

/// Judges a module by the rules of `mode`. Takes time in proportion to its length.
pub(super) fn admit(mode: Mode, code: &[u8]) -> Result<Admitted, Refusal> {
    if code.len() > MAX_MODULE_BYTES {
        return Err(Refusal::TooLong { bytes: code.len() });
    }
    check_header(code)?;
    match mode {
        Mode::PureV1 => admit_core(code),
        Mode::HostV1 | Mode::ComponentV1 | Mode::WasiV1 | Mode::CstrV1 => Err(Refusal::NotWasm),
    }
}

/// The preamble of a core module: magic number and version 1.
const CORE_MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";
/// The preamble of a component: magic number, version 13, layer 1.
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";

fn check_header(code: &[u8]) -> Result<(), Refusal> {
    if !code.starts_with(&CORE_MODULE[..4]) {
        return Err(Refusal::NotWasm);
    }
    match code.get(..8) {
        Some(header) if header == CORE_MODULE => Ok(()),
        Some(header) if header == COMPONENT => Err(Refusal::Component),
        _ => Err(Refusal::Version),
    }
}

fn admit_core(code: &[u8]) -> Result<Admitted, Refusal> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut tally = Tally::default();
    let mut allocations = FuncValidatorAllocations::default();
    let mut exports = exports::Found::default();
    for payload in parser.parse_all(code) {
        let payload = payload?;
        refuse_imports(&payload)?;
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
                exports.check_pure(&types)?;
                return Ok(Admitted { initial_bytes: initial_bytes(&types)? });
            }
            ValidPayload::Ok | ValidPayload::Parser(_) => {}
        }
    }
    // The parser gives an end or an error; what has neither is no module.
    Err(Refusal::Malformed { reason: "the module does not end".into(), offset: code.len() })
}

fn refuse_imports(payload: &Payload<'_>) -> Result<(), Refusal> {
    let Payload::ImportSection(section) = payload else { return Ok(()) };
    match section.clone().into_imports().next() {
        None => Ok(()),
        Some(import) => {
            let import = import?;
            let kind = match import.ty {
                TypeRef::Func(_) | TypeRef::FuncExact(_) => "a function",
                TypeRef::Global(_) => "a global",
                TypeRef::Memory(_) => "a memory",
                TypeRef::Table(_) => "a table",
                TypeRef::Tag(_) => "a tag",
            };
            Err(Refusal::import(import.module, import.name, kind))
        }
    }
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

fn initial_bytes(types: &Types) -> Result<u64, Refusal> {
    const PAGE_BYTES: u64 = 65_536;
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
