//! The functions of preview 1.
//!
//! Those with something behind them are linked one by one. All others say no in the same way, so they
//! come from the table that admission goes by, and none can be forgotten.

use wasmtime::{Caller, FuncType, Linker, Val, ValType};

use super::abi::{Errno, Trouble, lowered, memory, read_u32, write};
use super::state::{State, StillClock};
use super::{Exit, descriptors, poll};
use crate::sandbox::admission::{HostFunction, ValueType, WASI, WASI_MODULES};
use crate::sandbox::guest::Guest;
use crate::sandbox::linear;

/// Links all of preview 1.
pub(in crate::sandbox) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for module in WASI_MODULES {
        link_streams(linker, module)?;
        link_process(linker, module)?;
        let linked = WASI.iter().filter(|function| HAVE_SOMETHING_BEHIND.contains(&function.name));
        debug_assert_eq!(linked.count(), HAVE_SOMETHING_BEHIND.len());
        for function in WASI.iter().filter(|function| !HAVE_SOMETHING_BEHIND.contains(&function.name)) {
            link_refusing(linker, module, function)?;
        }
    }
    Ok(())
}

/// What `link_streams` and `link_process` link.
const HAVE_SOMETHING_BEHIND: [&str; 17] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_filestat_get",
    "fd_read",
    "fd_sync",
    "fd_write",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
];

fn link_streams(linker: &mut Linker<Guest>, module: &str) -> wasmtime::Result<()> {
    linker
        .func_wrap(
            module,
            "fd_read",
            |caller: Caller<'_, Guest>, fd: i32, list: i32, count: i32, out: i32| {
                let arguments = [fd, list, count, out].map(|argument| argument as u32);
                with(caller, |memory, guest| descriptors::fd_read(memory, guest, arguments))
            },
        )?
        .func_wrap(
            module,
            "fd_write",
            |caller: Caller<'_, Guest>, fd: i32, list: i32, count: i32, out: i32| {
                let arguments = [fd, list, count, out].map(|argument| argument as u32);
                with(caller, |memory, guest| descriptors::fd_write(memory, guest, arguments))
            },
        )?
        .func_wrap(module, "fd_close", |caller: Caller<'_, Guest>, fd: i32| {
            with(caller, |_, guest| Ok(descriptors::fd_close(&mut guest.wasi, fd as u32)?))
        })?
        .func_wrap(module, "fd_fdstat_get", |caller: Caller<'_, Guest>, fd: i32, out: i32| {
            with(caller, |memory, guest| {
                Ok(descriptors::fd_fdstat_get(memory, &guest.wasi, fd as u32, out as u32)?)
            })
        })?
        .func_wrap(module, "fd_filestat_get", |caller: Caller<'_, Guest>, fd: i32, out: i32| {
            with(caller, |memory, guest| {
                Ok(descriptors::fd_filestat_get(memory, &guest.wasi, fd as u32, out as u32)?)
            })
        })?;
    // There is nothing between a write and where it goes.
    for name in ["fd_sync", "fd_datasync"] {
        linker.func_wrap(module, name, |caller: Caller<'_, Guest>, fd: i32| {
            with(caller, |_, guest| Ok(guest.wasi.descriptor(fd as u32).map(|_| ())?))
        })?;
    }
    Ok(())
}

fn link_process(linker: &mut Linker<Guest>, module: &str) -> wasmtime::Result<()> {
    // No arguments and no environment: counts and lengths of zero, and nothing to write.
    for name in ["args_sizes_get", "environ_sizes_get"] {
        linker.func_wrap(module, name, |caller: Caller<'_, Guest>, count: i32, bytes: i32| {
            with(caller, |memory, _| {
                read_u32(memory, bytes as u32)?;
                write(memory, count as u32, &[0; 4])?;
                Ok(write(memory, bytes as u32, &[0; 4])?)
            })
        })?;
    }
    for name in ["args_get", "environ_get"] {
        linker.func_wrap(module, name, |_: i32, _: i32| 0)?;
    }
    linker
        .func_wrap(module, "clock_res_get", |caller: Caller<'_, Guest>, clock: i32, out: i32| {
            with(caller, |memory, _| {
                StillClock::of(clock as u32)?;
                Ok(write(memory, out as u32, &RESOLUTION_NANOS.to_le_bytes())?)
            })
        })?
        .func_wrap(
            module,
            "clock_time_get",
            |caller: Caller<'_, Guest>, clock: i32, _precision: i64, out: i32| {
                with(caller, |memory, guest| {
                    let time = guest.wasi.time(StillClock::of(clock as u32)?);
                    // Enough until the year 2554.
                    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
                    Ok(write(memory, out as u32, &nanos.to_le_bytes())?)
                })
            },
        )?
        .func_wrap(module, "random_get", |caller: Caller<'_, Guest>, buffer: i32, length: i32| {
            with(caller, |memory, guest| {
                let place = linear::region_mut(memory, buffer as u32, length as u32).ok_or(Errno::Fault)?;
                Ok(guest.wasi.random(place)?)
            })
        })?
        // The guest gives its thread back at each tick in any case.
        .func_wrap(module, "sched_yield", || 0)?
        .func_wrap(module, "proc_exit", |code: i32| -> wasmtime::Result<()> { Err(Exit(code).into()) })?
        .func_wrap_async(
            module,
            "poll_oneoff",
            |caller: Caller<'_, Guest>, (list, events, length, count): (i32, i32, i32, i32)| {
                let arguments = [list, events, length, count].map(|argument| argument as u32);
                Box::new(poll::poll_oneoff(caller, arguments))
            },
        )?;
    Ok(())
}

/// What the clocks say of themselves: no finer than a second, and they never show it.
const RESOLUTION_NANOS: u64 = 1_000_000_000;

/// Does the work of a function that does not wait.
fn with(
    mut caller: Caller<'_, Guest>,
    work: impl FnOnce(&mut [u8], &mut Guest) -> Result<(), Trouble>,
) -> wasmtime::Result<i32> {
    let memory = memory(&mut caller)?;
    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
    lowered(work(bytes, guest))
}

/// Links a function that has nothing behind it.
fn link_refusing(
    linker: &mut Linker<Guest>,
    module: &str,
    function: &'static HostFunction,
) -> wasmtime::Result<()> {
    let lower = |types: &'static [ValueType]| {
        types.iter().map(|ty| match ty {
            ValueType::I32 => ValType::I32,
            ValueType::I64 => ValType::I64,
        })
    };
    let ty = FuncType::new(linker.engine(), lower(function.params), lower(function.results));
    linker.func_new(module, function.name, ty, |caller, arguments, results| {
        // A descriptor comes first, but for `path_symlink` and `proc_raise`.
        let first = arguments.first().and_then(Val::i32).unwrap_or(-1) as u32;
        let errno = refusal(function.name, first, &caller.data().wasi);
        if let Some(result) = results.first_mut() {
            *result = Val::I32(i32::from(errno as u16));
        }
        Ok(())
    })?;
    Ok(())
}

/// How a function says that there is nothing.
fn refusal(name: &str, fd: u32, state: &State) -> Errno {
    match name {
        "proc_raise" => Errno::NoSys,
        // Its descriptor is not its first argument; none is a directory.
        "path_symlink" => Errno::BadF,
        // Toolchains ask this of each number from 3 on, until they hear that there is none.
        "fd_prestat_get" | "fd_prestat_dir_name" => Errno::BadF,
        _ if state.descriptor(fd).is_err() => Errno::BadF,
        "fd_seek" | "fd_tell" | "fd_pread" | "fd_pwrite" | "fd_advise" | "fd_allocate" => Errno::SPipe,
        "fd_readdir" => Errno::NotDir,
        name if name.starts_with("path_") => Errno::NotDir,
        name if name.starts_with("sock_") => Errno::NotSock,
        "fd_filestat_set_size" => Errno::Inval,
        "fd_fdstat_set_rights" => Errno::NotCapable,
        _ => Errno::NotSup,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::engine;

    #[test]
    fn every_function_of_the_table_is_linked_with_its_type() {
        let engine = engine::build(4).unwrap().engine;
        let mut linker = Linker::new(&engine);
        link(&mut linker).unwrap();
        let list = |types: &[ValueType]| types.iter().map(|ty| format!("{ty} ")).collect::<String>();
        let imports: String = WASI
            .iter()
            .map(|HostFunction { name, params, results }| {
                let (params, results) = (list(params), list(results));
                format!(
                    r#"(import "wasi_snapshot_preview1" "{name}" (func (param {params}) (result {results})))"#
                )
            })
            .collect();
        let module = wasmtime::Module::new(&engine, wat::parse_str(format!("(module {imports})")).unwrap());
        assert!(linker.instantiate_pre(&module.unwrap()).is_ok());
    }
}
