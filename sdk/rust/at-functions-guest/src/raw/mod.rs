//! What the host offers, in texts: by imported functions, by WIT, or by [`crate::testing`] on the machine that a function is
//! written at.

#[cfg(all(target_arch = "wasm32", not(feature = "component")))]
mod host;
#[cfg(all(target_arch = "wasm32", feature = "component"))]
mod wit;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::host::*;
#[cfg(all(target_arch = "wasm32", not(feature = "component")))]
pub(crate) use host::*;
#[cfg(all(target_arch = "wasm32", feature = "component"))]
pub(crate) use wit::*;
