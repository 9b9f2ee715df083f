//! WASI 0.2 that gives nothing.
//!
//! Toolchains link these interfaces into whatever they build, so they are here; behind them is no
//! file, no environment, no argument, no network and no terminal. Both clocks stand still at the run's
//! start; sleeping ends with the run; random is real, but there is little of it; what is written to
//! stdout and stderr are lines of the run's log.

mod cli;
mod clocks;
mod filesystem;
mod io;
mod random;
mod sockets;

/// Implements methods of resources of which there is none. Their types have no values, so that a
/// handle to one cannot be found, and what would have to be answered need not be made up.
macro_rules! of_nothing {
    ($($host:ident for $resource:ty { $(fn $method:ident($($argument:ty),*) -> $result:ty;)* })*) => {$(
        impl $host for Guest {
            $(fn $method(&mut self, handle: Resource<$resource> $(, _: $argument)*) -> wasmtime::Result<$result> {
                match *self.component.get(&handle)? {}
            })*

            fn drop(&mut self, handle: Resource<$resource>) -> wasmtime::Result<()> {
                match self.component.drop(handle)? {}
            }
        }
    )*};
}
use of_nothing;
