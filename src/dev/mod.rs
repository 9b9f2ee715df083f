//! The embedded default: a repo host on loopback with its own identity, so that the whole pipeline
//! runs without a network, an account or a container.
//!
//! In: wasm modules. Out: a signed repo that serves them, as a PDS would. Never: used by `serve`.
