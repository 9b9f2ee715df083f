//! Who may call what.
//!
//! In: a proved caller and what is being called; the operator's settings and policy file. Out: yes, or the refusal
//! with its reason and the rule that decided. Never: widen what the record's author allowed, or ask the network.
//!
//! The checks stand in the order in which they are made: who calls (`callers`), before anything is fetched for
//! them; what is called, by its name (`functions`), before its author's PDS is asked anything; then, once its
//! record is proved, what that says; at last, at each host call, what it reads (`reads`). How often, and how many
//! at once, is `limits`.
//!
//! What the operator wrote is read by `file`, checked whole, and put in force by `live`.

mod accounts;
mod call_rates;
mod callers;
mod ceilings;
mod dids;
mod file;
mod functions;
mod hosts;
pub mod limits;
mod live;
mod reads;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use crate::auth::CallerDid;
use crate::config::{Anonymous, UndeclaredReads};
use crate::identity::{Did, PdsHost};
use crate::lexicon::{Grant, GrantSubject, RecordKey};
use crate::registry::Function;

pub use ceilings::Ceiling;
pub use file::{Basis, InvalidPolicy};
pub use live::{Policies, PolicyFileError};
pub use reads::{InvalidScope, MAX_SCOPES, NotAllowed, Read, Reads, Scope, judged};

use call_rates::CallRates;
use callers::Callers;
use ceilings::Ceilings;
use functions::Functions;
use limits::FunctionRates;

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
    undeclared_reads: UndeclaredReads,
    callers: Callers,
    functions: Functions,
    ceilings: Ceilings,
    call_rates: CallRates,
}

impl Policy {
    /// The rules as the settings state them, without a file.
    pub fn of_settings(basis: &Basis) -> Policy {
        Policy {
            anonymous: basis.anonymous,
            undeclared_reads: basis.undeclared_reads,
            callers: Callers::default(),
            functions: Functions::default(),
            ceilings: Ceilings::new(basis.ceiling),
            call_rates: CallRates::new(basis.rates.of_functions()),
        }
    }

    /// Whether calls without a token are let in at all. While there is a list of callers who are, nobody
    /// comes in by not saying who they are.
    pub fn admits_anonymous(&self) -> bool {
        self.anonymous == Anonymous::Public && !self.callers.are_listed()
    }

    /// Whether `caller`, whose DID document claims to be at `pds`, may call at all.
    pub fn admit(&self, caller: &Caller, pds: Option<&PdsHost>) -> Result<Admission, Refused> {
        match caller {
            Caller::Anonymous => Ok(Admission::Given(None)),
            Caller::Verified(caller) => self.callers.admit(caller.did(), pds),
        }
    }

    /// Whether it matters for this function which PDS its author's document names. What is blocked by its name is
    /// so wherever it is.
    pub fn asks_where_author_is(&self, author: &Did, rkey: &RecordKey) -> bool {
        self.functions.depend_on_hosts(author, rkey)
    }

    /// Whether the operator lets this function of `author`, whose DID document claims to be at `pds`, run.
    pub fn admit_function(
        &self,
        author: &Did,
        rkey: &RecordKey,
        pds: Option<&PdsHost>,
    ) -> Result<Admission, Refused> {
        self.functions.admit(author, rkey, pds)
    }

    /// What a run of this function gets at most, whatever its record asks for.
    pub fn ceiling(&self, author: &Did, rkey: &RecordKey) -> Ceiling {
        self.ceilings.of(author, rkey)
    }

    /// How often this function may be called, and all of its author's.
    pub fn call_rates(&self, author: &Did, rkey: &RecordKey) -> FunctionRates {
        self.call_rates.of(author, rkey)
    }

    /// What a function that declares no reads may read.
    pub fn undeclared_reads(&self) -> UndeclaredReads {
        self.undeclared_reads
    }

    /// Whether `caller` may run `function`. A function whose record says `public: false` is for its
    /// author, and for those to whom that author, whose signature proves it, granted it.
    pub fn may_run(&self, caller: &Caller, function: &Function) -> Result<Access, Refused> {
        if function.metadata.public {
            return Ok(Access::Given(None));
        }
        match caller {
            Caller::Verified(caller) if *caller.did() == function.author => {
                Ok(Access::Given(Some(Rule::AUTHOR)))
            }
            Caller::Verified(caller) => Ok(Access::IfGranted(GrantSubject {
                author: function.author.clone(),
                function: function.rkey.clone(),
                caller: caller.did().clone(),
            })),
            Caller::Anonymous => Err(Refused::NOT_PUBLIC),
        }
    }

    /// Whether somebody to whom access is [`Access::IfGranted`] has it, with the grant that was found. `now`
    /// counts from the Unix epoch: a grant ends when it says, however long it was known.
    pub fn granted(&self, grant: Option<Grant>, now: Duration) -> Result<Rule, Refused> {
        match grant {
            Some(grant) if grant.holds(now) => Ok(Rule::GRANT),
            _ => Err(Refused::NOT_PUBLIC),
        }
    }
}

/// What the operator's rules say of a caller, or of the author of a function, whom they do not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// They may, as this entry of a list says, if there is such a list.
    Given(Option<Rule>),
    /// They may if the PDS that their document names says that they are there.
    IfConfirmed(Rule),
}

/// What the record says of a caller's access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// They may, by this rule where the function is not public.
    Given(Option<Rule>),
    /// They may if the author's repo holds this grant, and it holds still.
    IfGranted(GrantSubject),
}

/// The rule that decided: an entry of the policy file, by its list and its index from 0 (`callers.block[2]`), a list
/// in which there is no such entry (`callers.allow`), or what the author said (`public`, `author`, `grant`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    name: &'static str,
    index: Option<usize>,
}

impl Rule {
    /// The record says `public: false`.
    pub const PUBLIC: Rule = Rule::named("public");
    /// The caller is the author.
    pub const AUTHOR: Rule = Rule::named("author");
    /// The author granted it to the caller.
    pub const GRANT: Rule = Rule::named("grant");

    const fn named(name: &'static str) -> Rule {
        Rule { name, index: None }
    }

    fn entry(list: &'static str, index: usize) -> Rule {
        Rule { name: list, index: Some(index) }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.index.map_or(Ok(()), |index| write!(f, "[{index}]"))
    }
}

/// A refusal, and the rule that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What the caller is told.
    pub refusal: Refusal,
    /// What the operator is told besides.
    pub rule: Rule,
}

impl Refused {
    const NOT_PUBLIC: Refused = Refused { refusal: Refusal::FunctionNotPublic, rule: Rule::PUBLIC };
}

/// Why a caller may not do what they asked; each is a 403 of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The operator does not serve this caller.
    #[error("the operator of this service does not serve you; only they can change that")]
    CallerBlocked,
    /// The operator serves callers of the PDS that this caller's document names, but that PDS did not say that
    /// they are there.
    #[error(
        "the operator of this service serves the accounts of your PDS, but your PDS did not confirm that your \
         account is active there; if it is, retry in 60 s"
    )]
    CallerUnconfirmed,
    /// The operator runs functions of the PDS that this author's document names, but that PDS did not say that the
    /// author is there.
    #[error(
        "the operator of this service runs functions of the accounts of this author's PDS, but that PDS did not \
         confirm that the author's account is active there; if it is, retry in 60 s"
    )]
    AuthorUnconfirmed,
    /// The operator does not run this function, or this author's.
    #[error(
        "the operator of this service does not run this function or its author's; call it at another service"
    )]
    FunctionBlocked,
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
            Refusal::CallerBlocked | Refusal::CallerUnconfirmed => "CallerBlocked",
            Refusal::AuthorUnconfirmed | Refusal::FunctionBlocked => "FunctionBlocked",
            Refusal::FunctionNotPublic => "FunctionNotPublic",
        }
    }
}
