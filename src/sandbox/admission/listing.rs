//! What a file imports and exports, for people to read.

use std::fmt;

use wasmparser::ComponentExternalKind;
use wasmparser::types::{EntityType, Types};

use super::exports::describe;
use super::refusal::shown;

/// What kind of WebAssembly a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A core module.
    Core,
    /// A component.
    Component,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Core => "core module",
            Kind::Component => "component",
        })
    }
}

/// One import or export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name; `MODULE.NAME` for an import of a core module. Anything unprintable is escaped, and
    /// what is long is cut.
    pub name: String,
    /// What it is.
    pub ty: String,
}

/// Items of each kind that are listed; nobody reads more.
pub(super) const LISTED: usize = 100;

/// Imports of a core module, and how many of them are left out.
pub(super) fn imports(types: &Types) -> (Vec<Item>, usize) {
    let all = types.as_ref().core_imports().into_iter().flatten();
    list(all.map(|(module, name, ty)| (format!("{}.{}", shown(module), shown(name)), ty)), types)
}

/// Exports of a core module, and how many of them are left out.
pub(super) fn exports(types: &Types) -> (Vec<Item>, usize) {
    let all = types.as_ref().core_exports().into_iter().flatten();
    list(all.map(|(name, ty)| (shown(name), ty)), types)
}

fn list(mut all: impl Iterator<Item = (String, EntityType)>, types: &Types) -> (Vec<Item>, usize) {
    let items = all.by_ref().take(LISTED).map(|(name, ty)| Item { name, ty: type_text(ty, types) });
    (items.collect(), all.count())
}

fn type_text(ty: EntityType, types: &Types) -> String {
    match ty {
        EntityType::Func(id) | EntityType::FuncExact(id) => describe(types[id].unwrap_func()),
        EntityType::Table(_) => "a table".into(),
        EntityType::Memory(_) => "a memory".into(),
        EntityType::Global(global) => format!("a global {}", global.content_type),
        EntityType::Tag(_) => "a tag".into(),
    }
}

/// Items of a component, as they are met.
#[derive(Default)]
pub(super) struct Listing {
    items: Vec<Item>,
    unlisted: usize,
}

impl Listing {
    pub(super) fn add(&mut self, name: &str, kind: ComponentExternalKind) {
        if self.items.len() == LISTED {
            self.unlisted += 1;
            return;
        }
        let ty = match kind {
            ComponentExternalKind::Module => "a core module",
            ComponentExternalKind::Func => "a function",
            ComponentExternalKind::Value => "a value",
            ComponentExternalKind::Type => "a type",
            ComponentExternalKind::Instance => "an interface",
            ComponentExternalKind::Component => "a component",
        };
        self.items.push(Item { name: shown(name), ty: ty.into() });
    }

    /// The items, and how many are left out.
    pub(super) fn into_items(self) -> (Vec<Item>, usize) {
        (self.items, self.unlisted)
    }
}
