//! What a WebAssembly file is made of, also one that services refuse: what it imports and exports, and
//! whether it has names. A file that breaks off in the middle is told as far as it goes.
//!
//! Nothing is decided here: whether a service runs the file, its own admission says.

mod types;

use wasmparser::{ComponentExternalKind, ComponentTypeRef, KnownCustom, Name, Parser, Payload};

use super::output::printable;
use types::Types;

/// Imports and exports that are kept, each; the rest is counted.
const KEPT: usize = 100;
/// Characters of a name that are kept.
const NAME_CHARS: usize = 120;

/// What a file is made of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Anatomy {
    pub(super) is_component: bool,
    pub(super) imports: Items,
    pub(super) exports: Items,
    /// Whether any function has a name that the message of a trap could tell.
    pub(super) has_names: bool,
}

/// Imports or exports, in the file's order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Items {
    pub(super) first: Vec<Item>,
    pub(super) total: usize,
}

/// One import or export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Fit for a terminal; of an import into a core module with its module before it.
    pub(super) name: String,
    /// What it is, such as `a memory` or `a function (i32) -> (i64)`.
    pub(super) ty: String,
}

impl Anatomy {
    /// Takes a file apart.
    pub(super) fn of(bytes: &[u8]) -> Anatomy {
        let mut anatomy = Anatomy { is_component: Parser::is_component(bytes), ..Anatomy::default() };
        // What nests within a component has imports and exports of its own, which are nobody's here.
        let mut depth = 0_usize;
        let mut types = Types::default();
        for payload in Parser::new(0).parse_all(bytes) {
            let Ok(payload) = payload else { break };
            match &payload {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        anatomy.has_names |= names.into_iter().any(|name| names_functions(&name));
                    }
                }
                _ if depth == 1 => {
                    // The rest of a section that breaks off is nothing to tell.
                    let _ = anatomy.section(&payload, &mut types);
                }
                _ => {}
            }
        }
        anatomy
    }

    fn section(&mut self, payload: &Payload<'_>, types: &mut Types) -> wasmparser::Result<()> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    let name = || format!("{}.{}", shown(import.module), shown(import.name));
                    types.add(&import.ty);
                    self.imports.add(name, || types.import(&import.ty));
                }
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    self.exports.add(|| shown(export.name), || types.export(export.kind, export.index));
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import?;
                    let kind = kind_of_component_type(&import.ty);
                    self.imports.add(|| shown(import.name.name), || kind.to_owned());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    let kind = kind_of_component_export(export.kind);
                    self.exports.add(|| shown(export.name.name), || kind.to_owned());
                }
            }
            _ => types.section(payload)?,
        }
        Ok(())
    }
}

impl Items {
    fn add(&mut self, name: impl FnOnce() -> String, ty: impl FnOnce() -> String) {
        self.total += 1;
        if self.first.len() < KEPT {
            self.first.push(Item { name: name(), ty: ty() });
        }
    }
}

fn names_functions(name: &wasmparser::Result<Name<'_>>) -> bool {
    matches!(name, Ok(Name::Function(names)) if names.count() > 0)
}

fn shown(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS) {
        Some((end, _)) => format!("{}...", printable(&name[..end])),
        None => printable(name),
    }
}

fn kind_of_component_type(ty: &ComponentTypeRef) -> &'static str {
    match ty {
        ComponentTypeRef::Module(_) => "a core module",
        ComponentTypeRef::Func(_) => "a function",
        ComponentTypeRef::Value(_) => "a value",
        ComponentTypeRef::Type(_) => "a type",
        ComponentTypeRef::Instance(_) => "an interface",
        ComponentTypeRef::Component(_) => "a component",
    }
}

fn kind_of_component_export(kind: ComponentExternalKind) -> &'static str {
    match kind {
        ComponentExternalKind::Module => "a core module",
        ComponentExternalKind::Func => "a function",
        ComponentExternalKind::Value => "a value",
        ComponentExternalKind::Type => "a type",
        ComponentExternalKind::Instance => "an interface",
        ComponentExternalKind::Component => "a component",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anatomy(text: &str) -> Anatomy {
        Anatomy::of(&wat::parse_str(text).unwrap())
    }

    fn told(items: &Items) -> Vec<String> {
        items.first.iter().map(|item| format!("{} {}", item.name, item.ty)).collect()
    }

    #[test]
    fn imports_and_exports_are_listed_with_their_kinds() {
        let module = anatomy(
            r#"(module (import "a" "f" (func)) (import "a" "m" (memory 1)) (import "b" "g" (global i32))
                 (import "b" "t" (table 1 funcref)) (func (export "run")) (export "memory" (memory 0)))"#,
        );
        assert_eq!(
            told(&module.imports),
            ["a.f a function () -> ()", "a.m a memory", "b.g a global i32", "b.t a table"]
        );
        assert_eq!(told(&module.exports), ["run a function () -> ()", "memory a memory"]);
        let component = anatomy(
            r#"(component
                 (import "wasi:cli/stdin@0.2.3" (instance)) (import "f" (func))
                 (core module (import "hidden" "f" (func)) (func (export "hidden")))
                 (component (import "hidden" (func)))
                 (import "g" (func)))"#,
        );
        assert_eq!(
            told(&component.imports),
            ["wasi:cli/stdin@0.2.3 an interface", "f a function", "g a function"]
        );
        assert!(component.is_component && component.exports.total == 0);
    }

    #[test]
    fn only_names_of_functions_count_as_names() {
        assert!(anatomy("(module (func $f))").has_names);
        assert!(anatomy("(component (core module (func $f)))").has_names);
        assert!(!anatomy("(module (func))").has_names);
        assert!(!anatomy("(module $m (memory $memory 1))").has_names);
    }

    #[test]
    fn many_or_long_or_odd_names_do_not_flood_a_terminal() {
        let many: String = (0..1000).map(|i| format!(r#"(import "m" "f{i}" (func))"#)).collect();
        let imports = anatomy(&format!("(module {many})")).imports;
        assert_eq!((imports.first.len(), imports.total), (KEPT, 1000));
        let long = anatomy(&format!(r#"(module (func (export "{}")))"#, "é".repeat(5000)));
        assert_eq!(long.exports.first[0].name.chars().count(), NAME_CHARS + 3);
        let odd = anatomy(r#"(module (func (export "\1b[2J\0a")))"#);
        assert_eq!(odd.exports.first[0].name, r"\u{1b}[2J\u{a}");
    }

    #[test]
    fn what_is_cut_off_or_no_wasm_is_told_as_far_as_it_goes() {
        let whole = wat::parse_str(r#"(module (import "a" "f" (func)) (func $g (export "run")))"#).unwrap();
        for length in 0..whole.len() {
            let cut = Anatomy::of(&whole[..length]);
            assert!(cut.imports.total <= 1 && cut.exports.total <= 1);
        }
        assert_eq!(Anatomy::of(b"not wasm at all"), Anatomy::default());
        assert_eq!(Anatomy::of(b""), Anatomy::default());
    }
}
