//! What is fuzzed: each target a function of bytes, which panics where something does not hold.
//!
//! The fuzzer calls them (`fuzz_targets/`), and so do the service's own tests, which include this
//! file, give each its seeds and change these for a while.

mod guests;
mod modules;
mod names;
mod proofs;
mod records;
mod tokens;
pub mod world;

pub use guests::{any_module, generated, packed_pointer};
pub use modules::module;
pub use names::{allowed_hosts, at_uri};
pub use proofs::{car_bytes, car_edits};
pub use records::{metadata, schema};
pub use tokens::jwt;

/// What is fuzzed: a function of bytes.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Target); 11] = [
    ("allowed_hosts", allowed_hosts),
    ("any_module", any_module),
    ("at_uri", at_uri),
    ("car_bytes", car_bytes),
    ("car_edits", car_edits),
    ("generated", generated),
    ("jwt", jwt),
    ("metadata", metadata),
    ("module", module),
    ("packed_pointer", packed_pointer),
    ("schema", schema),
];
