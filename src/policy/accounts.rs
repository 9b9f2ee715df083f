//! A list of accounts, as policy entries name them: by DID, by the domain of their `did:web`, or by their PDS.
//!
//! The PDS that a DID document names is the account's own claim. It is enough to be blocked, and not to be allowed:
//! that takes the word of the PDS itself.

use super::dids::DidList;
use super::hosts::{HostPattern, Ports};
use super::{Admission, Rule};
use crate::identity::{Did, PdsHost};

/// What an entry may be.
pub(super) const EXPECTED: &str =
    "expected did:plc:ID, did:web:HOST, did:web:*.DOMAIN, pds:HOST or pds:*.DOMAIN";

/// Entries, each with its index in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct AccountList {
    dids: DidList,
    hosts: Vec<(usize, HostPattern)>,
}

impl AccountList {
    /// Adds a DID as [`DidList::add`] takes them, or `pds:HOST`, `pds:HOST:PORT` or `pds:*.DOMAIN`.
    pub(super) fn add(&mut self, index: usize, entry: &str) -> Result<(), String> {
        if let Some(host) = entry.strip_prefix("pds:") {
            self.hosts.push((index, HostPattern::parse(host)?));
            Ok(())
        } else if entry.starts_with("did:") {
            self.dids.add(index, entry)
        } else {
            Err(EXPECTED.into())
        }
    }

    /// Whether what is decided depends on where accounts are.
    pub(super) fn names_hosts(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// The index of an entry that blocks `did`, which claims to be at `pds`.
    pub(super) fn blocks(&self, did: &Did, pds: Option<&PdsHost>) -> Option<usize> {
        self.dids.find(did).or_else(|| self.by_host(pds?, Ports::Any))
    }

    /// What an entry of `list`, which this is, says of `did`, which claims to be at `pds`; nothing if none means
    /// the account.
    pub(super) fn allows(&self, list: &'static str, did: &Did, pds: Option<&PdsHost>) -> Option<Admission> {
        if let Some(index) = self.dids.find(did) {
            return Some(Admission::Given(Some(Rule::entry(list, index))));
        }
        let index = self.by_host(pds?, Ports::Usual)?;
        Some(Admission::IfConfirmed(Rule::entry(list, index)))
    }

    fn by_host(&self, host: &PdsHost, ports: Ports) -> Option<usize> {
        self.hosts.iter().find(|(_, pattern)| pattern.covers(host, ports)).map(|(index, _)| *index)
    }
}
