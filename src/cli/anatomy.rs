//! What a WebAssembly file is made of, as far as its author wants to know it: what it imports and
//! exports, whether it has names, and the mode that it looks built for.
//!
//! Nothing is decided here: whether a service runs the file, its own admission says. So a file that
//! breaks off in the middle is told as far as it goes.

use wasmparser::{
    ComponentExternalKind, ComponentTypeRef, ExternalKind, KnownCustom, Name, Parser, Payload, TypeRef,
};

use super::output::printable;
use crate::lexicon::Mode;

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
    /// What the imports and exports say of the mode.
    wasi: bool,
    host: bool,
    execute: bool,
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
    pub(super) kind: &'static str,
}

impl Anatomy {
    /// Takes a file apart.
    pub(super) fn of(bytes: &[u8]) -> Anatomy {
        let mut anatomy = Anatomy { is_component: Parser::is_component(bytes), ..Anatomy::default() };
        // What nests within a component has imports and exports of its own, which are nobody's here.
        let mut depth = 0_usize;
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
                    let _ = anatomy.section(&payload);
                }
                _ => {}
            }
        }
        anatomy
    }

    fn section(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    self.wasi |= import.module == "wasi_snapshot_preview1";
                    self.host |= matches!(import.module, "host" | "env") && import.name.starts_with("host_");
                    let name = format!("{}.{}", shown(import.module), shown(import.name));
                    self.imports.add(name, kind_of_type(&import.ty));
                }
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    self.execute |= export.name == "execute";
                    self.exports.add(shown(export.name), kind_of_export(export.kind));
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import?;
                    self.imports.add(shown(import.name.name), kind_of_component_type(&import.ty));
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    self.exports.add(shown(export.name.name), kind_of_component_export(export.kind));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The mode that the file looks built for, whether or not a service admits it as that.
    pub(super) fn likely_mode(&self) -> Mode {
        if self.is_component {
            Mode::ComponentV1
        } else if self.wasi {
            Mode::WasiV1
        } else if self.execute {
            Mode::CstrV1
        } else if self.host {
            Mode::HostV1
        } else {
            Mode::PureV1
        }
    }
}

impl Items {
    fn add(&mut self, name: String, kind: &'static str) {
        self.total += 1;
        if self.first.len() < KEPT {
            self.first.push(Item { name, kind });
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

fn kind_of_type(ty: &TypeRef) -> &'static str {
    match ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => "function",
        TypeRef::Global(_) => "global",
        TypeRef::Memory(_) => "memory",
        TypeRef::Table(_) => "table",
        TypeRef::Tag(_) => "tag",
    }
}

fn kind_of_export(kind: ExternalKind) -> &'static str {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => "function",
        ExternalKind::Global => "global",
        ExternalKind::Memory => "memory",
        ExternalKind::Table => "table",
        ExternalKind::Tag => "tag",
    }
}

fn kind_of_component_type(ty: &ComponentTypeRef) -> &'static str {
    match ty {
        ComponentTypeRef::Module(_) => "module",
        ComponentTypeRef::Func(_) => "function",
        ComponentTypeRef::Value(_) => "value",
        ComponentTypeRef::Type(_) => "type",
        ComponentTypeRef::Instance(_) => "interface",
        ComponentTypeRef::Component(_) => "component",
    }
}

fn kind_of_component_export(kind: ComponentExternalKind) -> &'static str {
    match kind {
        ComponentExternalKind::Module => "module",
        ComponentExternalKind::Func => "function",
        ComponentExternalKind::Value => "value",
        ComponentExternalKind::Type => "type",
        ComponentExternalKind::Instance => "interface",
        ComponentExternalKind::Component => "component",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anatomy(text: &str) -> Anatomy {
        Anatomy::of(&wat::parse_str(text).unwrap())
    }

    fn told(items: &Items) -> Vec<String> {
        items.first.iter().map(|item| format!("{} {}", item.name, item.kind)).collect()
    }

    #[test]
    fn the_mode_that_a_file_looks_built_for() {
        let cases = [
            ("(module)", Mode::PureV1),
            (r#"(module (import "env" "abort" (func)))"#, Mode::PureV1),
            (r#"(module (import "other" "host_read_record" (func)))"#, Mode::PureV1),
            (r#"(module (import "env" "host_read_record" (func)))"#, Mode::HostV1),
            (r#"(module (import "host" "host_log" (func)))"#, Mode::HostV1),
            (r#"(module (func (export "execute")))"#, Mode::CstrV1),
            (r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)))"#, Mode::WasiV1),
            (
                r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)) (func (export "execute")))"#,
                Mode::WasiV1,
            ),
            ("(component)", Mode::ComponentV1),
            // What a component is made of says nothing of it.
            (r#"(component (core module (import "wasi_snapshot_preview1" "x" (func))))"#, Mode::ComponentV1),
        ];
        for (text, mode) in cases {
            assert_eq!(anatomy(text).likely_mode(), mode, "{text}");
        }
    }

    #[test]
    fn imports_and_exports_are_listed_with_their_kinds() {
        let module = anatomy(
            r#"(module (import "a" "f" (func)) (import "a" "m" (memory 1)) (import "b" "g" (global i32))
                 (import "b" "t" (table 1 funcref)) (func (export "run")) (export "memory" (memory 0)))"#,
        );
        assert_eq!(told(&module.imports), ["a.f function", "a.m memory", "b.g global", "b.t table"]);
        assert_eq!(told(&module.exports), ["run function", "memory memory"]);
        let component = anatomy(
            r#"(component
                 (import "wasi:cli/stdin@0.2.3" (instance)) (import "f" (func))
                 (core module (import "hidden" "f" (func)) (func (export "hidden")))
                 (component (import "hidden" (func)))
                 (import "g" (func)))"#,
        );
        assert_eq!(told(&component.imports), ["wasi:cli/stdin@0.2.3 interface", "f function", "g function"]);
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
