//! The ABI of `pure-v1`: JSON in and out of a core module's memory.
//!
//! The host writes the input where `alloc(len)` says, calls `run(ptr, len)`, and reads the output
//! where the result says: pointer in the upper half, length in the lower, both unsigned. Every
//! pointer is the guest's word and is checked against the memory as it is then, which any call may
//! have grown. `dealloc` is not called: the instance ends with the run.

use bytes::Bytes;
use wasmtime::{Engine, Instance, InstancePre, Linker, Memory, Module, ModuleExport, Store, TypedFunc};

use super::guest::{Control, Ended, Guest, ended, memory_exceeded};
use super::{Failure, Limits, Lost, Outcome, json};

/// A compiled `pure-v1` function, linked to nothing.
pub(super) struct Pointer {
    pre: InstancePre<Guest>,
    memory: ModuleExport,
    alloc: ModuleExport,
    run: ModuleExport,
}

impl Pointer {
    /// `None` if the module has imports or lacks an export; admission has seen to it that it does not.
    pub(super) fn new(engine: &Engine, module: &Module) -> Option<Pointer> {
        Some(Pointer {
            pre: Linker::new(engine).instantiate_pre(module).ok()?,
            memory: module.get_export_index("memory")?,
            alloc: module.get_export_index("alloc")?,
            run: module.get_export_index("run")?,
        })
    }

    /// Runs an instance from its start function to its output.
    pub(super) async fn run(
        &self,
        store: &mut Store<Guest>,
        input: &[u8],
        limits: &Limits,
        control: &Control,
    ) -> Result<Output, Ended> {
        let stopped = |error: wasmtime::Error, store: &Store<Guest>| {
            ended(&error, &store.data().meter, limits, control)
        };
        let instance = match self.pre.instantiate_async(&mut *store).await {
            Ok(instance) => instance,
            Err(error) => return Err(stopped(error, store)),
        };
        let exports = self.exports(store, instance)?;

        let length = i32::try_from(input.len()).map_err(|_| {
            Failure::new(Outcome::MemoryExceeded, "the input does not fit into a 32-bit memory")
        })?;
        let place = match exports.alloc.call_async(&mut *store, length).await {
            // Pointers are unsigned; the ABI only has signed integers to carry them.
            Ok(pointer) => pointer as u32,
            Err(error) => return Err(stopped(error, store)),
        };
        exports.write(store, place, input, limits)?;

        let result = match exports.run.call_async(&mut *store, (place as i32, length)).await {
            Ok(packed) => Packed::from(packed),
            Err(error) => return Err(stopped(error, store)),
        };
        exports.read(store, result, limits)
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

/// What a guest handed out.
pub(super) struct Output {
    /// One JSON value.
    pub(super) value: Bytes,
    /// The length of what the guest wrote, whitespace around it included.
    pub(super) bytes: u64,
}

struct Exports {
    memory: Memory,
    alloc: TypedFunc<i32, i32>,
    run: TypedFunc<(i32, i32), i64>,
}

impl Exports {
    fn write(
        &self,
        store: &mut Store<Guest>,
        place: u32,
        input: &[u8],
        limits: &Limits,
    ) -> Result<(), Ended> {
        let (memory, guest) = self.memory.data_and_store_mut(store);
        let size = memory.len();
        let start = place as usize;
        let end = start.saturating_add(input.len());
        let target = memory.get_mut(start..end).filter(|_| place != 0 || input.is_empty());
        match target {
            Some(target) => {
                target.copy_from_slice(input);
                Ok(())
            }
            // An allocator says so with a pointer to nowhere when there is no memory left.
            None if guest.meter.refused() => {
                Err(memory_exceeded(limits, "`alloc` found no room for the input").into())
            }
            None => {
                let message = format!(
                    "`alloc({})` returned {place}, which is no place for the input in {size} bytes of memory",
                    input.len()
                );
                Err(Failure::new(Outcome::OutputInvalid, message).into())
            }
        }
    }

    fn read(&self, store: &Store<Guest>, output: Packed, limits: &Limits) -> Result<Output, Ended> {
        let memory = self.memory.data(store);
        let Packed { pointer, length } = output;
        let start = pointer as usize;
        let end = start.saturating_add(length as usize);
        let Some(bytes) = memory.get(start..end) else {
            let size = memory.len();
            let message = format!(
                "`run` returned {length} bytes at {pointer}, which is not within the {size} bytes of memory"
            );
            return Err(Failure::new(Outcome::OutputInvalid, message).into());
        };
        if bytes.len() > limits.output_bytes {
            let message =
                format!("the output has {length} bytes; at most {} are allowed", limits.output_bytes);
            return Err(Failure::new(Outcome::OutputTooLarge, message).into());
        }
        let value = json::one_value(bytes)
            .map_err(|error| Failure::new(Outcome::OutputInvalid, error.to_string()))?;
        Ok(Output { value: Bytes::copy_from_slice(value), bytes: u64::from(length) })
    }
}

/// The result of `run`: where the output is.
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
        }
    }
}
