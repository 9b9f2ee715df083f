//! How often functions may be called: those of one author together, and each by itself. Only ever less than the
//! settings give.

use std::collections::HashMap;

use super::functions::FunctionName;
use super::limits::{FunctionRates, Limit};
use crate::identity::Did;
use crate::lexicon::RecordKey;

/// The limits of all, and the lower ones of some.
#[derive(Clone, Debug)]
pub(super) struct CallRates {
    all: FunctionRates,
    authors: HashMap<Did, Limit>,
    functions: HashMap<FunctionName, Limit>,
}

impl CallRates {
    /// The same for all.
    pub(super) fn new(all: FunctionRates) -> CallRates {
        CallRates { all, authors: HashMap::new(), functions: HashMap::new() }
    }

    /// Lowers it for the functions of one author together. Of several for one, the lowest counts.
    pub(super) fn lower_author(&mut self, author: Did, limit: Limit) {
        let lowered = self.authors.entry(author).or_insert(self.all.author);
        *lowered = lowered.lowered_to(limit);
    }

    /// Lowers it for one function.
    pub(super) fn lower_function(&mut self, function: FunctionName, limit: Limit) {
        let lowered = self.functions.entry(function).or_insert(self.all.function);
        *lowered = lowered.lowered_to(limit);
    }

    /// Those of this function.
    pub(super) fn of(&self, author: &Did, rkey: &RecordKey) -> FunctionRates {
        let author_limit = self.authors.get(author).copied().unwrap_or(self.all.author);
        let function = match self.functions.is_empty() {
            true => None,
            false => self.functions.get(&(author.clone(), rkey.clone())).copied(),
        };
        FunctionRates { author: author_limit, function: function.unwrap_or(self.all.function) }
    }
}
