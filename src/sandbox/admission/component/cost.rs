//! What one instance is made of.

use wasmparser::Payload;

use super::super::{Bound, PAGE_BYTES, Refusal};
use crate::sandbox::meter::{Parts, TABLE_ELEMENT_BYTES};

/// What one instance of a definition is made of, everything below it included. Never less than it is:
/// sums stay at their maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) core_instances: u64,
    pub(super) component_instances: u64,
    pub(super) memories: u64,
    pub(super) tables: u64,
    pub(super) initial_bytes: u64,
    /// What the host keeps of core instances.
    pub(super) instance_bytes: u64,
    pub(super) canonical_functions: u64,
    pub(super) steps: u64,
}

// What the engine keeps in an instance for each of these, or a little more (wasmtime 48,
// `VMOffsets`): a reference to each function that may be called from elsewhere, the value of each
// global, what each import is.
const INSTANCE_BYTES: u64 = 1024;
const FUNCTION_BYTES: u64 = 40;
const GLOBAL_BYTES: u64 = 16;
const IMPORT_BYTES: u64 = 80;

impl Cost {
    /// An instance of a module of which nothing is known yet.
    pub(super) const MODULE: Cost = Cost {
        core_instances: 1,
        component_instances: 0,
        memories: 0,
        tables: 0,
        initial_bytes: 0,
        instance_bytes: INSTANCE_BYTES,
        canonical_functions: 0,
        steps: 0,
    };

    /// Takes in a section of a core module.
    pub(super) fn section(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::MemorySection(section) => {
                for memory in section.clone() {
                    let pages = memory?.initial;
                    Bound::InitialPages.check(usize::try_from(pages).unwrap_or(usize::MAX))?;
                    self.memories += 1;
                    self.initial_bytes += pages * PAGE_BYTES;
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    let elements = table?.ty.initial;
                    Bound::TableElements.check(usize::try_from(elements).unwrap_or(usize::MAX))?;
                    self.tables += 1;
                    self.initial_bytes += elements * TABLE_ELEMENT_BYTES as u64;
                }
            }
            Payload::FunctionSection(section) => {
                self.instance_bytes += u64::from(section.count()) * FUNCTION_BYTES;
            }
            Payload::GlobalSection(section) => {
                self.instance_bytes += u64::from(section.count()) * GLOBAL_BYTES;
            }
            Payload::ImportSection(section) => {
                self.instance_bytes += u64::from(section.count()) * IMPORT_BYTES;
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn add(&mut self, other: &Cost) {
        let sums = [
            (&mut self.core_instances, other.core_instances),
            (&mut self.component_instances, other.component_instances),
            (&mut self.memories, other.memories),
            (&mut self.tables, other.tables),
            (&mut self.initial_bytes, other.initial_bytes),
            (&mut self.instance_bytes, other.instance_bytes),
            (&mut self.canonical_functions, other.canonical_functions),
            (&mut self.steps, other.steps),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }

    pub(super) fn check(&self) -> Result<(), Refusal> {
        let bounds = [
            (Bound::CoreInstances, self.core_instances),
            (Bound::ComponentInstances, self.component_instances),
            (Bound::AllMemories, self.memories),
            (Bound::AllTables, self.tables),
            (Bound::InstanceBytes, self.instance_bytes),
            (Bound::CanonicalFunctions, self.canonical_functions),
            (Bound::ComponentSteps, self.steps),
        ];
        for (bound, found) in bounds {
            bound.check(usize::try_from(found).unwrap_or(usize::MAX))?;
        }
        Ok(())
    }
}

/// What the engine's pool has room for.
const _: () = {
    assert!(Bound::CoreInstances.limit() == Parts::COMPONENT.instances as usize);
    assert!(Bound::AllMemories.limit() == Parts::COMPONENT.memories as usize);
    assert!(Bound::AllTables.limit() == Parts::COMPONENT.tables as usize);
};
