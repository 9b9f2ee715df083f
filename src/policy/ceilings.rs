//! What runs get at most: all of them, those of one author, those of one function. Only ever less than the settings
//! give.

use std::collections::HashMap;
use std::time::Duration;

use super::functions::FunctionName;
use crate::identity::Did;
use crate::lexicon::RecordKey;

/// The most that a run gets, whatever its record asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// For `maxMemoryMb`.
    pub memory_mb: u16,
    /// For `maxDurationMs`.
    pub duration: Duration,
    /// Bytes of output.
    pub output_bytes: usize,
}

impl Ceiling {
    fn lowered_to(self, other: Ceiling) -> Ceiling {
        Ceiling {
            memory_mb: self.memory_mb.min(other.memory_mb),
            duration: self.duration.min(other.duration),
            output_bytes: self.output_bytes.min(other.output_bytes),
        }
    }
}

/// The ceilings of all runs, and the lower ones of some.
#[derive(Clone, Debug)]
pub(super) struct Ceilings {
    all: Ceiling,
    authors: HashMap<Did, Ceiling>,
    functions: HashMap<FunctionName, Ceiling>,
}

impl Ceilings {
    /// One ceiling for all.
    pub(super) fn new(all: Ceiling) -> Ceilings {
        Ceilings { all, authors: HashMap::new(), functions: HashMap::new() }
    }

    /// Lowers it for the functions of one author. Of several for one, the lowest counts.
    pub(super) fn lower_author(&mut self, author: Did, ceiling: Ceiling) {
        let lowered = self.authors.entry(author).or_insert(self.all);
        *lowered = lowered.lowered_to(ceiling);
    }

    /// Lowers it for one function.
    pub(super) fn lower_function(&mut self, function: FunctionName, ceiling: Ceiling) {
        let lowered = self.functions.entry(function).or_insert(self.all);
        *lowered = lowered.lowered_to(ceiling);
    }

    /// The lowest of those that mean this function.
    pub(super) fn of(&self, author: &Did, rkey: &RecordKey) -> Ceiling {
        let of_author = self.authors.get(author).copied().unwrap_or(self.all);
        let of_function = self.functions.get(&(author.clone(), rkey.clone())).copied().unwrap_or(self.all);
        of_author.lowered_to(of_function)
    }
}
