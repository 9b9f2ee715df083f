//! What a component may import: our own interfaces, and those of WASI 0.2 that toolchains drag in.

use wasmparser::{ComponentImport, ComponentTypeRef};

use super::Refusal;

/// Our interfaces, in the versions that were released.
pub(super) const RUNTIME: [&str; 4] = [
    "atfunc:runtime/atproto@0.1.0",
    "atfunc:runtime/atproto@0.2.0",
    "atfunc:runtime/context@0.2.0",
    "atfunc:runtime/log@0.2.0",
];

/// Interfaces of WASI 0.2, in any patch version.
pub(super) const WASI: [&str; 27] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Refuses an import of the outermost component that is not offered.
pub(super) fn check(import: &ComponentImport<'_>) -> Result<(), Refusal> {
    let name = import.name.name;
    if matches!(import.ty, ComponentTypeRef::Instance(_)) && is_offered(name) {
        return Ok(());
    }
    Err(Refusal::component_import(name, advice(name)))
}

fn is_offered(name: &str) -> bool {
    if RUNTIME.contains(&name) {
        return true;
    }
    let Some((interface, version)) = name.split_once('@') else { return false };
    let patch = version.strip_prefix("0.2.").unwrap_or_default();
    WASI.contains(&interface) && !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit())
}

/// What to do about an import that is not offered.
fn advice(name: &str) -> &'static str {
    if name.starts_with("atfunc:runtime/") {
        "the released versions are atfunc:runtime@0.1.0, with `atproto`, and @0.2.0, with `atproto`, `context` and `log`"
    } else if name.starts_with("wasi:http/") {
        "functions have no network: read public data through atfunc:runtime/atproto, and build without the HTTP client or server"
    } else if name.starts_with("wasi:") {
        "of WASI there is only 0.2, and of that cli, clocks, filesystem, io, random and sockets, with nothing behind them"
    } else {
        "a component may import atfunc:runtime and WASI 0.2; what else it needs must be composed into it"
    }
}
