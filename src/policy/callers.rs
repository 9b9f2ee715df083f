//! The operator's lists of callers.

use super::dids::DidList;
use super::hosts::{HostPattern, Ports};
use super::{Admission, Refusal, Refused, Rule};
use crate::identity::{Did, PdsHost};

const BLOCK: &str = "callers.block";
const ALLOW: &str = "callers.allow";

/// Whom the operator serves: nobody who is blocked, and if there is a list of those who are allowed, nobody else.
#[derive(Clone, Debug, Default)]
pub(super) struct Callers {
    pub(super) block: CallerList,
    pub(super) allow: Option<CallerList>,
}

/// Entries, each with its index in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct CallerList {
    dids: DidList,
    hosts: Vec<(usize, HostPattern)>,
}

impl Callers {
    /// Whether there is a list of those who may call.
    pub(super) fn are_listed(&self) -> bool {
        self.allow.is_some()
    }

    /// The claim of a caller to be at `pds` is enough to be blocked, and not to be allowed.
    pub(super) fn admit(&self, did: &Did, pds: Option<&PdsHost>) -> Result<Admission, Refused> {
        let refused = |rule| Refused { refusal: Refusal::CallerBlocked, rule };
        let blocked = self.block.dids.find(did).or_else(|| self.block.by_host(pds?, Ports::Any));
        if let Some(index) = blocked {
            return Err(refused(Rule::entry(BLOCK, index)));
        }
        let Some(allow) = &self.allow else { return Ok(Admission::Given(None)) };
        if let Some(index) = allow.dids.find(did) {
            return Ok(Admission::Given(Some(Rule::entry(ALLOW, index))));
        }
        match pds.and_then(|host| allow.by_host(host, Ports::Usual)) {
            Some(index) => Ok(Admission::IfConfirmed(Rule::entry(ALLOW, index))),
            None => Err(refused(Rule::named(ALLOW))),
        }
    }
}

impl CallerList {
    /// Adds a DID as [`DidList::add`] takes them, or `pds:HOST`, `pds:HOST:PORT` or `pds:*.DOMAIN`.
    pub(super) fn add(&mut self, index: usize, entry: &str) -> Result<(), String> {
        if let Some(host) = entry.strip_prefix("pds:") {
            self.hosts.push((index, HostPattern::parse(host)?));
            Ok(())
        } else if entry.starts_with("did:") {
            self.dids.add(index, entry)
        } else {
            let expected = "expected did:plc:ID, did:web:HOST, did:web:*.DOMAIN, pds:HOST or pds:*.DOMAIN";
            Err(expected.into())
        }
    }

    fn by_host(&self, host: &PdsHost, ports: Ports) -> Option<usize> {
        self.hosts.iter().find(|(_, pattern)| pattern.covers(host, ports)).map(|(index, _)| *index)
    }
}
