//! Who may call what.
//!
//! In: a proved caller and what is being called. Out: yes, or the refusal with its reason.
//! Never: widen what the record's author allowed.
//!
//! The checks stand in the order in which they are made: who calls, before anything is fetched for
//! them; then what is called, once its record is proved; then, at each host call, what it reads (`reads`).

mod reads;

use crate::auth::CallerDid;
use crate::config::Anonymous;
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

    /// Whether `caller` may run `function`. A function whose record says `public: false` is its
    /// author's alone; only that author, whose signature proves the record, could have said otherwise.
    pub fn may_run(&self, caller: &Caller, function: &Function) -> Result<(), Refusal> {
        if function.metadata.public {
            return Ok(());
        }
        match caller {
            Caller::Verified(caller) if *caller.did() == function.author => Ok(()),
            Caller::Verified(_) | Caller::Anonymous => Err(Refusal::FunctionNotPublic),
        }
    }
}

/// Why a caller may not do what they asked; each is a 403 of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// `public: false`, and somebody else than the author called.
    #[error("this function is not public: only its author may run it")]
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
