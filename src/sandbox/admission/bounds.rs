//! How much of each thing a module may have.

use std::fmt;

use wasmparser::{
    CompositeInnerType, DataKind, ElementItems, FunctionBody, Operator, Payload, SectionLimited,
    TypeSectionReader,
};

use super::Refusal;

/// Something of which a module may have only so much. Programs stay far below these figures; what
/// is above is there to keep the compiler busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// Bytes of one function's body. Register allocation is not linear in these.
    BodyBytes,
    /// What the control flow of all functions together costs the compiler, in units of some 10 ns as
    /// measured with wasmtime 48. It is all but linear: twice the branches or loops in one function take
    /// four times as long, and so do twice the locals in loops within loops.
    ControlFlow,
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
    /// Locals of one function, without parameters.
    Locals,
    /// Memories.
    Memories,
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
    /// Types.
    Types,
}

impl Bound {
    /// The most that is allowed.
    pub fn limit(self) -> usize {
        match self {
            Bound::BodyBytes => 256 * 1024,
            Bound::ControlFlow => 400_000_000,
            Bound::DataSegments => 10_000,
            Bound::ElementEntries => 20_000,
            Bound::Exports => 1_000,
            Bound::Functions => 20_000,
            Bound::Globals => 1_000,
            Bound::Imports => 1_000,
            Bound::InitialPages => 4_096,
            Bound::Locals => 4_096,
            Bound::Memories => 1,
            Bound::Nesting => 1_024,
            Bound::Signature => 100,
            Bound::Signatures => 10_000,
            Bound::TableElements => 20_000,
            Bound::Tables => 1,
            Bound::TotalLocals => 200_000,
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
            Bound::BodyBytes => "bytes in one function",
            Bound::ControlFlow => {
                "units of control flow (branches and loops, counted more the more one function has)"
            }
            Bound::DataSegments => "data segments",
            Bound::ElementEntries => "element segment entries",
            Bound::Exports => "exports",
            Bound::Functions => "functions",
            Bound::Globals => "globals",
            Bound::Imports => "imports",
            Bound::InitialPages => "pages of initial memory",
            Bound::Locals => "locals in one function",
            Bound::Memories => "memories",
            Bound::Nesting => "nested blocks",
            Bound::Signature => "parameters and results in one type",
            Bound::Signatures => "parameters and results in all types",
            Bound::TableElements => "initial table elements",
            Bound::Tables => "tables",
            Bound::TotalLocals => "locals in all functions",
            Bound::Types => "types",
        })
    }
}

/// What has been counted so far.
#[derive(Default)]
pub(super) struct Tally {
    control_flow: usize,
    locals: usize,
}

impl Tally {
    /// Checks what a section's header says, before the section is validated.
    pub(super) fn section(&self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(section) => check_types(section),
            Payload::FunctionSection(section) => count(Bound::Functions, section),
            Payload::TableSection(section) => count(Bound::Tables, section),
            Payload::MemorySection(section) => count(Bound::Memories, section),
            Payload::GlobalSection(section) => count(Bound::Globals, section),
            Payload::ExportSection(section) => count(Bound::Exports, section),
            Payload::ElementSection(section) => check_elements(section),
            Payload::DataCountSection { count, .. } => Bound::DataSegments.check(*count as usize),
            Payload::DataSection(section) => check_data(section),
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

fn check_types(section: &TypeSectionReader<'_>) -> Result<(), Refusal> {
    count(Bound::Types, section)?;
    let mut total = 0;
    for group in section.clone() {
        for ty in group?.into_types() {
            let CompositeInnerType::Func(signature) = &ty.composite_type.inner else { continue };
            let places = signature.params().len() + signature.results().len();
            Bound::Signature.check(places)?;
            total += places;
        }
    }
    Bound::Signatures.check(total)
}

fn check_elements(section: &wasmparser::ElementSectionReader<'_>) -> Result<(), Refusal> {
    let mut total = section.count() as usize;
    Bound::ElementEntries.check(total)?;
    for element in section.clone() {
        total = total.saturating_add(match element?.items {
            ElementItems::Functions(items) => items.count() as usize,
            ElementItems::Expressions(_, items) => items.count() as usize,
        });
        Bound::ElementEntries.check(total)?;
    }
    Ok(())
}

fn check_data(section: &wasmparser::DataSectionReader<'_>) -> Result<(), Refusal> {
    count(Bound::DataSegments, section)?;
    for segment in section.clone() {
        // Reading each one here keeps a damaged segment from being reported as anything else.
        if let DataKind::Active { memory_index, .. } = segment?.kind {
            debug_assert_eq!(memory_index, 0, "multi-memory is off");
        }
    }
    Ok(())
}
