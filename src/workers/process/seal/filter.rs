//! The system calls that a sealed process has left.
//!
//! An allow-list: whatever is not on it fails with `EPERM`. It is the same for workers and compilers.
//! None of it opens, starts, signals or connects anything: what a process can still do is compute,
//! use memory, sleep, and speak through the socket that it has.

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
    (SYS_memfd_create, "outputs too long for a message; images of instances' memory"),
    (SYS_write, "filling a memory file"),
    (SYS_ftruncate, "making room in a memory file"),
    (SYS_pread64, "reading a memory file"),
    (SYS_lseek, "reading a memory file"),
    (SYS_fstat, "the length of a memory file"),
    (SYS_close, "giving a memory file back"),
    // Memory.
    (SYS_brk, "the allocator"),
    (SYS_mmap, "the allocator, code, instances"),
    (SYS_munmap, "the allocator, code, instances"),
    (SYS_mremap, "the allocator"),
    (SYS_mprotect, "code becomes executable; instances grow"),
    (SYS_madvise, "memory of ended instances is given back"),
    (SYS_membarrier, "new code is seen by all processors (aarch64)"),
    // Threads that exist already.
    (SYS_futex, "locks"),
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
    (SYS_clock_gettime, "the processor time of a guest"),
    (SYS_clock_nanosleep, "the beat of time slices"),
    (SYS_nanosleep, "the beat of time slices"),
    (SYS_restart_syscall, "sleeping on after a signal"),
    (SYS_getrandom, "seeds of hash tables; random numbers of guests"),
];

/// What of `fcntl` is left: sealing a memory file, and asking for its seals.
const ALLOWED_OF_FCNTL: [c_int; 2] = [F_ADD_SEALS, F_GET_SEALS];

/// Puts all threads of this process behind the filter, for good.
pub(super) fn apply() -> Result<(), seccompiler::Error> {
    apply_filter_all_threads(&program()?)
}

/// Whether a call is on the list.
pub(super) fn allows(call: i64) -> bool {
    ALLOWED.iter().any(|(allowed, _)| *allowed == call)
}

fn program() -> Result<BpfProgram, seccompiler::Error> {
    let command = |value: c_int| {
        let is = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value as u64)?;
        SeccompRule::new(vec![is])
    };
    let fcntl = ALLOWED_OF_FCNTL.into_iter().map(command).collect::<Result<_, _>>()?;
    let mut rules: std::collections::BTreeMap<_, _> =
        ALLOWED.iter().map(|(call, _)| (*call, Vec::new())).collect();
    rules.insert(SYS_fcntl, fcntl);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Errno(EPERM as u32),
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_one_that_the_kernel_takes() {
        // The kernel's own bound on instructions is 4,096.
        assert!((50..1_000).contains(&program().unwrap().len()));
    }

    #[test]
    fn nothing_that_reaches_out_is_on_the_list() {
        let out = [
            SYS_openat,
            SYS_openat2,
            SYS_socket,
            SYS_connect,
            SYS_bind,
            SYS_clone,
            SYS_clone3,
            SYS_execve,
            SYS_execveat,
            SYS_ptrace,
            SYS_process_vm_readv,
            SYS_process_vm_writev,
            SYS_kill,
            SYS_tkill,
            SYS_tgkill,
            SYS_prlimit64,
            SYS_setrlimit,
            SYS_prctl,
            SYS_unshare,
            SYS_setns,
            SYS_mount,
            SYS_bpf,
            SYS_io_uring_setup,
            SYS_userfaultfd,
            SYS_perf_event_open,
            SYS_seccomp,
            SYS_pidfd_getfd,
            SYS_statx,
            SYS_ioctl,
            SYS_sendto,
        ];
        for call in out {
            assert!(!allows(call), "{call}");
        }
    }
}
