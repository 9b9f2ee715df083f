//! The calls of sealing that Rust cannot vouch for.

#![allow(unsafe_code)]

use std::io;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};

/// Closes what a careless parent left open, from the first descriptor after the standard three.
pub(super) fn close_all_but_the_standard_files() -> Result<(), Errno> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: called before anything was opened by this process, so nobody owns what it closes.
    match unsafe { libc::close_range(FIRST, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}

/// Leaves the user and the network of the machine, as far as the kernel allows either; says which.
pub(super) fn enter_namespaces() -> (bool, bool) {
    const NET: UnshareFlags = UnshareFlags::NEWNET.union(UnshareFlags::NEWIPC);
    // A user without rights gets a network of its own only together with a user namespace; root may
    // be refused the latter and be given the former.
    if unshare(UnshareFlags::NEWUSER | NET).is_ok() {
        return (true, true);
    }
    (unshare(UnshareFlags::NEWUSER).is_ok(), unshare(NET).is_ok())
}

fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: what is asked of the caller concerns tables of descriptors, which are not unshared.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Gives up all capabilities, those over the new namespaces too.
pub(super) fn drop_capabilities() -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )
}

/// Has a write beyond the limit of a file fail, where it would end the process.
pub(super) fn ignore_signal_of_long_files() -> io::Result<()> {
    // SAFETY: no code of ours is to be run when the signal comes.
    match unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Maps a page, and gives it back.
pub(in super::super) fn map(protection: libc::c_int, kind: libc::c_int) -> io::Result<()> {
    const PAGE: usize = 4096;
    let anywhere = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the kernel chooses a place that nobody has.
    let place = unsafe { libc::mmap(anywhere, PAGE, protection, kind | libc::MAP_ANONYMOUS, -1, 0) };
    if place == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: nobody has been told of it.
    unsafe { libc::munmap(place, PAGE) };
    Ok(())
}

/// Asks how much processor time another process had.
pub(in super::super) fn processor_time_of(process: Pid) -> io::Result<()> {
    // `CPUCLOCK_SCHED` of the process, as linux/posix-timers.h has it.
    let clock = (!process.as_raw_nonzero().get() << 3) | 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is there for the answer.
    match unsafe { libc::clock_gettime(clock, &mut time) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Attaches to a process as a debugger does.
pub(in super::super) fn attach_to(process: Pid) -> io::Result<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: no memory is involved.
    match unsafe { libc::ptrace(libc::PTRACE_SEIZE, process.as_raw_nonzero().get(), nothing, nothing) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Reads some byte of another process.
pub(in super::super) fn read_memory_of(process: Pid) -> io::Result<()> {
    let mut byte = 0u8;
    let here = libc::iovec { iov_base: std::ptr::from_mut(&mut byte).cast(), iov_len: 1 };
    // A place that this process has something at, and its parent likely too.
    let there = libc::iovec { iov_base: std::ptr::from_ref(&LIKELY_PLACE).cast_mut().cast(), iov_len: 1 };
    // SAFETY: `here` is one byte that outlives the call; `there` is the other process's.
    match unsafe { libc::process_vm_readv(process.as_raw_nonzero().get(), &here, 1, &there, 1, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

static LIKELY_PLACE: u8 = 0;

/// The numbers, of all there may be, whose calls are not refused with the filter's error though they
/// are not `allowed`.
pub(super) fn calls_not_refused(allowed: impl Fn(i64) -> bool) -> Vec<i64> {
    // The highest number of any architecture is below 600, and x32's begin at 2^30.
    const X32: i64 = 0x4000_0000;
    // On x86-64 the kernel lets these two past any filter; but from where the kernel itself did not put
    // them (`uretprobe`, `uprobe`) they do nothing but end the process.
    const PROBES: [i64; 2] = [335, 336];
    let is_tried = |call: &i64| !(allowed(*call) || cfg!(target_arch = "x86_64") && PROBES.contains(call));
    let all = (0..600).chain(X32..X32 + 600).filter(is_tried);
    let refused = |call: &i64| {
        // SAFETY: all arguments are zero, which no call takes for the address of anything; and the
        // filter is there so that it does not come to that.
        let result = unsafe { libc::syscall(*call as libc::c_long, 0, 0, 0, 0, 0, 0) };
        result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
    };
    all.filter(|call| !refused(call)).collect()
}

/// Those of `numbers` that are open, and lead somewhere.
pub(in super::super) fn descriptors(numbers: std::ops::Range<i32>) -> Vec<i32> {
    let is_open = |number: &i32| {
        // SAFETY: moves nothing, by no distance from where it is.
        let place = unsafe { libc::lseek(*number, 0, libc::SEEK_CUR) };
        place != -1 || io::Error::last_os_error().raw_os_error() != Some(libc::EBADF)
    };
    numbers.filter(|number| is_open(number) && !is_null(*number)).collect()
}

/// Whether an open descriptor is of `/dev/null`.
fn is_null(descriptor: i32) -> bool {
    // SAFETY: it is open, and nobody else in this process closes descriptors meanwhile.
    let descriptor = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
    rustix::fs::fstat(descriptor).is_ok_and(|file| {
        rustix::fs::FileType::from_raw_mode(file.st_mode) == rustix::fs::FileType::CharacterDevice
            && file.st_rdev == rustix::fs::makedev(1, 3)
    })
}
