//! Who may call what.
//!
//! In: a proved caller and what is being called. Out: yes, or the refusal with its reason.
//! Never: widen what the record's author allowed.
//!
//! The checks stand in the order in which they are made: who calls, before anything is fetched for
//! them; then what is called, once its record is proved; then, at each host call, what it reads (`reads`).

mod reads;

use std::time::Duration;

use crate::auth::CallerDid;
use crate::config::Anonymous;
use crate::identity::Did;
use crate::lexicon::{Grant, GrantSubject};
use crate::registry::Function;

pub use reads::{InvalidScope, MAX_SCOPES, NotAllowed, Read, Reads, Scope, judged};

/// Somebody who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// No token was sent.
    Anonymous,
    /// The token's issuer, proved by its signature.
    Verified(CallerDid),
}

impl Caller {
    /// The caller's DID, if they said and proved who they are.
    pub fn did(&self) -> Option<&Did> {
        match self {
            Caller::Anonymous => None,
            Caller::Verified(caller) => Some(caller.did()),
        }
    }
}

/// The operator's rules.
#[derive(Clone, Debug)]
pub struct Policy {
    anonymous: Anonymous,
}

impl Policy {
    /// The rules as the settings state them.
    pub fn new(anonymous: Anonymous) -> Policy {
        Policy { anonymous }
    }

    /// Whether calls without a token are let in at all.
    pub fn admits_anonymous(&self) -> bool {
        self.anonymous == Anonymous::Public
    }

    /// Whether `caller` may run `function`. A function whose record says `public: false` is for its
    /// author, and for those to whom that author, whose signature proves it, granted it.
    pub fn may_run(&self, caller: &Caller, function: &Function) -> Result<Access, Refusal> {
        if function.metadata.public {
            return Ok(Access::Given);
        }
        match caller {
            Caller::Verified(caller) if *caller.did() == function.author => Ok(Access::Given),
            Caller::Verified(caller) => Ok(Access::IfGranted(GrantSubject {
                author: function.author.clone(),
                function: function.rkey.clone(),
                caller: caller.did().clone(),
            })),
            Caller::Anonymous => Err(Refusal::FunctionNotPublic),
        }
    }

    /// Whether somebody to whom access is [`Access::IfGranted`] has it, with the grant that was found. `now`
    /// counts from the Unix epoch: a grant ends when it says, however long it was known.
    pub fn granted(&self, grant: Option<Grant>, now: Duration) -> Result<(), Refusal> {
        match grant {
            Some(grant) if grant.holds(now) => Ok(()),
            _ => Err(Refusal::FunctionNotPublic),
        }
    }
}

/// What the record says of a caller's access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// They may.
    Given,
    /// They may if the author's repo holds this grant, and it holds still.
    IfGranted(GrantSubject),
}

/// Why a caller may not do what they asked; each is a 403 of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// `public: false`, and somebody called who is not the author and has no grant that holds.
    #[error(
        "this function is not public: only its author may run it, and those to whom the author grants it"
    )]
    FunctionNotPublic,
}

impl Refusal {
    /// The error's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::FunctionNotPublic => "FunctionNotPublic",
        }
    }
}
