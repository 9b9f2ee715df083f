//! AT Functions: runs WebAssembly functions that live in their authors' AT Protocol repos.
//!
//! The way of one call, in one direction through the rooms:
//!
//! ```text
//! client → PDS → POST /xrpc/at.functions.run
//!    server      body cap, XRPC envelope, request id
//!    auth        service JWT → caller DID
//!    policy      the operator's rules on callers, with or without a token; the caller's limits
//!    registry    at-uri → author DID; policy: the operator's rules on authors and functions
//!    registry    author DID → PDS → record proof → metadata → wasm blob
//!    policy      the record's `public`; registry: the author's grant, by proof; the function's limits
//!    idempotency the answer that this call had before, if its caller named it
//!    server      the input by the record's `inputSchema`
//!    workers     admission of the module → compiled artifact, kept in memory and on disk
//!    memo        what the very same call answered before, where that is all it can answer
//!    sandbox     fresh instance → run → outcome; its host calls come back through the door
//!    door        what a guest asks for → policy: the record's `allowedHosts` → registry: the read
//!    server      the output by the record's `outputSchema`; {ok, output | error, ...}
//!    audit       the call's line, before the answer goes out; log line, metrics
//! ```
//!
//! What the rooms stand on: `egress` (the only way out to the network), `identity` (DIDs, handles,
//! keys), `repo` (signed repositories), `lexicon` (the records and names of `at.functions.*`).

// What only worker processes need is there on every system, and unused where there are none.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

pub mod audit;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dev;
pub mod door;
pub mod egress;
pub mod idempotency;
pub mod identity;
pub mod lexicon;
pub mod memo;
pub mod policy;
pub mod registry;
pub mod repo;
pub mod sandbox;
pub mod server;
pub mod telemetry;
pub mod workers;
