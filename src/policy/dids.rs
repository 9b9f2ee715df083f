//! A list of DIDs, as policy entries name them: one DID, or each `did:web` below a domain.

use std::collections::HashMap;

use super::hosts::Domain;
use crate::identity::{Did, DidMethod};

/// Entries, each with its index in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct DidList {
    dids: HashMap<Did, usize>,
    webs: Vec<(usize, Domain)>,
}

impl DidList {
    /// Adds `did:plc:ID`, `did:web:HOST` or `did:web:*.DOMAIN`. The error says what is wrong with the entry.
    pub(super) fn add(&mut self, index: usize, entry: &str) -> Result<(), String> {
        match entry.strip_prefix("did:web:*.") {
            Some(domain) => self.webs.push((index, Domain::parse(domain)?)),
            None => {
                let did = Did::parse(entry).map_err(|error| error.to_string())?;
                self.dids.entry(did).or_insert(index);
            }
        }
        Ok(())
    }

    /// The index of an entry that means `did`.
    pub(super) fn find(&self, did: &Did) -> Option<usize> {
        let below = || match did.method() {
            DidMethod::Web { host, .. } => {
                self.webs.iter().find(|(_, domain)| domain.has_below(host)).map(|(index, _)| *index)
            }
            DidMethod::Plc => None,
        };
        self.dids.get(did).copied().or_else(below)
    }
}
