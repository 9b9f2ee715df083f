//! The WebAssembly engine: what is on, what is off, and how much room there is.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy,
    WasmFeatures,
};

use super::admission::{Bound, FEATURES};
use super::meter::Parts;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What the engine itself needs beside what guests may use: the code with which it hands values from one
/// component to another has the memories of both.
const ENGINE_FEATURES: WasmFeatures = FEATURES.union(WasmFeatures::MULTI_MEMORY);
/// Stack that guests' frames may take. Wasmtime's own default.
const GUEST_STACK: usize = 512 * KIB;
/// Stack that a call has in all: the guest's, and the host's frames below it.
const CALL_STACK: usize = 2 * MIB;
/// Images of initial memory up to this size are always made, however sparse: a module of a hundred
/// bytes can ask for one. Above, they are made only if the module fills half of them.
const DENSE_IMAGE: u64 = MIB as u64;
/// Memory of an ended guest that is wiped by hand rather than given back to the kernel. Small guests
/// touch no more than this, and page faults cost them more than wiping does.
const KEEP_MEMORY: usize = 128 * KIB;
const KEEP_TABLE: usize = 16 * KIB;
/// What the host keeps of one component's instances, all together. Only counted, not reserved.
const COMPONENT_INSTANCE: usize = Bound::InstanceBytes.limit() + 2 * MIB;
/// Stacks of one run: its own, and one for `alloc` while a host call of `host-v1` waits for it to place a
/// reply. A call into the guest takes a stack each time, and there it cannot make another.
const STACKS: u32 = 2;
/// Frames named in a trap's message.
const TRAP_FRAMES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Not even a small pool could be reserved.
    #[error(
        "cannot reserve address space for {slots} runs (each takes 16 GiB of it, not of memory): {reason}; \
         is there a limit on virtual memory (ulimit -v, RLIMIT_AS)?"
    )]
    AddressSpace {
        /// The size of the smallest pool that was tried.
        slots: usize,
        /// What the engine says.
        reason: String,
    },
    /// The compiler does not run on this machine.
    #[error("cannot set up the compiler: {0}")]
    Compiler(String),
    /// The host functions could not be set up.
    #[error("cannot set up the functions that guests call: {0}")]
    Linking(String),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// An engine, and how many runs it has room for.
pub(super) struct Pooled {
    pub(super) engine: Engine,
    pub(super) slots: usize,
}

/// The engine of compilers: makes what the other one loads, and has no room for instances.
pub(super) fn for_compiling() -> Result<Engine, StartError> {
    Engine::new(&code()).map_err(|error| StartError::Compiler(error.root_cause().to_string()))
}

/// Makes the engine with room for `slots` runs, of whatever mode, or for fewer where the address space is short.
pub(super) fn build(slots: usize) -> Result<Pooled, StartError> {
    const FEWEST: usize = 4;
    let mut slots = slots.clamp(FEWEST, u32::MAX as usize);
    loop {
        match Engine::new(&config(slots as u32)) {
            Ok(engine) => return Ok(Pooled { engine, slots }),
            Err(error) if slots == FEWEST => {
                return Err(StartError::AddressSpace { slots, reason: error.root_cause().to_string() });
            }
            Err(error) => {
                let fewer = (slots / 4).max(FEWEST);
                tracing::warn!(slots, fewer, reason = %error.root_cause(), "no room for so many instances; trying with fewer");
                slots = fewer;
            }
        }
    }
}

fn config(slots: u32) -> Config {
    let mut config = code();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots)));
    config
}

/// What compiled code depends on, and what it is compiled and run with in any case.
fn code() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        // The same bits for every NaN, on every machine.
        .cranelift_nan_canonicalization(true)
        .wasm_features(WasmFeatures::all().difference(ENGINE_FEATURES), false)
        .wasm_features(ENGINE_FEATURES, true)
        // Compiling on the caller's thread only: it has its own, at a low priority.
        .parallel_compilation(false)
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(CALL_STACK)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(DENSE_IMAGE)
        .wasm_backtrace_max_frames(Some(TRAP_FRAMES))
        // Traps name functions, not offsets; without the map artifacts are smaller.
        .generate_address_map(false);
    config
}

/// What admission lets in fits into a slot, and all slots may be taken by components.
fn pool(slots: u32) -> PoolingAllocationConfig {
    let Parts { instances, memories, tables } = Parts::COMPONENT;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(slots.saturating_mul(instances))
        .total_memories(slots.saturating_mul(memories))
        .total_tables(slots.saturating_mul(tables))
        .total_stacks(slots.saturating_mul(STACKS))
        .total_component_instances(slots)
        .max_core_instances_per_component(instances)
        .max_memories_per_component(memories)
        .max_tables_per_component(tables)
        .max_component_instance_size(COMPONENT_INSTANCE)
        .max_core_instance_size(MIB)
        .max_memories_per_module(Bound::Memories.limit() as u32)
        .max_tables_per_module(Bound::Tables.limit() as u32)
        .max_memory_size(Bound::InitialPages.limit() * 64 * KIB)
        .table_elements(Bound::TableElements.limit())
        .linear_memory_keep_resident(KEEP_MEMORY)
        .table_keep_resident(KEEP_TABLE)
        .max_unused_warm_slots(slots / 2)
        // Wiping by the kernel's list of dirty pages has let pages through that were swapped out.
        .pagemap_scan(Enabled::No);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_has_the_features_that_admission_checks_and_one_for_itself() {
        let engine = build(4).unwrap().engine;
        assert_eq!(engine.get_wasm_features(), FEATURES.union(WasmFeatures::MULTI_MEMORY));
        assert!(!FEATURES.contains(WasmFeatures::MULTI_MEMORY));
    }

    #[test]
    fn a_pool_beyond_the_address_space_becomes_a_smaller_one() {
        // A million slots are 4 PiB; x86-64 and aarch64 processes have 128 or 256 TiB.
        let pooled = build(1_000_000).unwrap();
        assert!(pooled.slots >= 4 && pooled.slots < 100_000, "{}", pooled.slots);
    }
}
