//! How often, and how many at once: of a caller, of a PDS's callers, of an address, of an author's
//! functions, of one function.
//!
//! In: who calls what, and the moment. Out: a place that is held while the call goes on, or which limit
//! stands in the way and until when. Never: wait, ask anybody, or forget a key that still owes something.
//!
//! Each limit has a [`Limit`] (a rate, a burst, and how many at once) and a table of those who use it
//! (`table`), in which each key is one moment (`gcra`) and a count. A call is charged in two steps: to its
//! caller as soon as that is known, before anything is fetched for it; to the function and its author once
//! it is known that the caller may run it, so that refused strangers cannot silence a function. A call that
//! one limit refuses is given back to those that it was charged to in the same step.

mod address;
mod gcra;
mod limit;
mod table;

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use address::{InvalidNetwork, TrustedProxies, one_holder};
pub use limit::{FunctionRates, InvalidLimit, Limit, Rates};

use table::{Held, Table};

/// Keys that each limit remembers. An entry takes some 60 bytes; only one whose bucket is full again, and
/// of which no call is under way, is ever forgotten.
const MAX_KEYS: usize = 65_536;

/// What may be exceeded. The closed set of a metric's labels too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Calls without a token, by the address that they come from.
    Address,
    /// Calls of the functions of one author.
    Author,
    /// Calls by one DID.
    Caller,
    /// Calls of one function.
    Function,
    /// Calls by the accounts of one PDS, which it confirmed.
    Host,
    /// Calls by all those whom no PDS has confirmed.
    Unconfirmed,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Kind; 6] =
        [Kind::Address, Kind::Author, Kind::Caller, Kind::Function, Kind::Host, Kind::Unconfirmed];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Address => "address",
            Kind::Author => "author",
            Kind::Caller => "caller",
            Kind::Function => "function",
            Kind::Host => "host",
            Kind::Unconfirmed => "unconfirmed",
        }
    }

    /// Whose calls it counts, as callers are told.
    fn of(self) -> &'static str {
        match self {
            Kind::Address => "without a token from this address",
            Kind::Author => "of this author's functions",
            Kind::Caller => "by this caller",
            Kind::Function => "of this function",
            Kind::Host => "by accounts of this caller's PDS",
            Kind::Unconfirmed => "by accounts that no PDS has confirmed to this service yet",
        }
    }
}

/// Who is charged first.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// A caller with a token.
    Caller {
        /// Its DID.
        did: &'a str,
        /// The host of its PDS, where that host itself confirmed it. A DID document is its owner's word:
        /// who is not confirmed shares one bucket with all others who are not.
        host: Option<&'a str>,
    },
    /// Somebody without one, by the address that the request came from (see [`one_holder`]).
    Address(IpAddr),
}

/// What is left of a limit, for the `RateLimit-*` headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Calls in a row, at most.
    pub burst: u32,
    /// In which time that many come back.
    pub window: Duration,
    /// Calls that could be made now.
    pub remaining: u32,
    /// Until all of them are back.
    pub full_in: Duration,
}

/// A limit that stands in a call's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many calls {}{}; retry in {} s", kind.of(), if *at_once { " at once" } else { "" }, retry_after.as_secs())]
pub struct Exceeded {
    /// Which.
    pub kind: Kind,
    /// Whether it is how many are under way, and not how often.
    pub at_once: bool,
    /// In whole seconds.
    pub retry_after: Duration,
    /// What is left of it.
    pub quota: Quota,
}

/// Who has used how much of each limit.
pub struct Limits {
    started: Instant,
    addresses: Arc<Table>,
    authors: Arc<Table>,
    callers: Arc<Table>,
    functions: Arc<Table>,
    hosts: Arc<Table>,
    unconfirmed: Arc<Table>,
}

/// A call's places in what it was charged to; given back by dropping it.
#[derive(Debug)]
pub struct Admitted {
    /// What is left of the limit that is nearest to its end. `None` where there is no limit.
    pub quota: Option<Quota>,
    _held: Vec<Held>,
}

impl Limits {
    /// Limits that nobody has used anything of. All moments are given later.
    pub fn new(now: Instant) -> Limits {
        Limits::of_size(now, MAX_KEYS)
    }

    fn of_size(now: Instant, keys: usize) -> Limits {
        let table = |kind| Arc::new(Table::new(kind, keys));
        Limits {
            started: now,
            addresses: table(Kind::Address),
            authors: table(Kind::Author),
            callers: table(Kind::Caller),
            functions: table(Kind::Function),
            hosts: table(Kind::Host),
            unconfirmed: table(Kind::Unconfirmed),
        }
    }

    /// Charges a call to whoever makes it.
    pub fn admit(&self, rates: &Rates, who: Who<'_>, now: Instant) -> Result<Admitted, Exceeded> {
        match who {
            Who::Caller { did, host } => {
                let hosts = if host.is_some() { &self.hosts } else { &self.unconfirmed };
                self.charge(
                    now,
                    [(&self.callers, table::key(&did), rates.caller), (hosts, table::key(&host), rates.host)],
                )
            }
            Who::Address(address) => {
                self.charge(now, [(&self.addresses, table::key(&one_holder(address)), rates.address)])
            }
        }
    }

    /// Charges a call to what it calls: a function by its at-uri of DIDs.
    pub fn admit_to(
        &self,
        rates: &FunctionRates,
        author: &str,
        function: &(impl Hash + ?Sized),
        now: Instant,
    ) -> Result<Admitted, Exceeded> {
        self.charge(
            now,
            [
                (&self.authors, table::key(&author), rates.author),
                (&self.functions, table::key(&function), rates.function),
            ],
        )
    }

    /// Charges all of these or none.
    fn charge<const N: usize>(
        &self,
        now: Instant,
        to: [(&Arc<Table>, table::Key, Limit); N],
    ) -> Result<Admitted, Exceeded> {
        let now = now.saturating_duration_since(self.started);
        let mut held: Vec<Held> = Vec::with_capacity(N);
        let mut tightest: Option<Quota> = None;
        for (table, key, limit) in to {
            if limit == Limit::NONE {
                continue;
            }
            match table.charge(key, limit, now) {
                Ok((place, quota)) => {
                    held.push(place);
                    if tightest.is_none_or(|known| quota.remaining < known.remaining) {
                        tightest = Some(quota);
                    }
                }
                Err(exceeded) => {
                    held.into_iter().for_each(Held::take_back);
                    return Err(exceeded);
                }
            }
        }
        Ok(Admitted { quota: tightest, _held: held })
    }
}

#[cfg(test)]
mod tests;
