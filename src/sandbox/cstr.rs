//! The ABI of `cstr-v1`: JSON as NUL-terminated text, for languages whose strings are that.
//!
//! The host writes the input and a NUL where `alloc(len + 1)` says, or `malloc` where there is no
//! `alloc`; calls `execute(ptr)`; and reads the output from where the result says to the first NUL.

use std::ffi::CStr;

use wasmtime::{InstancePre, Linker, Module, ModuleExport, Store};

use super::guest::{Ended, Guest};
use super::program::Output;
use super::{Failure, Limits, Lost, Outcome, linear};

/// A compiled function of this ABI. It is linked to nothing: the mode has no imports.
pub(super) struct Cstr {
    pre: InstancePre<Guest>,
    memory: ModuleExport,
    alloc: ModuleExport,
    /// How messages name it.
    allocator: &'static str,
    execute: ModuleExport,
}

impl Cstr {
    /// `None` if the module has imports or lacks an export; admission has seen to it that it does not.
    pub(super) fn new(linker: &Linker<Guest>, module: &Module) -> Option<Cstr> {
        let allocators = ["alloc", "malloc"].into_iter();
        let (allocator, alloc) =
            allocators.filter_map(|name| Some((name, module.get_export_index(name)?))).next()?;
        Some(Cstr {
            pre: linker.instantiate_pre(module).ok()?,
            memory: module.get_export_index("memory")?,
            alloc,
            allocator,
            execute: module.get_export_index("execute")?,
        })
    }

    /// Runs an instance from its start function to its output.
    pub(super) async fn run(&self, store: &mut Store<Guest>, input: &[u8]) -> Result<Output, Ended> {
        // JSON has NUL only as an escape; a guest would read half of anything else.
        if input.contains(&0) {
            return Err(Ended::Lost(Lost::Internal("the input holds a NUL, so it is not JSON".into())));
        }
        let length = i32::try_from(input.len() + 1).map_err(|_| {
            Failure::new(Outcome::MemoryExceeded, "the input does not fit into a 32-bit memory")
        })?;

        let instance = self.pre.instantiate_async(&mut *store).await;
        let instance = instance.map_err(|error| store.data().ended(&error))?;
        // Admission checked names and types, so none of this fails.
        let gone = || Ended::Lost(Lost::Internal("an export is gone".into()));
        let function = |store: &mut Store<Guest>, export| {
            let function = instance.get_module_export(&mut *store, export)?.into_func()?;
            function.typed::<i32, i32>(&*store).ok()
        };
        let memory = instance.get_module_export(&mut *store, &self.memory);
        let memory = memory.and_then(|export| export.into_memory()).ok_or_else(gone)?;
        let alloc = function(store, &self.alloc).ok_or_else(gone)?;
        let execute = function(store, &self.execute).ok_or_else(gone)?;

        let place = alloc.call_async(&mut *store, length).await;
        let place = place.map_err(|error| store.data().ended(&error))? as u32;
        let (bytes, guest) = memory.data_and_store_mut(&mut *store);
        let target = linear::given(bytes, guest, place, length as u32, self.allocator, "the input")?;
        let (text, end) = target.split_at_mut(input.len());
        text.copy_from_slice(input);
        end.fill(0);

        let result = execute.call_async(&mut *store, place as i32).await;
        let result = result.map_err(|error| store.data().ended(&error))? as u32;
        read(memory.data(&*store), result, &store.data().limits)
    }
}

fn read(memory: &[u8], pointer: u32, limits: &Limits) -> Result<Output, Ended> {
    let invalid = |message: String| Err(Failure::new(Outcome::OutputInvalid, message).into());
    if pointer == 0 {
        return invalid("`execute` returned 0, a null pointer, where the output is expected".into());
    }
    let size = memory.len();
    // A pointer that is no `usize` is as far outside as any.
    let Some(rest) = memory.get(usize::try_from(pointer).unwrap_or(usize::MAX)..) else {
        return invalid(format!(
            "`execute` returned {pointer}, which is not within the {size} bytes of memory"
        ));
    };
    // With room for its NUL; what is longer need not be read to its end.
    let most = limits.output_bytes.saturating_add(1);
    match CStr::from_bytes_until_nul(&rest[..rest.len().min(most)]) {
        Ok(text) => Ok(Output::json(text.to_bytes(), limits)?),
        Err(_) if rest.len() < most => invalid(format!(
            "the output at {pointer} does not end: no NUL follows in the {size} bytes of memory"
        )),
        Err(_) => {
            let message =
                format!("the output has more than {} bytes, which are allowed", limits.output_bytes);
            Err(Failure::new(Outcome::OutputTooLarge, message).into())
        }
    }
}
