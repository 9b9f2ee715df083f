//! The operator's lists of authors and functions.

use std::collections::HashMap;

use super::accounts::{self, AccountList};
use super::{Admission, Refusal, Refused, Rule};
use crate::identity::{Did, PdsHost};
use crate::lexicon::{AtUri, Authority, FUNCTION_COLLECTION, RecordKey};

const BLOCK_AUTHORS: &str = "authors.block";
const ALLOW_AUTHORS: &str = "authors.allow";
const BLOCK: &str = "functions.block";
const ALLOW: &str = "functions.allow";

/// What the operator runs: nothing that is blocked in either table, and only what stands in each list of what is
/// allowed, as far as there are such lists.
#[derive(Clone, Debug, Default)]
pub(super) struct Functions {
    pub(super) block_authors: AccountList,
    pub(super) allow_authors: Option<AccountList>,
    pub(super) block: FunctionList,
    pub(super) allow: Option<FunctionList>,
}

/// Functions, each by itself or with all others of its author; with the entry's index in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct FunctionList {
    named: HashMap<FunctionName, usize>,
    authors: AccountList,
}

/// A function by its author and the key of its record.
pub(super) type FunctionName = (Did, RecordKey);

impl Functions {
    /// Whether what is decided about this function depends on where its author is.
    pub(super) fn depend_on_hosts(&self, author: &Did, rkey: &RecordKey) -> bool {
        self.name_hosts() && self.blocked(&(author.clone(), rkey.clone()), None).is_none()
    }

    fn name_hosts(&self) -> bool {
        let authors = [Some(&self.block_authors), self.allow_authors.as_ref()];
        let functions = [Some(&self.block), self.allow.as_ref()].map(|list| list.map(|list| &list.authors));
        authors.into_iter().chain(functions).flatten().any(AccountList::names_hosts)
    }

    /// The claim of an author to be at `pds` is enough to be blocked, and not to be allowed.
    pub(super) fn admit(
        &self,
        author: &Did,
        rkey: &RecordKey,
        pds: Option<&PdsHost>,
    ) -> Result<Admission, Refused> {
        let refused = |rule| Refused { refusal: Refusal::FunctionBlocked, rule };
        let name = (author.clone(), rkey.clone());
        if let Some(rule) = self.blocked(&name, pds) {
            return Err(refused(rule));
        }
        let mut decided = Admission::Given(None);
        if let Some(allow) = &self.allow_authors {
            let allowed = allow.allows(ALLOW_AUTHORS, author, pds);
            decided = allowed.ok_or(refused(Rule::named(ALLOW_AUTHORS)))?;
        }
        if let Some(allow) = &self.allow {
            let allowed = allow.allows(&name, pds).ok_or(refused(Rule::named(ALLOW)))?;
            // What one list leaves to the PDS, no other one gives.
            if !matches!(decided, Admission::IfConfirmed(_)) {
                decided = allowed;
            }
        }
        Ok(decided)
    }

    fn blocked(&self, name: &FunctionName, pds: Option<&PdsHost>) -> Option<Rule> {
        let author = self.block_authors.blocks(&name.0, pds).map(|index| Rule::entry(BLOCK_AUTHORS, index));
        author.or_else(|| self.block.blocks(name, pds).map(|index| Rule::entry(BLOCK, index)))
    }
}

impl FunctionList {
    /// Adds `at://DID/at.functions.metadata/RKEY`, or all functions of some authors, as [`AccountList::add`] takes
    /// them.
    pub(super) fn add(&mut self, index: usize, entry: &str) -> Result<(), String> {
        if entry.starts_with("at://") {
            self.named.entry(parse(entry)?).or_insert(index);
            Ok(())
        } else if entry.starts_with("did:") || entry.starts_with("pds:") {
            self.authors.add(index, entry)
        } else {
            Err(format!("{}, or at://DID/{FUNCTION_COLLECTION}/KEY", accounts::EXPECTED))
        }
    }

    fn blocks(&self, name: &FunctionName, pds: Option<&PdsHost>) -> Option<usize> {
        self.named.get(name).copied().or_else(|| self.authors.blocks(&name.0, pds))
    }

    fn allows(&self, name: &FunctionName, pds: Option<&PdsHost>) -> Option<Admission> {
        match self.named.get(name) {
            Some(index) => Some(Admission::Given(Some(Rule::entry(ALLOW, *index)))),
            None => self.authors.allows(ALLOW, &name.0, pds),
        }
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
