//! What each function and global of a core module is, by its number.

use wasmparser::{
    ExternalKind, FuncType, FunctionSectionReader, GlobalSectionReader, Payload, TypeRef, ValType,
};

use crate::sandbox::{Bound, describe};

/// The types of a module, as far as its sections have been read: imports come first, exports last. Of what a
/// service would refuse for its number or length, nothing is kept.
#[derive(Default)]
pub(super) struct Types {
    signatures: Vec<Option<FuncType>>,
    /// The number of each function's signature.
    functions: Vec<u32>,
    globals: Vec<ValType>,
}

impl Types {
    /// Reads a section that says what something is; imports are added one by one.
    pub(super) fn section(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(section) => self.signatures(section.clone().into_iter_err_on_gc_types()),
            Payload::FunctionSection(section) => self.functions(section.clone()),
            Payload::GlobalSection(section) => self.globals(section.clone()),
            _ => Ok(()),
        }
    }

    fn signatures(
        &mut self,
        signatures: impl Iterator<Item = wasmparser::Result<FuncType>>,
    ) -> wasmparser::Result<()> {
        for signature in signatures.take(Bound::Types.limit()) {
            let signature = signature?;
            let values = signature.params().len() + signature.results().len();
            let kept = (values <= Bound::Signature.limit()).then_some(signature);
            keep(&mut self.signatures, Bound::Types, kept);
        }
        Ok(())
    }

    fn functions(&mut self, section: FunctionSectionReader<'_>) -> wasmparser::Result<()> {
        for signature in section.into_iter().take(Bound::Functions.limit()) {
            keep(&mut self.functions, Bound::Functions, signature?);
        }
        Ok(())
    }

    fn globals(&mut self, section: GlobalSectionReader<'_>) -> wasmparser::Result<()> {
        for global in section.into_iter().take(Bound::Globals.limit()) {
            keep(&mut self.globals, Bound::Globals, global?.ty.content_type);
        }
        Ok(())
    }

    /// Takes in the next import.
    pub(super) fn add(&mut self, import: &TypeRef) {
        match import {
            TypeRef::Func(signature) | TypeRef::FuncExact(signature) => {
                keep(&mut self.functions, Bound::Functions, *signature);
            }
            TypeRef::Global(global) => keep(&mut self.globals, Bound::Globals, global.content_type),
            TypeRef::Memory(_) | TypeRef::Table(_) | TypeRef::Tag(_) => {}
        }
    }

    /// What an import is.
    pub(super) fn import(&self, ty: &TypeRef) -> String {
        match ty {
            TypeRef::Func(signature) | TypeRef::FuncExact(signature) => self.signature(Some(signature)),
            TypeRef::Global(global) => of_global(Some(&global.content_type)),
            TypeRef::Memory(_) => "a memory".to_owned(),
            TypeRef::Table(_) => "a table".to_owned(),
            TypeRef::Tag(_) => "a tag".to_owned(),
        }
    }

    /// What an export is.
    pub(super) fn export(&self, kind: ExternalKind, index: u32) -> String {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => {
                self.signature(self.functions.get(index as usize))
            }
            ExternalKind::Global => of_global(self.globals.get(index as usize)),
            ExternalKind::Memory => "a memory".to_owned(),
            ExternalKind::Table => "a table".to_owned(),
            ExternalKind::Tag => "a tag".to_owned(),
        }
    }

    /// A function of a signature, where both are known.
    fn signature(&self, number: Option<&u32>) -> String {
        match number.and_then(|number| self.signatures.get(*number as usize)) {
            Some(Some(signature)) => describe(signature),
            _ => "a function".to_owned(),
        }
    }
}

fn of_global(ty: Option<&ValType>) -> String {
    ty.map_or_else(|| "a global".to_owned(), |ty| format!("a global {ty}"))
}

/// Adds to an index space, which never grows beyond what is allowed of it.
fn keep<T>(space: &mut Vec<T>, bound: Bound, next: T) {
    if space.len() < bound.limit() {
        space.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Anatomy;
    use super::*;

    fn exports(text: &str) -> Vec<String> {
        let anatomy = Anatomy::of(&wat::parse_str(text).unwrap());
        anatomy.exports.first.into_iter().map(|item| item.ty).collect()
    }

    #[test]
    fn imports_come_before_what_the_module_defines() {
        let text = r#"(module
            (import "m" "g" (global i64)) (import "m" "f" (func (param f32)))
            (func $own (result v128) unreachable) (global $own (mut f64) (f64.const 0))
            (export "own" (func $own)) (export "imported" (func 0))
            (export "own global" (global $own)) (export "imported global" (global 0)))"#;
        let expected = ["a function () -> (v128)", "a function (f32) -> ()", "a global f64", "a global i64"];
        assert_eq!(exports(text), expected);
    }

    #[test]
    fn what_no_service_takes_is_told_without_its_type() {
        let signature = |params: usize| format!("(type (func (param {})))", "i32 ".repeat(params));
        let function = |types: &str, ty: usize, index: usize, more: &str| {
            format!(r#"(module {types} {more} (func (type {ty})) (export "f" (func {index})))"#)
        };
        let most = Bound::Types.limit();
        let types = |count: usize| (0..count).map(|_| signature(1)).collect::<String>();
        let functions = |count: usize| "(func (type 0))".repeat(count);
        let cases = [
            (function(&signature(100), 0, 0, ""), true),
            (function(&signature(101), 0, 0, ""), false),
            (function(&types(most), most - 1, 0, ""), true),
            (function(&types(most + 1), most, 0, ""), false),
            (function(&types(1), 0, 19_999, &functions(19_999)), true),
            (function(&types(1), 0, 20_000, &functions(20_000)), false),
        ];
        for (text, is_told) in cases {
            let told = exports(&text);
            assert_eq!(told[0] != "a function", is_told, "{told:?}");
        }
    }

    #[test]
    fn a_number_that_nothing_has_is_told_without_a_type() {
        let types = Types::default();
        assert_eq!(types.export(ExternalKind::Func, u32::MAX), "a function");
        assert_eq!(types.export(ExternalKind::Global, 0), "a global");
    }
}
