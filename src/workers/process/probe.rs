//! A sealed process that tries to get out, and tells how far it came.
//!
//! It is sealed by the same calls as a worker. A service with `--isolation process` asks one at its
//! start, and does not start if the walls of this machine let anything through.

use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};

use super::message::{Began, Begin, MAX_TO_PROCESS, Walls, message, packet};
use super::seal;
use super::socket::{Broken, Receiver};

/// How far a process came that was sealed like a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Probe {
    /// Everything that was tried behind all walls.
    pub tried: Vec<Attempt>,
    /// What was tried behind all walls but the filter of system calls; nothing, where Landlock is not
    /// one of them.
    pub tried_without_filter: Vec<Attempt>,
    /// System calls, by number, that are neither on the list nor refused.
    pub calls_not_refused: Vec<i64>,
    /// Descriptors beside the socket and those of `/dev/null`.
    pub descriptors: Vec<i32>,
    /// Variables of the environment.
    pub variables: usize,
    /// Whether this kernel has Landlock.
    pub landlock: bool,
    /// Whether processes have a network namespace of their own.
    pub network_namespace: bool,
}

/// One way out that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// What was tried.
    pub what: String,
    /// The error's number that it was refused with; none if it was not refused.
    pub refused: Option<i32>,
}

impl Probe {
    /// What got through the walls; empty if they stand.
    pub fn holes(&self) -> Vec<String> {
        let through = self.tried.iter().filter(|attempt| attempt.refused.is_none());
        let mut holes: Vec<String> = through.map(|attempt| attempt.what.clone()).collect();
        holes.extend(self.calls_not_refused.iter().map(|call| format!("system call {call}")));
        holes.extend(self.descriptors.iter().map(|descriptor| format!("descriptor {descriptor}")));
        if self.variables > 0 {
            holes.push("the environment".into());
        }
        holes
    }
}

/// Above the limit that a process has, none can be.
const MOST_DESCRIPTORS: i32 = 1024;

/// Tries everything, and sends the [`Probe`].
pub(super) fn serve(socket: BorrowedFd<'static>, limits: &seal::Limits) -> Result<(), Broken> {
    let _: Begin = message(&Receiver::new(MAX_TO_PROCESS).receive(socket)?).map_err(|_| Broken::Malformed)?;
    // Asked for now: the filter refuses the question.
    let service = rustix::process::getppid().unwrap_or(Pid::INIT);
    let sealed = seal::lock_in(limits).and_then(|walls| {
        // Where the file system is open still, this would leave traces in it.
        let tried_without_filter = if walls.landlock { attempts(service) } else { Vec::new() };
        seal::seal()?;
        Ok((walls, tried_without_filter))
    });
    let (walls, tried_without_filter) = match sealed {
        Ok(sealed) => sealed,
        Err(error) => return Ok(packet(&Began::Failed(error.to_string()), None)?.send(socket)?),
    };
    packet(&Began::Ready(walls), None)?.send(socket)?;
    let Walls { landlock, network_namespace, .. } = walls;
    let probe = Probe {
        tried: attempts(service),
        tried_without_filter,
        calls_not_refused: seal::calls_not_refused(),
        descriptors: seal::descriptors(1..MOST_DESCRIPTORS),
        variables: std::env::vars_os().count(),
        landlock,
        network_namespace,
    };
    Ok(packet(&probe, None)?.send(socket)?)
}

fn attempts(service: Pid) -> Vec<Attempt> {
    let loopback = ("127.0.0.1", 1);
    const READ_WRITE: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;
    let more_files = Rlimit { current: Some(65_536), maximum: Some(65_536) };
    let tried: [(&str, io::Result<()>); 26] = [
        ("open a file", File::open("/etc/passwd").map(drop)),
        ("open a process's memory", File::open(format!("/proc/{}/mem", service.as_raw_nonzero())).map(drop)),
        ("list a directory", std::fs::read_dir("/").map(drop)),
        ("make a file", File::create("/tmp/at-functions-probe").map(drop)),
        ("make a directory", std::fs::create_dir("/tmp/at-functions-probe")),
        ("follow a link", std::fs::read_link("/proc/self/exe").map(drop)),
        ("change the directory", std::env::set_current_dir("/tmp")),
        ("connect by TCP", TcpStream::connect(loopback).map(drop)),
        ("listen by TCP", TcpListener::bind(("127.0.0.1", 0)).map(drop)),
        ("send by UDP", UdpSocket::bind(("127.0.0.1", 0)).and_then(|s| s.send_to(b"x", loopback)).map(drop)),
        ("make a unix socket", UnixDatagram::pair().map(drop)),
        ("start a process", start()),
        ("become another program", Err(Command::new("/bin/true").exec())),
        ("debug the service", seal::attach_to(service)),
        ("read the service's memory", seal::read_memory_of(service)),
        ("signal the service", rustix::process::kill_process(service, Signal::CONT).map_err(Into::into)),
        (
            "watch the service",
            rustix::process::pidfd_open(service, PidfdFlags::empty()).map(drop).map_err(Into::into),
        ),
        ("raise a limit", rustix::process::setrlimit(Resource::Nofile, more_files).map_err(Into::into)),
        (
            "be debugged",
            rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(Into::into),
        ),
        ("raise the priority", rustix::process::setpriority_process(None, -1).map_err(Into::into)),
        ("take all memory", take_memory()),
        ("fill a file without end", stretch_a_file()),
        ("map memory that is written and run", seal::map(READ_WRITE | libc::PROT_EXEC, libc::MAP_PRIVATE)),
        ("map memory that no limit counts", seal::map(READ_WRITE, libc::MAP_SHARED)),
        ("map a stack that no limit counts", seal::map(READ_WRITE, libc::MAP_PRIVATE | libc::MAP_GROWSDOWN)),
        ("see what the service is busy with", seal::processor_time_of(service)),
    ];
    tried.into_iter().map(|(what, result)| Attempt { what: what.into(), refused: number(result) }).collect()
}

fn number(result: io::Result<()>) -> Option<i32> {
    // An error without a number is one of the standard library's own making.
    result.err().map(|error| error.raw_os_error().unwrap_or(0))
}

fn start() -> io::Result<()> {
    Command::new("/bin/true").stdin(Stdio::null()).status().map(drop)
}

/// A terabyte, of which no byte is touched.
fn take_memory() -> io::Result<()> {
    let mut much: Vec<u8> = Vec::new();
    much.try_reserve_exact(1 << 40).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// A terabyte, which a memory file may have where nothing bounds it.
fn stretch_a_file() -> io::Result<()> {
    let file = rustix::fs::memfd_create("probe", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(rustix::fs::ftruncate(file, 1 << 40)?)
}
