//! The operator's lists of authors and functions.

use std::collections::HashMap;

use super::dids::DidList;
use super::{Refusal, Refused, Rule};
use crate::identity::Did;
use crate::lexicon::{AtUri, Authority, FUNCTION_COLLECTION, RecordKey};

/// What the operator runs: nothing that is blocked in either table, and only what stands in each list of what is
/// allowed, as far as there are such lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Functions {
    pub(super) block_authors: DidList,
    pub(super) allow_authors: Option<DidList>,
    pub(super) block: FunctionList,
    pub(super) allow: Option<FunctionList>,
}

/// Functions, each with the entry's index in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct FunctionList(HashMap<FunctionName, usize>);

/// A function by its author and the key of its record.
pub(super) type FunctionName = (Did, RecordKey);

impl Functions {
    pub(super) fn admit(&self, author: &Did, rkey: &RecordKey) -> Result<Option<Rule>, Refused> {
        let refused = |rule| Err(Refused { refusal: Refusal::FunctionBlocked, rule });
        let name = (author.clone(), rkey.clone());
        if let Some(index) = self.block_authors.find(author) {
            return refused(Rule::entry("authors.block", index));
        }
        if let Some(index) = self.block.find(&name) {
            return refused(Rule::entry("functions.block", index));
        }
        let mut decided = None;
        if let Some(allow) = &self.allow_authors {
            match allow.find(author) {
                Some(index) => decided = Some(Rule::entry("authors.allow", index)),
                None => return refused(Rule::named("authors.allow")),
            }
        }
        if let Some(allow) = &self.allow {
            match allow.find(&name) {
                Some(index) => decided = Some(Rule::entry("functions.allow", index)),
                None => return refused(Rule::named("functions.allow")),
            }
        }
        Ok(decided)
    }
}

impl FunctionList {
    /// Adds `at://DID/at.functions.metadata/RKEY`.
    pub(super) fn add(&mut self, index: usize, entry: &str) -> Result<(), String> {
        self.0.entry(parse(entry)?).or_insert(index);
        Ok(())
    }

    fn find(&self, name: &FunctionName) -> Option<usize> {
        self.0.get(name).copied()
    }
}

/// The function that an entry names. A handle may come to mean somebody else, so it names none.
pub(super) fn parse(entry: &str) -> Result<FunctionName, String> {
    let uri = AtUri::parse(entry).map_err(|error| error.to_string())?;
    match uri.authority {
        Authority::Handle(_) => {
            Err("name the author by their DID: a handle may move to somebody else".into())
        }
        Authority::Did(_) if uri.collection.as_str() != FUNCTION_COLLECTION => {
            Err(format!("a function is a record of {FUNCTION_COLLECTION}"))
        }
        Authority::Did(did) => Ok((did, uri.rkey)),
    }
}
