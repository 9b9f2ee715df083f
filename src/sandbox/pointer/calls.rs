//! The host functions of `host-v1`.
//!
//! A request is JSON in the guest's memory; the reply is JSON that the host writes where the guest's
//! own `alloc` says, as it did with the input. So `alloc` may run while the guest waits for a reply,
//! and there the guest cannot ask again: one reply at a time is in the making.
//!
//! What is wrong with a request is told to the guest in the reply. What is wrong with a pointer ends
//! the run, as it would within WebAssembly.

use wasmtime::{Caller, Linker, Memory, TypedFunc};

use super::shapes::{self, Reply};
use super::{Packed, linear};
use crate::sandbox::admission::HOST_MODULES;
use crate::sandbox::guest::{Guest, Stop};
use crate::sandbox::host::MAX_REQUEST_BYTES;
use crate::sandbox::{Denied, Failure, HostCall, LogLevel, Logs, Outcome};

/// Links the host functions, under each name of their module.
pub(in crate::sandbox) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for module in HOST_MODULES {
        linker.func_wrap_async(module, "host_read_record", |caller, (pointer, length): (i32, i32)| {
            let request = Request { name: "host_read_record", pointer, length, parse: shapes::read_record };
            Box::new(request.answer(caller))
        })?;
        linker.func_wrap_async(module, "host_read_blob", |caller, (pointer, length): (i32, i32)| {
            let request = Request { name: "host_read_blob", pointer, length, parse: shapes::read_blob };
            Box::new(request.answer(caller))
        })?;
        linker.func_wrap_async(module, "host_list_collection", |caller, (pointer, length): (i32, i32)| {
            let request =
                Request { name: "host_list_collection", pointer, length, parse: shapes::list_collection };
            Box::new(request.answer(caller))
        })?;
        linker.func_wrap_async(module, "host_get_context", |caller, ()| Box::new(context(caller)))?;
        linker.func_wrap(module, "host_log", log)?;
    }
    Ok(())
}

/// A host call, as the guest made it.
struct Request {
    name: &'static str,
    pointer: i32,
    length: i32,
    parse: fn(&[u8]) -> Result<HostCall, String>,
}

impl Request {
    async fn answer(self, mut caller: Caller<'_, Guest>) -> wasmtime::Result<i64> {
        begin(&mut caller, self.name)?;
        let reply = match self.read(&mut caller)? {
            Ok(call) => {
                let answer = caller.data().host.call(call);
                match answer.await? {
                    Ok(reply) => shapes::reply(reply),
                    Err(Denied(error)) => shapes::failure(&error),
                }
            }
            Err(error) => shapes::failure(&error),
        };
        hand_over(caller, self.name, &reply).await
    }

    fn read(&self, caller: &mut Caller<'_, Guest>) -> Result<Result<HostCall, String>, Stop> {
        let memory = memory(caller)?;
        let (pointer, length) = (self.pointer as u32, self.length as u32);
        let bytes = memory.data(&*caller);
        let Some(request) = linear::region(bytes, pointer, length) else {
            return Err(outside(self.name, pointer, length, bytes.len()));
        };
        if request.len() > MAX_REQUEST_BYTES {
            return Ok(Err(format!(
                "the request has {length} bytes; at most {MAX_REQUEST_BYTES} are allowed"
            )));
        }
        Ok((self.parse)(request))
    }
}

async fn context(mut caller: Caller<'_, Guest>) -> wasmtime::Result<i64> {
    const NAME: &str = "host_get_context";
    begin(&mut caller, NAME)?;
    let host = &caller.data().host;
    let reply = shapes::context(host.context(), host.time_left());
    hand_over(caller, NAME, &reply).await
}

/// Unlike the others this has no reply to find room for, so an allocator may log, too.
fn log(mut caller: Caller<'_, Guest>, level: i32, pointer: i32, length: i32) -> wasmtime::Result<()> {
    const NAME: &str = "host_log";
    let level = usize::try_from(level).ok().and_then(|level| LogLevel::ALL.get(level).copied());
    let level = level.ok_or_else(|| {
        trap("`host_log` takes the levels 0 (debug), 1 (info), 2 (warn) and 3 (error)".into())
    })?;
    let memory = memory(&mut caller)?;
    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
    let (pointer, length) = (pointer as u32, length as u32);
    let message =
        linear::region(bytes, pointer, length).ok_or_else(|| outside(NAME, pointer, length, bytes.len()))?;
    // A little more than is kept, so that the log sees what it cuts.
    let message = &message[..message.len().min(Logs::MAX_LINE_BYTES + 8)];
    guest.host.log(level, &String::from_utf8_lossy(message));
    Ok(())
}

/// Notes that a reply is in the making.
fn begin(caller: &mut Caller<'_, Guest>, name: &str) -> Result<(), Stop> {
    if std::mem::replace(&mut caller.data_mut().replying, true) {
        return Err(trap(format!("`alloc` called `{name}` while the host waited for it to place a reply")));
    }
    Ok(())
}

/// Writes the reply where the guest's `alloc` says.
async fn hand_over(mut caller: Caller<'_, Guest>, name: &str, reply: &Reply) -> wasmtime::Result<i64> {
    let length = i32::try_from(reply.length()).map_err(|_| {
        let message = format!("the reply of `{name}` does not fit into a 32-bit memory");
        Stop(Failure::new(Outcome::HostCallLimit, message))
    })?;
    let alloc = alloc(&mut caller)?;
    let pointer = alloc.call_async(&mut caller, length).await? as u32;
    // Only now: `alloc` may have grown the memory.
    let memory = memory(&mut caller)?;
    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
    let what = format!("the reply of `{name}`");
    let length = length as u32;
    let target = linear::given(bytes, guest, pointer, length, "alloc", &what).map_err(Stop)?;
    reply.write(target);
    guest.replying = false;
    Ok(Packed { pointer, length }.into())
}

fn memory(caller: &mut Caller<'_, Guest>) -> Result<Memory, Stop> {
    caller.get_export("memory").and_then(|export| export.into_memory()).ok_or_else(gone)
}

fn alloc(caller: &mut Caller<'_, Guest>) -> Result<TypedFunc<i32, i32>, Stop> {
    let export = caller.get_export("alloc").and_then(|export| export.into_func());
    export.and_then(|export| export.typed(&*caller).ok()).ok_or_else(gone)
}

/// Admission checked the exports' names and types, so this does not happen.
fn gone() -> Stop {
    trap("an export is gone".into())
}

fn outside(name: &str, pointer: u32, length: u32, size: usize) -> Stop {
    trap(format!(
        "`{name}` was given {length} bytes at {pointer}, which is not within the {size} bytes of memory"
    ))
}

fn trap(message: String) -> Stop {
    Stop(Failure::new(Outcome::Trap, message))
}
