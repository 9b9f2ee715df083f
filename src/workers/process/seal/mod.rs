//! What a process gives up before it sees the first byte of a guest.
//!
//! The order matters. Limits, namespaces and Landlock come while there is one thread, since the kernel
//! applies the latter two to the calling thread alone. Then threads are started and memory is
//! reserved, which the filter of system calls no longer allows. The filter comes last, for all
//! threads at once. Without the filter a process does not go on; without the others it says so.

mod filter;
mod kernel;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

pub(super) use kernel::{attach_to, descriptors, map, processor_time_of, read_memory_of};

use super::message::Walls;

/// What a process may use, as the kernel counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Memory that can be written, whether it is in use or not.
    pub(super) data_bytes: u64,
    /// Address space. A pool of instances reserves far more than it uses, so workers have no bound.
    pub(super) address_space_bytes: Option<u64>,
    /// Processor time in all.
    pub(super) cpu_seconds: Option<u64>,
    /// Descriptors: a module keeps some.
    pub(super) files: u64,
    /// The length of each file, all of which are memory that no other limit counts.
    pub(super) file_bytes: u64,
    /// How far it gives way to the service.
    pub(super) niceness: i32,
}

/// How far the main thread's stack may grow; those of other threads are of the length that they have.
const STACK_BYTES: u64 = 8 << 20;

/// Why a process is not sealed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {reason}")]
pub(super) struct NotSealed {
    what: &'static str,
    reason: String,
}

impl NotSealed {
    fn to<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> NotSealed {
        move |reason| NotSealed { what, reason: reason.to_string() }
    }
}

/// The first half, to be called on the only thread there is, before anything is read but our own
/// words.
pub(super) fn lock_in(limits: &Limits) -> Result<Walls, NotSealed> {
    kernel::close_all_but_the_standard_files().map_err(NotSealed::to("close inherited descriptors"))?;
    // Both are a courtesy to the others: the kernel may refuse them.
    let _ = rustix::process::nice(limits.niceness);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(NotSealed::to("ask to end with the service"))?;
    // Whoever debugs a process may do all that it may, and more: nobody may debug this one.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(NotSealed::to("shut out debuggers"))?;
    rustix::thread::set_no_new_privs(true).map_err(NotSealed::to("give up new privileges"))?;
    set_limits(limits)?;
    let (user_namespace, network_namespace) = kernel::enter_namespaces();
    kernel::drop_capabilities().map_err(NotSealed::to("give up capabilities"))?;
    let landlock = shut_file_system().map_err(NotSealed::to("shut the file system"))?;
    // The kernel takes these two back where it finds that a process has become another user.
    let is_kept = rustix::process::dumpable_behavior() == Ok(DumpableBehavior::NotDumpable)
        && rustix::process::parent_process_death_signal() == Ok(Some(Signal::KILL));
    if !is_kept {
        return Err(NotSealed { what: "keep debuggers out", reason: "the kernel took it back".into() });
    }
    Ok(Walls { landlock, network_namespace, user_namespace })
}

/// The second half, when all threads stand.
pub(super) fn seal() -> Result<(), NotSealed> {
    // Before, it would have been in the way of our own threads.
    set(Resource::Nproc, 0)?;
    filter::apply().map_err(NotSealed::to("filter system calls"))
}

/// Of all numbers of system calls, those that are neither allowed nor refused; to be asked behind the
/// filter.
pub(super) fn calls_not_refused() -> Vec<i64> {
    kernel::calls_not_refused(filter::allows)
}

fn set_limits(limits: &Limits) -> Result<(), NotSealed> {
    set(Resource::Core, 0)?;
    set(Resource::Data, limits.data_bytes)?;
    // Not counted as data.
    set(Resource::Stack, STACK_BYTES)?;
    set(Resource::Nofile, limits.files)?;
    kernel::ignore_signal_of_long_files().map_err(NotSealed::to("bound files"))?;
    set(Resource::Fsize, limits.file_bytes)?;
    set(Resource::Memlock, 0)?;
    set(Resource::Msgqueue, 0)?;
    if let Some(bytes) = limits.address_space_bytes {
        set(Resource::As, bytes)?;
    }
    if let Some(seconds) = limits.cpu_seconds {
        // At the first the process is told, which ends it; at the second it is killed.
        let limit = Rlimit { current: Some(seconds), maximum: Some(seconds + 1) };
        rustix::process::setrlimit(Resource::Cpu, limit).map_err(NotSealed::to("set a limit"))?;
    }
    Ok(())
}

/// Lowers a limit for good, or leaves it where it is lower already.
fn set(resource: Resource, value: u64) -> Result<(), NotSealed> {
    let before = rustix::process::getrlimit(resource).maximum;
    let value = Some(before.map_or(value, |before| before.min(value)));
    rustix::process::setrlimit(resource, Rlimit { current: value, maximum: value })
        .map_err(NotSealed::to("set a limit"))
}

/// Shuts every path, every port and every socket of other processes that this kernel can shut.
/// `false` where it has no Landlock.
fn shut_file_system() -> Result<bool, RulesetError> {
    const NEWEST: ABI = ABI::V6;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}
