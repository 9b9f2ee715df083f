//! The exports that a mode asks for.

use std::fmt;

use wasmparser::types::Types;
use wasmparser::{ExternalKind, FuncType, Payload, ValType};

use super::Refusal;

/// What an export is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExportKind {
    /// The memory.
    Memory,
    /// A function of these parameters and results.
    Function(&'static [ValueType], &'static [ValueType]),
}

/// The value types that signatures of the ABI are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueType {
    /// A 32-bit integer: a pointer or a length.
    I32,
    /// A 64-bit integer: a pointer and a length.
    I64,
}

impl From<ValueType> for ValType {
    fn from(ty: ValueType) -> ValType {
        match ty {
            ValueType::I32 => ValType::I32,
            ValueType::I64 => ValType::I64,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ValType::from(*self).fmt(f)
    }
}

impl fmt::Display for ExportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExportKind::Memory => f.write_str("a memory"),
            ExportKind::Function(params, results) => {
                write!(f, "a function ({}) -> ({})", list(params), list(results))
            }
        }
    }
}

fn list<T: fmt::Display>(types: &[T]) -> String {
    types.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

const ALLOC: ExportKind = ExportKind::Function(&[ValueType::I32], &[ValueType::I32]);
const RUN: ExportKind = ExportKind::Function(&[ValueType::I32, ValueType::I32], &[ValueType::I64]);
const DEALLOC: ExportKind = ExportKind::Function(&[ValueType::I32, ValueType::I32], &[]);

/// The exports of a module that a mode may ask for, where they are there.
#[derive(Default)]
pub(super) struct Found {
    memory: Option<Export>,
    alloc: Option<Export>,
    run: Option<Export>,
    dealloc: Option<Export>,
}

#[derive(Clone, Copy)]
struct Export {
    kind: ExternalKind,
    index: u32,
}

impl Found {
    /// Notes the exports that matter, if this is their section.
    pub(super) fn section(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        let Payload::ExportSection(section) = payload else { return Ok(()) };
        for export in section.clone() {
            let export = export?;
            let found = Some(Export { kind: export.kind, index: export.index });
            match export.name {
                "memory" => self.memory = found,
                "alloc" => self.alloc = found,
                "run" => self.run = found,
                "dealloc" => self.dealloc = found,
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks the exports of `pure-v1`. The whole module has been validated, so indices are in range.
    pub(super) fn check_pure(&self, types: &Types) -> Result<(), Refusal> {
        let required = [
            ("memory", self.memory, ExportKind::Memory),
            ("alloc", self.alloc, ALLOC),
            ("run", self.run, RUN),
        ];
        for (name, found, expected) in required {
            let found = found.ok_or(Refusal::MissingExport { name, expected })?;
            check(name, found, expected, types)?;
        }
        self.dealloc.map_or(Ok(()), |found| check("dealloc", found, DEALLOC, types))
    }
}

fn check(name: &'static str, found: Export, expected: ExportKind, types: &Types) -> Result<(), Refusal> {
    let mismatch = |found: String| Err(Refusal::WrongExport { name, expected, found });
    match (expected, found.kind) {
        (ExportKind::Memory, ExternalKind::Memory) => Ok(()),
        (ExportKind::Function(params, results), ExternalKind::Func) => {
            let types = types.as_ref();
            let ty = types[types.core_function_at(found.index)].unwrap_func();
            if same(params, ty.params()) && same(results, ty.results()) {
                Ok(())
            } else {
                mismatch(describe(ty))
            }
        }
        (_, ExternalKind::Func | ExternalKind::FuncExact) => mismatch("a function".into()),
        (_, ExternalKind::Table) => mismatch("a table".into()),
        (_, ExternalKind::Memory) => mismatch("a memory".into()),
        (_, ExternalKind::Global) => mismatch("a global".into()),
        (_, ExternalKind::Tag) => mismatch("a tag".into()),
    }
}

fn same(expected: &[ValueType], found: &[ValType]) -> bool {
    expected.iter().copied().map(ValType::from).eq(found.iter().copied())
}

fn describe(ty: &FuncType) -> String {
    format!("a function ({}) -> ({})", list(ty.params()), list(ty.results()))
}
