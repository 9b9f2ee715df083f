//! How much of each thing a module may have.

use std::fmt;

use wasmparser::{
    CompositeInnerType, ElementItems, FunctionBody, Operator, Payload, SectionLimited, TypeSectionReader,
};

use super::Refusal;

/// Something of which a module may have only so much. Programs stay far below these figures; what
/// is above is there to keep the compiler busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// Memories of all instances within a component, and of all its modules.
    AllMemories,
    /// Tables of all instances within a component.
    AllTables,
    /// Bytes of one function's body. Register allocation is not linear in these.
    BodyBytes,
    /// Functions of a component that are lifted and lowered, in all its instances; each costs code of its own.
    CanonicalFunctions,
    /// Instances of components within a component.
    ComponentInstances,
    /// Components within components.
    ComponentNesting,
    /// What a component defines, aliases and instantiates, in all its instances.
    ComponentSteps,
    /// Components that are defined within a component.
    Components,
    /// What the control flow of all functions together costs the compiler, in units of some 10 ns as
    /// measured with wasmtime 48. It is all but linear: twice the branches or loops in one function take
    /// four times as long, and so do twice the locals in loops within loops.
    ControlFlow,
    /// Instances of core modules within a component.
    CoreInstances,
    /// Data segments.
    DataSegments,
    /// Entries of all element segments together.
    ElementEntries,
    /// Exports. Each exported function costs an entry of its own in the artifact.
    Exports,
    /// Functions.
    Functions,
    /// Globals.
    Globals,
    /// Imports. No mode offers as many functions, but one may be imported again and again.
    Imports,
    /// Pages of memory, of 64 KiB, that an instance starts with. This many fit the widest limit.
    InitialPages,
    /// Bytes that the host keeps for the instances within a component, beside their memories and tables.
    InstanceBytes,
    /// Locals of one function, without parameters.
    Locals,
    /// Memories.
    Memories,
    /// Core modules that are defined within a component.
    Modules,
    /// Blocks within blocks, in one function.
    Nesting,
    /// Parameters and results of one function type.
    Signature,
    /// Parameters and results of all function types together; each type costs code of its own.
    Signatures,
    /// Elements that a table starts with.
    TableElements,
    /// Tables.
    Tables,
    /// Locals of all functions together.
    TotalLocals,
    /// Types of components and instances within each other, counted generously.
    TypeNesting,
    /// Parts of a component's types: fields, cases, parameters, declarations.
    TypeParts,
    /// Types.
    Types,
}

impl Bound {
    /// The most that is allowed.
    pub const fn limit(self) -> usize {
        match self {
            Bound::AllMemories => 4,
            Bound::AllTables => 8,
            Bound::BodyBytes => 256 * 1024,
            Bound::CanonicalFunctions => 1_000,
            Bound::ComponentInstances => 200,
            Bound::ComponentNesting => 8,
            Bound::ComponentSteps => 20_000,
            Bound::Components => 100,
            Bound::ControlFlow => 400_000_000,
            Bound::CoreInstances => 16,
            Bound::DataSegments => 10_000,
            Bound::ElementEntries => 20_000,
            Bound::Exports => 1_000,
            Bound::Functions => 20_000,
            Bound::Globals => 1_000,
            Bound::Imports => 1_000,
            Bound::InitialPages => 4_096,
            Bound::InstanceBytes => 6 * 1024 * 1024,
            Bound::Locals => 4_096,
            Bound::Memories => 1,
            Bound::Modules => 32,
            Bound::Nesting => 1_024,
            Bound::Signature => 100,
            Bound::Signatures => 10_000,
            Bound::TableElements => 20_000,
            Bound::Tables => 1,
            Bound::TotalLocals => 200_000,
            Bound::TypeNesting => 250,
            Bound::TypeParts => 10_000,
            Bound::Types => 2_000,
        }
    }

    pub(super) fn check(self, found: usize) -> Result<(), Refusal> {
        if found > self.limit() { Err(Refusal::TooMuch { bound: self, found }) } else { Ok(()) }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::AllMemories => "memories in all modules or instances",
            Bound::AllTables => "tables in all instances",
            Bound::BodyBytes => "bytes in one function",
            Bound::CanonicalFunctions => "lifted and lowered functions in all instances",
            Bound::ComponentInstances => "instances of components",
            Bound::ComponentNesting => "components within each other",
            Bound::ComponentSteps => "definitions in all instances",
            Bound::Components => "components within the component",
            Bound::ControlFlow => {
                "units of control flow (branches and loops, counted more the more one function has)"
            }
            Bound::CoreInstances => "instances of core modules",
            Bound::DataSegments => "data segments",
            Bound::ElementEntries => "element segment entries",
            Bound::Exports => "exports",
            Bound::Functions => "functions",
            Bound::Globals => "globals",
            Bound::Imports => "imports",
            Bound::InitialPages => "pages of initial memory",
            Bound::InstanceBytes => "bytes of functions and globals in all instances",
            Bound::Locals => "locals in one function",
            Bound::Memories => "memories",
            Bound::Modules => "core modules within the component",
            Bound::Nesting => "nested blocks",
            Bound::Signature => "parameters and results in one type",
            Bound::Signatures => "parameters and results in all types",
            Bound::TableElements => "initial table elements",
            Bound::Tables => "tables",
            Bound::TotalLocals => "locals in all functions",
            Bound::TypeNesting => "types of components and instances within each other",
            Bound::TypeParts => "parts of component types",
            Bound::Types => "types",
        })
    }
}

/// What has been counted so far, in a module or in all modules of a component together.
#[derive(Default)]
pub(super) struct Tally {
    control_flow: usize,
    locals: usize,
    totals: Vec<(Bound, usize)>,
}

impl Tally {
    /// Adds to what was found of something, and checks it.
    pub(super) fn add(&mut self, bound: Bound, found: usize) -> Result<(), Refusal> {
        let total = match self.totals.iter_mut().find(|(counted, _)| *counted == bound) {
            Some((_, total)) => {
                *total = total.saturating_add(found);
                *total
            }
            None => {
                self.totals.push((bound, found));
                found
            }
        };
        bound.check(total)
    }

    /// Checks what a section's header says, before the section is validated.
    pub(super) fn section(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(section) => self.types(section),
            Payload::ImportSection(section) => self.add(Bound::Imports, section.count() as usize),
            Payload::FunctionSection(section) => self.add(Bound::Functions, section.count() as usize),
            // As many as each module may have.
            Payload::TableSection(section) => count(Bound::Tables, section),
            Payload::MemorySection(section) => {
                count(Bound::Memories, section)?;
                // What each begins with is kept in a file of its own, whether or not it is ever instantiated.
                self.add(Bound::AllMemories, section.count() as usize)
            }
            Payload::GlobalSection(section) => self.add(Bound::Globals, section.count() as usize),
            Payload::ExportSection(section) => self.add(Bound::Exports, section.count() as usize),
            Payload::ElementSection(section) => self.elements(section),
            Payload::DataCountSection { count, .. } => Bound::DataSegments.check(*count as usize),
            Payload::DataSection(section) => self.data(section),
            _ => Ok(()),
        }
    }

    /// Counts a function's locals, and checks the length of its body.
    pub(super) fn locals(&mut self, body: &FunctionBody<'_>) -> Result<(), Refusal> {
        Bound::BodyBytes.check(body.range().len())?;
        let mut locals = 0usize;
        for group in body.get_locals_reader()? {
            let (count, _) = group?;
            locals = locals.saturating_add(count as usize);
        }
        Bound::Locals.check(locals)?;
        self.locals += locals;
        Bound::TotalLocals.check(self.locals)
    }

    /// Counts what a function's control flow costs.
    pub(super) fn shape(&mut self, shape: &Shape) -> Result<(), Refusal> {
        self.control_flow = self.control_flow.saturating_add(shape.cost());
        Bound::ControlFlow.check(self.control_flow)
    }
}

/// The control flow of one function.
pub(super) struct Shape {
    locals: usize,
    branches: usize,
    loops: usize,
    /// For each block around the current place, whether it is a loop.
    around: Vec<bool>,
    loops_around: usize,
    deepest: usize,
}

impl Shape {
    /// The shape of a function with so many locals, parameters among them.
    pub(super) fn new(locals: u32) -> Shape {
        let locals = locals as usize;
        Shape { locals, branches: 0, loops: 0, around: Vec::new(), loops_around: 0, deepest: 0 }
    }

    /// Takes in the next operator, of a function that is valid up to here.
    pub(super) fn operator(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Block { .. } => self.around.push(false),
            Operator::Loop { .. } => {
                self.around.push(true);
                self.loops += 1;
                self.loops_around += 1;
                self.deepest = self.deepest.max(self.loops_around);
            }
            Operator::If { .. } => {
                self.around.push(false);
                self.branches += 1;
            }
            Operator::End => {
                // The last one ends the function itself, which is not in the list.
                let ended_loop = self.around.pop() == Some(true);
                self.loops_around -= usize::from(ended_loop);
            }
            Operator::Br { .. } | Operator::BrIf { .. } => self.branches += 1,
            Operator::BrTable { targets } => self.branches += targets.len() as usize + 1,
            _ => {}
        }
    }

    /// Fitted to what hostile functions took to compile. A loop costs as much as three branches, since
    /// it checks the epoch.
    fn cost(&self) -> usize {
        let flow = self.branches.saturating_add(3 * self.loops);
        let carried = self.deepest.saturating_mul(self.locals);
        flow.saturating_mul(flow).saturating_add(carried.saturating_mul(carried) / 200)
    }
}

fn count<T>(bound: Bound, section: &SectionLimited<'_, T>) -> Result<(), Refusal> {
    bound.check(section.count() as usize)
}

impl Tally {
    fn types(&mut self, section: &TypeSectionReader<'_>) -> Result<(), Refusal> {
        self.add(Bound::Types, section.count() as usize)?;
        for group in section.clone() {
            for ty in group?.into_types() {
                let CompositeInnerType::Func(signature) = &ty.composite_type.inner else { continue };
                let places = signature.params().len() + signature.results().len();
                Bound::Signature.check(places)?;
                self.add(Bound::Signatures, places)?;
            }
        }
        Ok(())
    }

    fn elements(&mut self, section: &wasmparser::ElementSectionReader<'_>) -> Result<(), Refusal> {
        self.add(Bound::ElementEntries, section.count() as usize)?;
        for element in section.clone() {
            let entries = match element?.items {
                ElementItems::Functions(items) => items.count(),
                ElementItems::Expressions(_, items) => items.count(),
            };
            self.add(Bound::ElementEntries, entries as usize)?;
        }
        Ok(())
    }

    fn data(&mut self, section: &wasmparser::DataSectionReader<'_>) -> Result<(), Refusal> {
        self.add(Bound::DataSegments, section.count() as usize)?;
        for segment in section.clone() {
            // Reading each one here keeps a damaged segment from being reported as anything else. What it
            // names is for the validator, which comes next.
            segment?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::lexicon::Mode;
    use crate::sandbox::judge;

    #[test]
    fn a_segment_of_a_memory_that_is_not_there_is_refused() {
        let code = wat::parse_str(
            r#"(module (memory (export "memory") 1) (data (memory 65) (i32.const 0) "x")
                 (func (export "alloc") (param i32) (result i32) (i32.const 0))
                 (func (export "run") (param i32 i32) (result i64) (i64.const 0)))"#,
        );
        let refusal = judge(Mode::PureV1, &code.unwrap()).unwrap_err().to_string();
        assert!(refusal.contains("memory 65"), "{refusal}");
    }
}
