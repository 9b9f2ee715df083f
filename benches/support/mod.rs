//! What the benches have in common: a service and its surroundings on loopback, callers with keys, a load
//! generator, what processes cost, and reports.
//!
//! The service is the program itself, in a process of its own with its default settings, except that its limits
//! of rate are out of reach and, where nothing else is said, nothing is answered from the memo: what is measured are runs.

#![allow(dead_code, unused_imports, reason = "each bench uses a part of it")]

mod callers;
mod load;
pub(crate) mod modules;
pub(crate) mod network;
pub(crate) mod processes;
pub(crate) mod report;
mod running;
mod stage;

pub(crate) use callers::Key;
pub(crate) use load::{Called, Figures, Request, at_share, call_each, load, load_in_turn, load_paced};
pub(crate) use running::{Options, Running};
pub(crate) use stage::{Stage, call_of, record_of};

/// Keep-alive connections of a load, where nothing else is said.
pub(crate) const CONNECTIONS: usize = 16;

/// The figure in the middle.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
