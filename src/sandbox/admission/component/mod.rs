//! Which components are compiled at all.
//!
//! A component is a tree of definitions, core modules among them, and instructions that instantiate
//! them. Definitions are bounded as they are read, all together, as if they were one module. What the
//! instructions come to is bounded by what one instance of the whole would be made of: a definition may
//! be instantiated again and again, and twice in each of twenty levels is a million.

mod cost;
mod imports;
mod types;

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef,
    Encoding, FuncValidatorAllocations, Instance, Parser, Payload, ValidPayload, Validator,
};

use super::bounds::Tally;
use super::{Admitted, Bound, FEATURES, Refusal, check_body};
use cost::Cost;

/// Judges a component. Takes time in proportion to its length.
pub(super) fn admit(code: &[u8]) -> Result<Admitted, Refusal> {
    let mut validator = Validator::new_with_features(FEATURES);
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut walk = Walk::default();
    let mut allocations = FuncValidatorAllocations::default();
    for payload in parser.parse_all(code) {
        let payload = payload?;
        walk.before(&payload, code)?;
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => {
                let mut function = function.into_validator(allocations);
                walk.tally.locals(&body)?;
                check_body(&mut function, &body, &mut walk.tally)?;
                allocations = function.into_allocations();
            }
            ValidPayload::End(types) => {
                if let Some(cost) = walk.end() {
                    types::check_run(&types)?;
                    return Ok(Admitted { initial_bytes: cost.initial_bytes });
                }
            }
            ValidPayload::Ok | ValidPayload::Parser(_) => walk.after(&payload)?,
        }
    }
    Err(Refusal::Malformed { reason: "the component does not end".into(), offset: code.len() })
}

/// Where the walk through a component is, and what has been counted.
#[derive(Default)]
struct Walk {
    /// The definitions around the current place, the outermost first.
    around: Vec<Definition>,
    tally: Tally,
}

/// A definition that has begun.
enum Definition {
    Component(Scope),
    Module(Cost),
}

/// A component's index spaces, as far as they hold what can be instantiated: the cost of one instance,
/// or none where it cannot be known.
#[derive(Default)]
struct Scope {
    modules: Vec<Option<Cost>>,
    components: Vec<Option<Cost>>,
    /// What one instance of this component costs.
    cost: Cost,
}

impl Walk {
    /// Bounds what the validator is about to read.
    fn before(&mut self, payload: &Payload<'_>, code: &[u8]) -> Result<(), Refusal> {
        match payload {
            Payload::Version { encoding, .. } => return self.begin(*encoding),
            Payload::ModuleSection { .. } => self.tally.add(Bound::Modules, 1)?,
            Payload::ComponentSection { .. } => self.tally.add(Bound::Components, 1)?,
            Payload::ComponentTypeSection(section) => types::check_nesting(&code[section.range()])?,
            Payload::CoreTypeSection(section) => self.tally.add(Bound::Types, section.count() as usize)?,
            _ => {}
        }
        match self.around.last_mut() {
            Some(Definition::Module(cost)) => {
                self.tally.section(payload)?;
                cost.section(payload)
            }
            Some(Definition::Component(_)) => types::count(payload, &mut self.tally),
            None => Ok(()),
        }
    }

    fn begin(&mut self, encoding: Encoding) -> Result<(), Refusal> {
        Bound::ComponentNesting.check(self.around.len())?;
        self.around.push(match encoding {
            Encoding::Component => Definition::Component(Scope::default()),
            Encoding::Module => Definition::Module(Cost::MODULE),
        });
        Ok(())
    }

    /// Ends the innermost definition. Gives the cost of the outermost.
    fn end(&mut self) -> Option<Cost> {
        let ended = self.around.pop()?;
        let Some(Definition::Component(parent)) = self.around.last_mut() else {
            return match ended {
                Definition::Component(scope) => Some(scope.cost),
                Definition::Module(_) => None,
            };
        };
        match ended {
            Definition::Component(scope) => parent.components.push(Some(scope.cost)),
            Definition::Module(cost) => parent.modules.push(Some(cost)),
        }
        None
    }

    /// Follows what a section has defined, which the validator found to be sound.
    fn after(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        let outermost = self.around.len() == 1;
        if let Payload::ComponentAliasSection(section) = payload {
            for alias in section.clone() {
                self.alias(&alias?);
            }
        }
        let Some(Definition::Component(scope)) = self.around.last_mut() else { return Ok(()) };
        match payload {
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let import = import?;
                    if outermost {
                        imports::check(&import)?;
                    }
                    match import.ty {
                        ComponentTypeRef::Module(_) => scope.modules.push(None),
                        ComponentTypeRef::Component(_) => scope.components.push(None),
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    scope.export(export.kind, export.index);
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        scope.instantiate(known(&scope.modules, module_index)?)?;
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        let component = known(&scope.components, component_index)?;
                        scope.instantiate(Cost { component_instances: 1, ..Cost::default() })?;
                        scope.instantiate(component)?;
                    }
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                scope.instantiate(Cost { canonical_functions: section.count().into(), ..Cost::default() })?;
            }
            _ => {}
        }
        scope.instantiate(Cost { steps: steps(payload), ..Cost::default() })
    }

    /// An alias has a place in an index space of the innermost component.
    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        let aliased = match *alias {
            ComponentAlias::Outer { kind, count, index } => {
                // The validator has found both to be in range.
                let depth = self.around.len().checked_sub(count as usize + 1);
                match depth.and_then(|depth| self.around.get(depth)) {
                    Some(Definition::Component(outer)) => match kind {
                        ComponentOuterAliasKind::CoreModule => at(&outer.modules, index),
                        ComponentOuterAliasKind::Component => at(&outer.components, index),
                        ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => None,
                    },
                    _ => None,
                }
            }
            // It may be any that an instance was given.
            ComponentAlias::InstanceExport { .. } | ComponentAlias::CoreInstanceExport { .. } => None,
        };
        let Some(Definition::Component(scope)) = self.around.last_mut() else { return };
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. }
            | ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. } => {
                scope.modules.push(aliased);
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. }
            | ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, .. } => {
                scope.components.push(aliased);
            }
            _ => {}
        }
    }
}

impl Scope {
    /// An export is a new place in its index space.
    fn export(&mut self, kind: ComponentExternalKind, index: u32) {
        match kind {
            ComponentExternalKind::Module => self.modules.push(at(&self.modules, index)),
            ComponentExternalKind::Component => self.components.push(at(&self.components, index)),
            _ => {}
        }
    }

    fn instantiate(&mut self, cost: Cost) -> Result<(), Refusal> {
        self.cost.add(&cost);
        self.cost.check()
    }
}

fn at(space: &[Option<Cost>], index: u32) -> Option<Cost> {
    space.get(index as usize).copied().flatten()
}

/// The cost of what is instantiated, which must be a definition of this file and not one handed in.
fn known(space: &[Option<Cost>], index: u32) -> Result<Cost, Refusal> {
    at(space, index).ok_or(Refusal::HandedIn)
}

/// Entries of a section of a component: each is worked on once for each instance.
fn steps(payload: &Payload<'_>) -> u64 {
    let entries = match payload {
        Payload::InstanceSection(section) => section.count(),
        Payload::ComponentInstanceSection(section) => section.count(),
        Payload::ComponentAliasSection(section) => section.count(),
        Payload::CoreTypeSection(section) => section.count(),
        Payload::ComponentTypeSection(section) => section.count(),
        Payload::ComponentCanonicalSection(section) => section.count(),
        Payload::ComponentImportSection(section) => section.count(),
        Payload::ComponentExportSection(section) => section.count(),
        _ => 0,
    };
    entries.into()
}

#[cfg(test)]
mod tests;
