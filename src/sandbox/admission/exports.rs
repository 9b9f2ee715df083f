//! The exports that a mode asks for.

use std::fmt;

use wasmparser::types::Types;
use wasmparser::{ExternalKind, FuncType, Payload, ValType};

use super::Refusal;
use crate::lexicon::Mode;

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
const EXECUTE: ExportKind = ExportKind::Function(&[ValueType::I32], &[ValueType::I32]);
const START: ExportKind = ExportKind::Function(&[], &[]);

/// The names that a mode may ask for.
const NAMES: [&str; 7] = ["memory", "alloc", "run", "dealloc", "execute", "malloc", "_start"];

/// The exports of a module that a mode may ask for, where they are there.
#[derive(Default)]
pub(super) struct Found(Vec<Export>);

struct Export {
    name: &'static str,
    kind: ExternalKind,
    index: u32,
}

impl Found {
    /// Notes the exports that matter, if this is their section.
    pub(super) fn section(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        let Payload::ExportSection(section) = payload else { return Ok(()) };
        for export in section.clone() {
            let export = export?;
            if let Some(name) = NAMES.into_iter().find(|name| *name == export.name) {
                // Names are unique in a valid module, so this stays short.
                self.0.push(Export { name, kind: export.kind, index: export.index });
            }
        }
        Ok(())
    }

    /// Checks the exports of `mode`. The whole module has been validated, so indices are in range.
    pub(super) fn check(&self, mode: Mode, types: &Types) -> Result<(), Refusal> {
        self.required("memory", ExportKind::Memory, types)?;
        match mode {
            Mode::PureV1 | Mode::HostV1 => {
                self.required("alloc", ALLOC, types)?;
                self.required("run", RUN, types)?;
                self.optional("dealloc", DEALLOC, types)?;
                Ok(())
            }
            Mode::CstrV1 => {
                self.required("execute", EXECUTE, types)?;
                // The other name only counts where `alloc` is not exported at all.
                if self.optional("alloc", ALLOC, types)? || self.optional("malloc", ALLOC, types)? {
                    return Ok(());
                }
                Err(Refusal::MissingExport { name: "alloc` or `malloc", expected: ALLOC, likely: None })
            }
            Mode::WasiV1 => self.required("_start", START, types),
            Mode::ComponentV1 => Err(Refusal::CoreModule { likely: None }),
        }
    }

    fn required(&self, name: &'static str, expected: ExportKind, types: &Types) -> Result<(), Refusal> {
        if self.optional(name, expected, types)? {
            return Ok(());
        }
        Err(Refusal::MissingExport { name, expected, likely: None })
    }

    /// Whether the export is there; if so, it is as expected.
    fn optional(&self, name: &'static str, expected: ExportKind, types: &Types) -> Result<bool, Refusal> {
        match self.0.iter().find(|export| export.name == name) {
            None => Ok(false),
            Some(export) => check(name, export, expected, types).map(|()| true),
        }
    }
}

fn check(name: &'static str, found: &Export, expected: ExportKind, types: &Types) -> Result<(), Refusal> {
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

pub(super) fn same(expected: &[ValueType], found: &[ValType]) -> bool {
    expected.iter().copied().map(ValType::from).eq(found.iter().copied())
}

/// A function of this type, in words.
pub(crate) fn describe(ty: &FuncType) -> String {
    format!("a function ({}) -> ({})", list(ty.params()), list(ty.results()))
}
