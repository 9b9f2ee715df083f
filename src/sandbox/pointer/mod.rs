//! The ABI of `pure-v1` and `host-v1`: JSON in and out of a core module's memory.
//!
//! The host writes the input where `alloc(len)` says, calls `run(ptr, len)`, and reads the output
//! where the result says: pointer in the upper half, length in the lower, both unsigned. Every
//! pointer is the guest's word and is checked against the memory as it is then, which any call may
//! have grown. `dealloc` is not called: the instance ends with the run.
//!
//! What `host-v1` has beside that is in `calls`; its JSON is in `shapes`.

mod calls;
mod shapes;

use wasmtime::{Instance, InstancePre, Linker, Memory, Module, ModuleExport, Store, TypedFunc};

use super::guest::{Ended, Guest};
use super::program::Output;
use super::{Failure, Limits, Lost, Outcome, linear};

pub(super) use calls::link;

/// A compiled function of this ABI, linked to what its mode offers.
pub(super) struct Pointer {
    pre: InstancePre<Guest>,
    memory: ModuleExport,
    alloc: ModuleExport,
    run: ModuleExport,
}

impl Pointer {
    /// `None` if an import is not in the linker or an export is not there; admission has seen to it
    /// that they are.
    pub(super) fn new(linker: &Linker<Guest>, module: &Module) -> Option<Pointer> {
        Some(Pointer {
            pre: linker.instantiate_pre(module).ok()?,
            memory: module.get_export_index("memory")?,
            alloc: module.get_export_index("alloc")?,
            run: module.get_export_index("run")?,
        })
    }

    /// Runs an instance from its start function to its output.
    pub(super) async fn run(&self, store: &mut Store<Guest>, input: &[u8]) -> Result<Output, Ended> {
        let instance = self.pre.instantiate_async(&mut *store).await;
        let instance = instance.map_err(|error| store.data().ended(&error))?;
        let exports = self.exports(store, instance)?;

        let length = i32::try_from(input.len()).map_err(|_| {
            Failure::new(Outcome::MemoryExceeded, "the input does not fit into a 32-bit memory")
        })?;
        let place = exports.alloc.call_async(&mut *store, length).await;
        let place = place.map_err(|error| store.data().ended(&error))? as u32;
        let (memory, guest) = exports.memory.data_and_store_mut(&mut *store);
        linear::given(memory, guest, place, length as u32, "alloc", "the input")?.copy_from_slice(input);

        let result = exports.run.call_async(&mut *store, (place as i32, length)).await;
        let result = result.map_err(|error| store.data().ended(&error))?;
        read(exports.memory.data(&*store), Packed::from(result), &store.data().limits)
    }

    fn exports(&self, store: &mut Store<Guest>, instance: Instance) -> Result<Exports, Ended> {
        // Admission checked names and types, so none of this fails.
        let gone = || Ended::Lost(Lost::Internal("an export is gone".into()));
        let export =
            |store: &mut Store<Guest>, export| instance.get_module_export(store, export).ok_or_else(gone);
        let memory = export(store, &self.memory)?.into_memory().ok_or_else(gone)?;
        let alloc = export(store, &self.alloc)?.into_func().ok_or_else(gone)?;
        let run = export(store, &self.run)?.into_func().ok_or_else(gone)?;
        Ok(Exports {
            memory,
            alloc: alloc.typed(&*store).map_err(|_| gone())?,
            run: run.typed(&*store).map_err(|_| gone())?,
        })
    }
}

struct Exports {
    memory: Memory,
    alloc: TypedFunc<i32, i32>,
    run: TypedFunc<(i32, i32), i64>,
}

fn read(memory: &[u8], output: Packed, limits: &Limits) -> Result<Output, Ended> {
    let Packed { pointer, length } = output;
    let Some(bytes) = linear::region(memory, pointer, length) else {
        let size = memory.len();
        let message = format!(
            "`run` returned {length} bytes at {pointer}, which is not within the {size} bytes of memory"
        );
        return Err(Failure::new(Outcome::OutputInvalid, message).into());
    };
    Ok(Output::json(bytes, limits)?)
}

/// Where something is in a guest's memory: pointer in the upper half, length in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed {
    pointer: u32,
    length: u32,
}

impl From<i64> for Packed {
    fn from(packed: i64) -> Packed {
        let bits = packed as u64;
        Packed { pointer: (bits >> 32) as u32, length: bits as u32 }
    }
}

impl From<Packed> for i64 {
    fn from(packed: Packed) -> i64 {
        (u64::from(packed.pointer) << 32 | u64::from(packed.length)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_of_a_result_are_unsigned() {
        let cases = [
            (0, 0, 0),
            (0x0000_0010_0000_0002, 0x10, 2),
            (i64::MIN, 0x8000_0000, 0),
            (-1, u32::MAX, u32::MAX),
            (0x7fff_ffff_ffff_ffff, 0x7fff_ffff, u32::MAX),
        ];
        for (packed, pointer, length) in cases {
            assert_eq!(Packed::from(packed), Packed { pointer, length });
            assert_eq!(i64::from(Packed { pointer, length }), packed);
        }
    }
}
