//! The program that the kernel is given, run here as the kernel runs it.

use super::*;

const ALLOW: u32 = SECCOMP_RET_ALLOW;
const REFUSED: u32 = SECCOMP_RET_ERRNO | EPERM as u32;

#[cfg(target_arch = "x86_64")]
const THIS: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const THIS: u32 = 0xc000_00b7;

/// What the filter says to a call of an architecture.
fn verdict_of(architecture: u32, call: i64, arguments: [u64; 6]) -> u32 {
    let number = (call as u32).to_le_bytes();
    let data = [&number[..], &architecture.to_le_bytes(), &[0; 8]].concat();
    let data = [data, arguments.map(u64::to_le_bytes).concat()].concat();
    let program = program().unwrap();
    let (mut at, mut word) = (0, 0u32);
    loop {
        let step = &program[at];
        at += 1;
        let jump = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
        match step.code {
            0x20 => word = u32::from_le_bytes(data[step.k as usize..][..4].try_into().unwrap()),
            0x05 => at += step.k as usize,
            0x15 => at += jump(word == step.k),
            0x25 => at += jump(word > step.k),
            0x35 => at += jump(word >= step.k),
            0x54 => word &= step.k,
            0x06 => return step.k,
            other => panic!("an instruction {other:#x}"),
        }
    }
}

fn verdict(call: c_long, arguments: [u64; 6]) -> u32 {
    verdict_of(THIS, call, arguments)
}

#[test]
fn the_filter_is_one_that_the_kernel_takes() {
    // The kernel's own bound on instructions is 4,096.
    assert!((50..1_000).contains(&program().unwrap().len()));
}

#[test]
fn calls_by_the_numbers_of_another_architecture_end_the_process() {
    const I386: u32 = 0x4000_0003;
    const ARM: u32 = 0x4000_0028;
    for architecture in [I386, ARM, 0, THIS ^ 1] {
        for call in [0, SYS_close, SYS_write, 11] {
            assert_eq!(verdict_of(architecture, call, [0; 6]), SECCOMP_RET_KILL_PROCESS);
        }
    }
    // x32 has this architecture, and a bit of its own in the number.
    assert_eq!(verdict(0x4000_0000 | SYS_close, [0; 6]), REFUSED);
}

#[test]
fn every_call_but_those_on_the_lists_is_refused() {
    for call in (0..1024).filter(|call| !allows(*call)) {
        assert_eq!(verdict(call, [0; 6]), REFUSED, "{call}");
        assert_eq!(verdict(call, [u64::MAX; 6]), REFUSED, "{call}");
    }
    for (call, _) in ALLOWED {
        assert_eq!(verdict(*call, [u64::MAX; 6]), ALLOW, "{call}");
    }
    assert_eq!(ALLOWED.len() + ALLOWED_WITHIN.len(), (0..1024).filter(|call| allows(*call)).count());
}

#[test]
fn calls_with_bounds_pass_within_them_alone() {
    let protection = |bits: c_int, kind: c_int| [0, 4096, bits as u64, kind as u64, u64::MAX, 0];
    let second = |value: i64| [0, value as u64, 0, 0, 0, 0];
    let third = |value: i64| [0, 0, value as u64, 0, 0, 0];
    let fourth = |value: i64| [0, 0, 0, value as u64, 0, 0];
    let first = |value: i64| [value as u64, 0, 0, 0, 0, 0];
    const OWN: c_int = MAP_PRIVATE | MAP_ANONYMOUS;
    const READ_WRITE: c_int = PROT_READ | PROT_WRITE;
    let allowed: &[(c_long, [u64; 6])] = &[
        (SYS_mmap, protection(READ_WRITE, OWN)),
        (SYS_mmap, protection(PROT_NONE, OWN | MAP_NORESERVE | MAP_FIXED)),
        (SYS_mmap, protection(READ_WRITE, MAP_PRIVATE | MAP_FIXED)),
        (SYS_mprotect, third(PROT_NONE.into())),
        (SYS_mprotect, third(READ_WRITE.into())),
        (SYS_mprotect, third((PROT_READ | PROT_EXEC).into())),
        (SYS_mremap, fourth(MREMAP_MAYMOVE.into())),
        (SYS_madvise, third(MADV_DONTNEED.into())),
        (SYS_memfd_create, second((MFD_CLOEXEC | MFD_ALLOW_SEALING).into())),
        (SYS_fcntl, second(F_ADD_SEALS.into())),
        (SYS_futex, second((FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG).into())),
        (SYS_futex, second((FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME).into())),
        (SYS_futex, second((FUTEX_WAKE | FUTEX_PRIVATE_FLAG).into())),
        (SYS_clock_gettime, first(CLOCK_THREAD_CPUTIME_ID.into())),
        (SYS_read, third(8)),
        (SYS_timerfd_settime, second(0)),
        (SYS_rt_sigaction, first(SIGSEGV.into())),
        (SYS_rt_sigaction, first(SIGABRT.into())),
    ];
    for (call, arguments) in allowed {
        assert_eq!(verdict(*call, *arguments), ALLOW, "{call} {arguments:x?}");
    }
    // The clock of process 1, as the kernel numbers it.
    let clock_of_another = i64::from((!1 << 3) | 2);
    let refused: &[(c_long, [u64; 6])] = &[
        (SYS_mmap, protection(READ_WRITE | PROT_EXEC, OWN)),
        (SYS_mmap, protection(PROT_READ | PROT_EXEC, MAP_PRIVATE)),
        (SYS_mmap, protection(READ_WRITE, MAP_SHARED | MAP_ANONYMOUS)),
        (SYS_mmap, protection(READ_WRITE, MAP_SHARED_VALIDATE)),
        (SYS_mmap, protection(READ_WRITE, OWN | MAP_GROWSDOWN)),
        (SYS_mmap, protection(READ_WRITE, OWN | MAP_HUGETLB)),
        (SYS_mprotect, third((READ_WRITE | PROT_EXEC).into())),
        (SYS_mprotect, third((PROT_WRITE | PROT_EXEC).into())),
        (SYS_mprotect, third(i64::from(PROT_EXEC) | PROT_GROWS as i64)),
        (SYS_mremap, fourth((MREMAP_MAYMOVE | MREMAP_FIXED).into())),
        (SYS_madvise, third(MADV_MERGEABLE.into())),
        (SYS_madvise, third(MADV_HWPOISON.into())),
        (SYS_memfd_create, second((MFD_CLOEXEC | MFD_HUGETLB).into())),
        (SYS_fcntl, second(F_DUPFD.into())),
        (SYS_fcntl, second(F_SETOWN.into())),
        (SYS_futex, second(FUTEX_LOCK_PI.into())),
        (SYS_futex, second((FUTEX_CMP_REQUEUE_PI | FUTEX_PRIVATE_FLAG).into())),
        (SYS_clock_gettime, first(clock_of_another)),
        (SYS_read, third(7)),
        (SYS_read, third(1 << 32 | 8)),
        (SYS_timerfd_settime, second(TFD_TIMER_CANCEL_ON_SET.into())),
        // The end of the processor time that it may use.
        (SYS_rt_sigaction, first(SIGXCPU.into())),
        (SYS_rt_sigaction, first(SIGTERM.into())),
    ];
    for (call, arguments) in refused {
        assert_eq!(verdict(*call, *arguments), REFUSED, "{call} {arguments:x?}");
    }
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
