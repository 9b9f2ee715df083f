//! Native code made of bytes: the one place in which they are taken at their word.

#![allow(unsafe_code)]

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use super::Compiled;

/// Loads a core module.
pub(super) fn module(engine: &Engine, compiled: &Compiled) -> wasmtime::Result<Module> {
    // SAFETY: the engine must be given, unchanged, what one of its own kind serialized. A `Compiled`
    // holds nothing else: only the compiler makes one, and `Compiled::vouched_for`, whose callers have
    // checked a keyed hash over all of it, or have it from a process of ours that was sealed before it
    // saw the module. (The engine itself refuses what another version or configuration of it made.)
    unsafe { Module::deserialize(engine, compiled.code()) }
}

/// Loads a component.
pub(super) fn component(engine: &Engine, compiled: &Compiled) -> wasmtime::Result<Component> {
    // SAFETY: as above. The engine tells components from modules by itself.
    unsafe { Component::deserialize(engine, compiled.code()) }
}
