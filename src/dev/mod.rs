//! The embedded default: a repo host on loopback with its own identity, so that the whole pipeline
//! runs without a network, an account or a container.
//!
//! In: wasm modules. Out: a signed repo that serves them, as a PDS would. Never: used by `serve`.
//!
//! Nothing of the service knows that it is talking to this host: it resolves the author's DID,
//! fetches the record's proof and the blob over loopback http, and verifies them, as in production.

mod author;
mod host;
mod modules;

pub use author::{Author, Published};
pub use host::host_router;
pub use modules::{Module, Modules};
