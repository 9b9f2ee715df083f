//! The imports that each mode of core modules lets in.
//!
//! These tables are also what the host links, so a module that passed finds each of its imports.

use wasmparser::types::{EntityType, Types};
use wasmparser::{Payload, TypeRef};

use super::exports::{ValueType, describe, same};
use super::{ExportKind, Refusal};
use crate::lexicon::Mode;
use ValueType::{I32, I64};

/// A function that the host offers.
pub(in crate::sandbox) struct HostFunction {
    pub(in crate::sandbox) name: &'static str,
    pub(in crate::sandbox) params: &'static [ValueType],
    pub(in crate::sandbox) results: &'static [ValueType],
}

const fn function(
    name: &'static str,
    params: &'static [ValueType],
    results: &'static [ValueType],
) -> HostFunction {
    HostFunction { name, params, results }
}

/// The modules that host calls may be imported from: the documented one, and what Rust's linker calls
/// a module that nobody named.
pub(in crate::sandbox) const HOST_MODULES: [&str; 2] = ["host", "env"];

/// What `host-v1` offers.
pub(in crate::sandbox) const HOST: [HostFunction; 5] = [
    function("host_read_record", &[I32, I32], &[I64]),
    function("host_read_blob", &[I32, I32], &[I64]),
    function("host_list_collection", &[I32, I32], &[I64]),
    function("host_get_context", &[], &[I64]),
    function("host_log", &[I32, I32, I32], &[]),
];

/// The module of WASI preview 1.
pub(in crate::sandbox) const WASI_MODULES: [&str; 1] = ["wasi_snapshot_preview1"];

/// All of WASI preview 1: `wasi_snapshot_preview1.witx` of the WebAssembly/WASI repository, lowered to
/// core types. A toolchain's start-up code imports what it likes of it.
pub(in crate::sandbox) const WASI: [HostFunction; 46] = [
    function("args_get", &[I32, I32], &[I32]),
    function("args_sizes_get", &[I32, I32], &[I32]),
    function("clock_res_get", &[I32, I32], &[I32]),
    function("clock_time_get", &[I32, I64, I32], &[I32]),
    function("environ_get", &[I32, I32], &[I32]),
    function("environ_sizes_get", &[I32, I32], &[I32]),
    function("fd_advise", &[I32, I64, I64, I32], &[I32]),
    function("fd_allocate", &[I32, I64, I64], &[I32]),
    function("fd_close", &[I32], &[I32]),
    function("fd_datasync", &[I32], &[I32]),
    function("fd_fdstat_get", &[I32, I32], &[I32]),
    function("fd_fdstat_set_flags", &[I32, I32], &[I32]),
    function("fd_fdstat_set_rights", &[I32, I64, I64], &[I32]),
    function("fd_filestat_get", &[I32, I32], &[I32]),
    function("fd_filestat_set_size", &[I32, I64], &[I32]),
    function("fd_filestat_set_times", &[I32, I64, I64, I32], &[I32]),
    function("fd_pread", &[I32, I32, I32, I64, I32], &[I32]),
    function("fd_prestat_dir_name", &[I32, I32, I32], &[I32]),
    function("fd_prestat_get", &[I32, I32], &[I32]),
    function("fd_pwrite", &[I32, I32, I32, I64, I32], &[I32]),
    function("fd_read", &[I32, I32, I32, I32], &[I32]),
    function("fd_readdir", &[I32, I32, I32, I64, I32], &[I32]),
    function("fd_renumber", &[I32, I32], &[I32]),
    function("fd_seek", &[I32, I64, I32, I32], &[I32]),
    function("fd_sync", &[I32], &[I32]),
    function("fd_tell", &[I32, I32], &[I32]),
    function("fd_write", &[I32, I32, I32, I32], &[I32]),
    function("path_create_directory", &[I32, I32, I32], &[I32]),
    function("path_filestat_get", &[I32, I32, I32, I32, I32], &[I32]),
    function("path_filestat_set_times", &[I32, I32, I32, I32, I64, I64, I32], &[I32]),
    function("path_link", &[I32, I32, I32, I32, I32, I32, I32], &[I32]),
    function("path_open", &[I32, I32, I32, I32, I32, I64, I64, I32, I32], &[I32]),
    function("path_readlink", &[I32, I32, I32, I32, I32, I32], &[I32]),
    function("path_remove_directory", &[I32, I32, I32], &[I32]),
    function("path_rename", &[I32, I32, I32, I32, I32, I32], &[I32]),
    function("path_symlink", &[I32, I32, I32, I32, I32], &[I32]),
    function("path_unlink_file", &[I32, I32, I32], &[I32]),
    function("poll_oneoff", &[I32, I32, I32, I32], &[I32]),
    function("proc_exit", &[I32], &[]),
    function("proc_raise", &[I32], &[I32]),
    function("random_get", &[I32, I32], &[I32]),
    function("sched_yield", &[], &[I32]),
    function("sock_accept", &[I32, I32, I32], &[I32]),
    function("sock_recv", &[I32, I32, I32, I32, I32, I32], &[I32]),
    function("sock_send", &[I32, I32, I32, I32, I32], &[I32]),
    function("sock_shutdown", &[I32, I32], &[I32]),
];

/// What `mode` offers under this name.
fn offered(mode: Mode, module: &str, name: &str) -> Option<&'static HostFunction> {
    let (modules, functions): (&[&str], &'static [HostFunction]) = match mode {
        Mode::HostV1 => (&HOST_MODULES, &HOST),
        Mode::WasiV1 => (&WASI_MODULES, &WASI),
        Mode::PureV1 | Mode::CstrV1 | Mode::ComponentV1 => (&[], &[]),
    };
    let function = functions.iter().find(|function| function.name == name)?;
    modules.contains(&module).then_some(function)
}

/// Refuses the first import that the mode does not have, if this is their section. Types are checked
/// once they are known to be valid.
pub(super) fn section(mode: Mode, payload: &Payload<'_>) -> Result<(), Refusal> {
    let Payload::ImportSection(section) = payload else { return Ok(()) };
    for import in section.clone().into_imports() {
        let import = import?;
        let kind = match import.ty {
            TypeRef::Func(_) if offered(mode, import.module, import.name).is_some() => continue,
            TypeRef::Func(_) | TypeRef::FuncExact(_) => "a function",
            TypeRef::Global(_) => "a global",
            TypeRef::Memory(_) => "a memory",
            TypeRef::Table(_) => "a table",
            TypeRef::Tag(_) => "a tag",
        };
        return Err(Refusal::import(mode, import.module, import.name, kind));
    }
    Ok(())
}

/// Refuses the first import whose type is not what the mode offers under its name.
pub(super) fn check(mode: Mode, types: &Types) -> Result<(), Refusal> {
    let types = types.as_ref();
    for (module, name, ty) in types.core_imports().into_iter().flatten() {
        let offered = offered(mode, module, name);
        let (Some(offered), EntityType::Func(id)) = (offered, ty) else {
            // `section` has been here before, so this does not happen.
            return Err(Refusal::import(mode, module, name, "something"));
        };
        let found = types[id].unwrap_func();
        if !same(offered.params, found.params()) || !same(offered.results, found.results()) {
            let expected = ExportKind::Function(offered.params, offered.results);
            return Err(Refusal::import_type(module, name, expected, describe(found)));
        }
    }
    Ok(())
}
