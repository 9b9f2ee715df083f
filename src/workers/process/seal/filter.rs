//! The system calls that a sealed process has left.
//!
//! An allow-list: whatever is not on it fails with `EPERM`. It is the same for workers and compilers.
//! None of it opens, starts, signals or connects anything: what a process can still do is compute,
//! use memory, sleep, and speak through the socket that it has.

use std::collections::BTreeMap;

use libc::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads,
};

/// Each call, and what it is needed for.
#[rustfmt::skip]
const ALLOWED: &[(c_long, &str)] = &[
    // The socket.
    (SYS_recvmsg, "messages of the service, and files that come with them"),
    (SYS_sendmsg, "messages to the service"),
    // Memory files, of which descriptors are all that there is.
    (SYS_write, "filling a memory file"),
    (SYS_ftruncate, "making room in a memory file"),
    (SYS_pread64, "reading a memory file"),
    (SYS_lseek, "reading a memory file"),
    (SYS_fstat, "the length of a memory file"),
    (SYS_close, "giving a memory file back"),
    // Memory.
    (SYS_brk, "the allocator"),
    (SYS_munmap, "the allocator, code, instances"),
    (SYS_membarrier, "new code is seen by all processors (aarch64)"),
    // Threads that exist already.
    (SYS_sched_yield, "locks"),
    (SYS_gettid, "locks"),
    (SYS_set_robust_list, "the end of a thread"),
    (SYS_rseq, "the end of a thread"),
    (SYS_exit, "the end of a thread"),
    (SYS_exit_group, "the end of the process"),
    // Traps of guests are signals.
    (SYS_rt_sigreturn, "the way back from a trap"),
    (SYS_rt_sigprocmask, "the end of a thread"),
    (SYS_sigaltstack, "stacks on which traps are handled"),
    // Time, and randomness for hash tables and for guests.
    (SYS_restart_syscall, "sleeping on after a signal"),
    (SYS_getrandom, "seeds of hash tables; random numbers of guests"),
];

/// A bound on an argument of a call: those of its bits that are in `mask` are one of `values`.
struct Bound {
    argument: u8,
    mask: u64,
    values: &'static [u64],
}

const fn bound(argument: u8, mask: u64, values: &'static [u64]) -> Bound {
    Bound { argument, mask, values }
}

/// All of an `int`; the kernel does not look at the upper half of the register either.
const INT: u64 = 0xffff_ffff;
const WRITE: u64 = PROT_WRITE as u64;
const EXEC: u64 = PROT_EXEC as u64;
/// What each map may be: only its own, as the limit on data counts no other, and with no more of the
/// machine's memory than is touched.
const MAP_KINDS: u64 = (MAP_TYPE | MAP_GROWSDOWN | MAP_HUGETLB | MAP_LOCKED) as u64;
/// Bits of `mprotect` that spread a change beyond what was named.
const PROT_GROWS: u64 = (PROT_GROWSDOWN | PROT_GROWSUP) as u64;
/// The number of a futex operation, without its two flags.
const FUTEX_OPERATION: u64 = !((FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME) as u64) & INT;
const MEMFD_FLAGS: u64 = (MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) as u64;

/// Calls of which a part is left, the bounds on their arguments, and what they are needed for.
#[rustfmt::skip]
const ALLOWED_WITHIN: &[(c_long, &[Bound], &str)] = &[
    (SYS_mmap, &[bound(2, EXEC, &[0]), bound(3, MAP_KINDS, &[MAP_PRIVATE as u64])],
        "the allocator, code, instances; nothing that is shared, and nothing that runs at once"),
    (SYS_mprotect, &[bound(2, WRITE | EXEC | PROT_GROWS, &[0, WRITE, EXEC])],
        "code becomes executable, and is then not writable; instances grow"),
    (SYS_mremap, &[bound(3, !(MREMAP_MAYMOVE as u64) & INT, &[0])], "the allocator"),
    (SYS_madvise, &[bound(2, INT, &[MADV_DONTNEED as u64, MADV_FREE as u64])],
        "memory of ended instances is given back; it is never merged with that of others"),
    (SYS_memfd_create, &[bound(1, !MEMFD_FLAGS & INT, &[0])],
        "outputs too long for a message; images of instances' memory"),
    (SYS_fcntl, &[bound(1, INT, &[F_ADD_SEALS as u64, F_GET_SEALS as u64])], "sealing a memory file"),
    (SYS_futex, &[bound(1, FUTEX_OPERATION,
        &[FUTEX_WAIT as u64, FUTEX_WAKE as u64, FUTEX_WAIT_BITSET as u64, FUTEX_WAKE_BITSET as u64])],
        "locks, of the plain kind"),
    // Clocks with other numbers are those of other processes.
    (SYS_clock_gettime, &[bound(0, INT, &[
        CLOCK_REALTIME as u64, CLOCK_MONOTONIC as u64, CLOCK_PROCESS_CPUTIME_ID as u64,
        CLOCK_THREAD_CPUTIME_ID as u64, CLOCK_MONOTONIC_COARSE as u64])], "the processor time of a guest"),
    (SYS_read, &[bound(2, u64::MAX, &[8])], "the beat of time slices: how often its timer rang"),
    (SYS_timerfd_settime, &[bound(1, INT, &[0])], "the beat of time slices: its timer, which there is already"),
    // A crash ends the process only after its handler has given the signal back to the kernel: without
    // this call the same instruction would fault for ever.
    (SYS_rt_sigaction, &[bound(0, INT, &[
        SIGSEGV as u64, SIGBUS as u64, SIGILL as u64, SIGFPE as u64, SIGABRT as u64])], "the end by a crash"),
];

/// Puts all threads of this process behind the filter, for good.
pub(super) fn apply() -> Result<(), seccompiler::Error> {
    apply_filter_all_threads(&program()?)
}

/// Whether a call is on the lists, if only with some arguments.
pub(super) fn allows(call: i64) -> bool {
    ALLOWED.iter().any(|(allowed, _)| *allowed == call)
        || ALLOWED_WITHIN.iter().any(|(allowed, ..)| *allowed == call)
}

fn program() -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<_, _> = ALLOWED.iter().map(|(call, _)| (*call, Vec::new())).collect();
    for (call, bounds, _) in ALLOWED_WITHIN {
        rules.insert(*call, rules_within(bounds)?);
    }
    // Another architecture's calls, which have other numbers, end the process.
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(EPERM as u32),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(filter.try_into()?)
}

/// A rule for each way to choose a value of every bound.
fn rules_within(bounds: &[Bound]) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let mut ways: Vec<Vec<SeccompCondition>> = vec![Vec::new()];
    for Bound { argument, mask, values } in bounds {
        let mut longer = Vec::new();
        for (way, value) in ways.iter().flat_map(|way| values.iter().map(move |value| (way, value))) {
            let is = SeccompCmpOp::MaskedEq(*mask);
            let condition = SeccompCondition::new(*argument, SeccompCmpArgLen::Qword, is, *value)?;
            longer.push(way.iter().cloned().chain([condition]).collect());
        }
        ways = longer;
    }
    Ok(ways.into_iter().map(SeccompRule::new).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
