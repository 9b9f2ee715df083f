//! What a compiler process does: compiles one module, and ends.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::compiles::CompileLimits;
use super::memfile;
use super::message::{Began, FromCompiler, MAX_TO_PROCESS, ToCompiler, Walls, message, packet};
use super::seal;
use super::socket::{Broken, Incoming, Receiver};
use crate::sandbox::{CompileError, Compiler, MAX_COMPILED_BYTES, Refusal, compiling_thread};

/// How far compilers give way: guests come before them.
const NICENESS: i32 = 19;
const FILES: u64 = 64;

/// Compiles what the service sends.
pub(super) fn serve(socket: BorrowedFd<'static>) -> Result<(), Broken> {
    let mut receiver = Receiver::new(MAX_TO_PROCESS);
    let own: CompileLimits = message(&receiver.receive(socket)?).map_err(|_| Broken::Malformed)?;
    let limits = seal::Limits {
        data_bytes: own.memory_bytes,
        address_space_bytes: Some(own.memory_bytes),
        cpu_seconds: Some(own.cpu_seconds),
        files: FILES,
        file_bytes: MAX_COMPILED_BYTES as u64,
        niceness: NICENESS,
    };
    match seal::lock_in(&limits) {
        Ok(walls) => {
            // Made before the seal; waits there until this thread has sealed both.
            let thread = compiling_thread("compiler".into(), move || work(socket, receiver, walls))?;
            thread.join().unwrap_or(Err(Broken::Closed))
        }
        Err(reason) => Ok(packet(&Began::Failed(reason.to_string()), None)?.send(socket)?),
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Broken {
        Broken::Io(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

fn work(socket: BorrowedFd<'static>, mut receiver: Receiver, walls: Walls) -> Result<(), Broken> {
    let prepared = Compiler::new().map_err(|error| error.to_string()).and_then(|compiler| {
        seal::seal().map_err(|error| error.to_string())?;
        Ok(compiler)
    });
    let compiler = match prepared {
        Ok(compiler) => compiler,
        Err(reason) => return Ok(packet(&Began::Failed(reason), None)?.send(socket)?),
    };
    packet(&Began::Ready(walls), None)?.send(socket)?;
    let incoming: Incoming = receiver.receive(socket)?;
    let ToCompiler { mode, code } = message(&incoming).map_err(|_| Broken::Malformed)?;
    // The packet's bytes are copied by now.
    drop(incoming);
    let (answer, file) = match compiler.compile(mode, &code.0) {
        Ok(compiled) => (FromCompiler::Compiled, Some(memfile::holding(compiled.code())?)),
        Err(CompileError::Refused(Refusal::ArtifactTooLarge { bytes })) => {
            (FromCompiler::TooLarge { bytes }, None)
        }
        Err(CompileError::Refused(Refusal::Compiler { reason })) => (FromCompiler::Refused { reason }, None),
        Err(CompileError::Refused(Refusal::Unlinkable { reason })) => {
            (FromCompiler::Unlinkable { reason }, None)
        }
        Err(CompileError::Refused(refusal)) => (FromCompiler::Refused { reason: refusal.to_string() }, None),
        Err(_) => (FromCompiler::Lost, None),
    };
    Ok(packet(&answer, file)?.send(socket)?)
}
