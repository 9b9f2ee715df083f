//! Whose repo a guest means, and whether it may read there.
//!
//! What a function declares is also whom the service contacts for it: a name that a guest makes up (a
//! handle with the input in it, say, at a name server that listens) is not looked up unless the record
//! allows to read anything anywhere. The names in the record itself may be.

use std::collections::HashMap;

use tokio::task::JoinSet;

use super::{Run, told};
use crate::identity::{Did, Handle};
use crate::lexicon::Authority;
use crate::policy::{NotAllowed, Read, Reads};
use crate::registry::RegistryError;
use crate::sandbox::Denied;

impl Run {
    /// The DID of the repo that a guest names, if the read is allowed there: by the record, or because
    /// the repo is one of `also`.
    pub(super) async fn repo_for(
        &self,
        named: &Authority,
        read: Read<'_>,
        also: &[Did],
    ) -> Result<Did, Denied> {
        match (&self.reads, named) {
            (Reads::Any, Authority::Did(did)) => Ok(did.clone()),
            (Reads::Any, Authority::Handle(handle)) => self.did_of(handle).await,
            (Reads::Only(_), Authority::Did(did)) if also.contains(did) => Ok(did.clone()),
            (Reads::Only(_), Authority::Did(did)) => self.covered(did, read).await,
            (Reads::Only(_), Authority::Handle(handle)) => self.named(handle, read, also).await,
        }
    }

    /// The DID, if an entry covers the read in its repo. Handles are resolved only if no DID decides.
    async fn covered(&self, did: &Did, read: Read<'_>) -> Result<Did, Denied> {
        if self.reads.allow(did, read, |_| None) {
            return Ok(did.clone());
        }
        let handles = self.reads.repos(read).filter_map(|repo| match repo {
            Authority::Handle(handle) => Some(handle.clone()),
            Authority::Did(_) => None,
        });
        let mut asking = JoinSet::new();
        for handle in handles {
            let (registry, author) = (self.registry.clone(), self.author.clone());
            asking.spawn(async move {
                let did = registry.did_of(&author, &handle).await;
                (handle, did)
            });
        }
        let mut known = HashMap::new();
        let mut unresolved = None;
        while let Some(answer) = asking.join_next().await {
            match answer {
                Ok((handle, Ok(leads_to))) => {
                    known.insert(handle, leads_to);
                    if self.reads.allow(did, read, |handle| known.get(handle).cloned()) {
                        return Ok(did.clone());
                    }
                }
                Ok((handle, Err(_))) => unresolved = Some(handle),
                Err(_) => {}
            }
        }
        let refused = NotAllowed::new(&Authority::Did(did.clone()), read);
        Err(Denied(match unresolved {
            None => refused.to_string(),
            Some(handle) => format!("{refused} (at://{handle} is there, but does not resolve now)"),
        }))
    }

    /// The DID of a handle that an entry names, or that is the handle of a DID that an entry names.
    async fn named(&self, handle: &Handle, read: Read<'_>, also: &[Did]) -> Result<Did, Denied> {
        let named = Authority::Handle(handle.clone());
        if self.reads.repos(read).any(|repo| *repo == named) {
            return self.did_of(handle).await;
        }
        let dids = self.reads.repos(read).filter_map(|repo| match repo {
            Authority::Did(did) => Some(did),
            Authority::Handle(_) => None,
        });
        let mut asking = JoinSet::new();
        for did in dids.chain(also) {
            let (registry, author, did) = (self.registry.clone(), self.author.clone(), did.clone());
            asking.spawn(async move {
                let claimed = registry.claimed_handle(&author, &did).await.ok().flatten();
                (did, claimed)
            });
        }
        while let Some(answer) = asking.join_next().await {
            let Ok((did, Some(claimed))) = answer else { continue };
            // A claim, until the handle leads to the DID.
            if claimed == *handle && self.did_of(handle).await? == did {
                return Ok(did);
            }
        }
        Err(Denied(NotAllowed::new(&named, read).to_string()))
    }

    async fn did_of(&self, handle: &Handle) -> Result<Did, Denied> {
        let resolved = self.registry.did_of(&self.author, handle).await;
        resolved.map_err(|error: RegistryError| told::unresolved(handle, &error))
    }
}
