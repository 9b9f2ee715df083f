//! Types of components: how many, how deep, and the one of `run`.

use wasmparser::component_types::{ComponentDefinedType, ComponentEntityType, ComponentValType};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{
    ComponentDefinedType as Definition, ComponentType, ComponentTypeDeclaration, CoreType,
    InstanceTypeDeclaration, Payload, PrimitiveValType,
};

use super::{Bound, Refusal, Tally};

/// Bounds how deep the types of a section nest, before anything reads them: readers of WebAssembly
/// call themselves for each level, and a level takes three bytes.
///
/// Each level begins with one of two bytes. They may occur elsewhere too, so that this counts more
/// levels than there are; programs stay far below the limit.
pub(super) fn check_nesting(section: &[u8]) -> Result<(), Refusal> {
    const COMPONENT_TYPE: u8 = 0x41;
    const INSTANCE_TYPE: u8 = 0x42;
    let opens = |byte: &&u8| matches!(**byte, COMPONENT_TYPE | INSTANCE_TYPE);
    Bound::TypeNesting.check(section.iter().filter(opens).count())
}

/// Counts the parts of a component's types and of its instructions.
pub(super) fn count(payload: &Payload<'_>, tally: &mut Tally) -> Result<(), Refusal> {
    match payload {
        Payload::ComponentTypeSection(section) => {
            tally.add(Bound::TypeParts, section.count() as usize)?;
            for ty in section.clone() {
                tally.add(Bound::TypeParts, parts(&ty?))?;
            }
            Ok(())
        }
        Payload::CoreTypeSection(section) => {
            for ty in section.clone() {
                tally.add(Bound::TypeParts, core_parts(&ty?))?;
            }
            Ok(())
        }
        Payload::ComponentInstanceSection(section) => {
            tally.add(Bound::ComponentInstances, section.count() as usize)
        }
        Payload::ComponentImportSection(section) => tally.add(Bound::Imports, section.count() as usize),
        Payload::ComponentExportSection(section) => tally.add(Bound::Exports, section.count() as usize),
        _ => Ok(()),
    }
}

/// Fields, cases, parameters and declarations of a type, and of those declared in it.
fn parts(ty: &ComponentType<'_>) -> usize {
    match ty {
        ComponentType::Defined(ty) => match ty {
            Definition::Record(fields) => fields.len(),
            Definition::Variant(cases) => cases.len(),
            Definition::Tuple(types) => types.len(),
            Definition::Flags(names) | Definition::Enum(names) => names.len(),
            _ => 1,
        },
        ComponentType::Func(ty) => ty.params.len() + 1,
        ComponentType::Component(declarations) => {
            let inner = |declaration: &ComponentTypeDeclaration<'_>| match declaration {
                ComponentTypeDeclaration::Type(ty) => parts(ty),
                ComponentTypeDeclaration::CoreType(ty) => core_parts(ty),
                _ => 0,
            };
            declarations.len() + declarations.iter().map(inner).sum::<usize>()
        }
        ComponentType::Instance(declarations) => {
            let inner = |declaration: &InstanceTypeDeclaration<'_>| match declaration {
                InstanceTypeDeclaration::Type(ty) => parts(ty),
                InstanceTypeDeclaration::CoreType(ty) => core_parts(ty),
                _ => 0,
            };
            declarations.len() + declarations.iter().map(inner).sum::<usize>()
        }
        ComponentType::Resource { .. } => 1,
    }
}

fn core_parts(ty: &CoreType<'_>) -> usize {
    match ty {
        CoreType::Rec(_) => 1,
        CoreType::Module(declarations) => declarations.len(),
    }
}

/// Checks that the component exports `run: func(input: string) -> result<string, string>`. What the
/// parameter is called does not matter.
pub(super) fn check_run(types: &Types) -> Result<(), Refusal> {
    let types = types.as_ref();
    let run = types.component_item_for_export("run").ok_or(Refusal::MissingRun)?;
    let ComponentEntityType::Func(id) = run.ty else { return Err(Refusal::WrongRun) };
    let run = &types[id];
    let takes_a_string = matches!(&*run.params, [(_, ty)] if is_string(ty));
    let gives_either = run.result.as_ref().is_some_and(|ty| is_result_of_strings(ty, types));
    if takes_a_string && gives_either && !run.async_ { Ok(()) } else { Err(Refusal::WrongRun) }
}

fn is_string(ty: &ComponentValType) -> bool {
    matches!(ty, ComponentValType::Primitive(PrimitiveValType::String))
}

fn is_result_of_strings(ty: &ComponentValType, types: TypesRef<'_>) -> bool {
    let ComponentValType::Type(id) = ty else { return false };
    match &types[*id] {
        ComponentDefinedType::Result { ok: Some(ok), err: Some(err), .. } => is_string(ok) && is_string(err),
        _ => false,
    }
}
