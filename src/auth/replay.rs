//! The memory of used tokens: what makes a token single-use.
//!
//! Bounded, and it never forgets a token that could still be accepted; when it is full, it refuses.
//! So that nobody can fill it for others:
//! - one issuer holds at most 1/16 of it, all issuers that name one PDS host together 1/4 (those
//!   that name none count as one host), and whoever is beyond is refused alone;
//! - the last quarter of each share, and of the whole, is for tokens with 90 s or less to live, as
//!   every proxied call brings. Tokens of long life can therefore not crowd those out, not even
//!   those of issuers who only claim to live on somebody else's host.
//!
//! Entries are threaded on a list for each second of expiry, and forgetting goes from list to list,
//! a bounded number of entries a call. A token takes 36 bytes and 4 of the table's heads: 80 MB for
//! the default of 2 million; with every token from another issuer on another host 120 MB more. The
//! addresses are set aside at the start, and the memory is taken as it is used.
//!
//! Keys are SHA-256 under a secret of this process, cut to 16 bytes: nobody can look for two tokens
//! of one key, or for many keys of one chain.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::error::{AuthError, Holder, Malformed};
use super::table::{Digest, Slot, Table};
use crate::identity::Did;

/// An issuer's share of the memory, and a host's: one part in so many.
const ISSUER_SHARE: usize = 16;
const HOST_SHARE: usize = 4;
/// The part of every share that is kept for tokens of short life.
const SHORT_SHARE: usize = 4;
/// The longest rest of life that is short: a proxied token's 60 s, and some skew.
const SHORT_SECONDS: u64 = 90;
/// The least memory that can be shared out.
const MIN_TOKENS: usize = 64;
/// The most: what an ordinary machine can address and set aside.
const MAX_TOKENS: usize = 1 << 26;
/// How many dead tokens one call forgets, so that none waits for all that died in one second.
const FORGET_AT_ONCE: usize = 64;
/// How far forgetting may lag behind, before a call does all of it.
const MAX_LAG_SECONDS: u64 = 256;

/// What the figures above and in the settings' documentation rest on.
const _: () = assert!(Table::<Token>::ENTRY_BYTES == 36);

/// A memory of used tokens.
pub(super) struct Replay {
    /// The hash state after the secret.
    keyed: Sha256,
    capacity: usize,
    state: Mutex<State>,
}

/// A token that was proved, as the memory tells it from others.
pub(super) struct Used<'a> {
    pub(super) issuer: &'a Did,
    pub(super) identity: Identity<'a>,
    /// The host of the issuer's PDS, by its own claim.
    pub(super) host: Option<&'a str>,
    /// The last second at which it is accepted: its `exp` and the leeway.
    pub(super) last_second: u64,
}

/// What makes a token that token.
pub(super) enum Identity<'a> {
    /// Its `jti`: with the issuer it names the token, whatever else it says (RFC 7519 section 4.1.7).
    Id(&'a str),
    /// What was signed. Never the signature, whose high-S twin verifies as well.
    SigningInput(&'a [u8]),
}

impl Replay {
    /// A memory of `capacity` tokens that live for up to `longest_life`, under a secret that nobody knows.
    pub(super) fn new(capacity: usize, longest_life: Duration, secret: &[u8; 32]) -> Replay {
        let capacity = capacity.clamp(MIN_TOKENS, MAX_TOKENS);
        let seconds = longest_life.as_secs() as usize + MAX_LAG_SECONDS as usize + 1;
        let state = State {
            tokens: Table::new(capacity),
            issuers: Table::new(capacity),
            hosts: Table::new(capacity),
            seconds: vec![None; seconds].into_boxed_slice(),
            unforgotten: 0,
        };
        Replay { keyed: Sha256::new_with_prefix(secret), capacity, state: Mutex::new(state) }
    }

    /// Takes `used` for this caller alone: of all who present it, one gets the ticket.
    pub(super) fn claim(self: &Arc<Replay>, used: &Used<'_>, now: u64) -> Result<Ticket, AuthError> {
        let issuer = used.issuer.as_str().as_bytes();
        let digest = match used.identity {
            Identity::Id(id) => self.digest(b"id", issuer, id.as_bytes()),
            Identity::SigningInput(input) => self.digest(b"in", issuer, input),
        };
        let claim = Claim {
            digest,
            issuer: self.digest(b"is", issuer, b""),
            host: self.digest(b"ho", used.host.unwrap_or_default().as_bytes(), b""),
            last_second: used.last_second,
        };
        self.state().claim(&claim, now, self.capacity)?;
        let last_second = used.last_second;
        Ok(Ticket { taken: Some(Taken { memory: Arc::clone(self), digest, last_second }) })
    }

    /// How many tokens it holds.
    pub(super) fn len(&self) -> usize {
        self.state().tokens.len()
    }

    /// `kind` has two bytes, and the first part its length before it: no two inputs read the same.
    fn digest(&self, kind: &[u8; 2], first: &[u8], second: &[u8]) -> Digest {
        let mut hash = self.keyed.clone();
        hash.update(kind);
        hash.update((first.len() as u64).to_le_bytes());
        hash.update(first);
        hash.update(second);
        let mut digest = Digest::default();
        digest.copy_from_slice(&hash.finalize()[..16]);
        digest
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock panics between two writes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token taken for one call. Dropping it leaves the token used.
pub struct Ticket {
    /// None where the token may repeat.
    taken: Option<Taken>,
}

struct Taken {
    memory: Arc<Replay>,
    digest: Digest,
    last_second: u64,
}

impl Ticket {
    /// The ticket of a call for which a token may be used again.
    pub(super) fn repeatable() -> Ticket {
        Ticket { taken: None }
    }

    /// Makes the token good for another try: for calls that were refused (413, 429, 503) before
    /// anything ran.
    pub fn give_back(self) {
        if let Some(taken) = self.taken {
            taken.memory.state().give_back(&taken.digest, taken.last_second);
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.taken.is_some() { "Ticket(single use)" } else { "Ticket(repeatable)" })
    }
}

struct Claim {
    digest: Digest,
    issuer: Digest,
    host: Digest,
    last_second: u64,
}

struct State {
    tokens: Table<Token>,
    issuers: Table<IssuerTokens>,
    /// How many tokens are held by the issuers of each host.
    hosts: Table<u32>,
    /// The first token of each second's list, the second being taken modulo the length: longer than any token lives.
    seconds: Box<[Option<Slot>]>,
    /// The earliest last second whose tokens are not all forgotten. It does not go back when the
    /// clock does: what was forgotten stays refused.
    unforgotten: u64,
}

#[derive(Clone, Copy)]
struct Token {
    /// Its neighbours on the list of its second.
    before: Option<Slot>,
    after: Option<Slot>,
    issuer: Slot,
    /// Its last second, modulo 2³²; all held at one time are within 2³² of each other.
    last_second: u32,
}

#[derive(Clone, Copy)]
struct IssuerTokens {
    held: u32,
    /// The host that it named when its first token now held was taken. An issuer that names
    /// another one since cannot bring what it holds into that host's share.
    host: Slot,
}

impl State {
    fn claim(&mut self, claim: &Claim, now: u64, capacity: usize) -> Result<(), AuthError> {
        self.forget(now);
        if claim.last_second < now.max(self.unforgotten) {
            return Err(AuthError::Expired);
        }
        if claim.last_second - self.unforgotten >= self.seconds.len() as u64 {
            // The verifier has checked the token's life, but the clock may have been set back since.
            return Err(Malformed::IssuedInFuture.into());
        }
        if let Some(slot) = self.tokens.find(&claim.digest) {
            // Dead but not forgotten yet: another token of the same `jti`, which may be followed.
            if self.last_second(slot) >= now {
                return Err(AuthError::Replayed);
            }
            self.remove(slot);
        }
        let short = claim.last_second - now <= SHORT_SECONDS + super::verifier::LEEWAY_SECONDS;
        let limit = |share: usize| (if short { share } else { share - share / SHORT_SHARE }).max(1);
        if self.tokens.len() >= limit(capacity) {
            return Err(AuthError::MemoryFull);
        }
        let issuer = self.issuers.find(&claim.issuer);
        if issuer.is_some_and(|slot| self.issuers[slot].held as usize >= limit(capacity / ISSUER_SHARE)) {
            return Err(AuthError::ShareExceeded(Holder::Issuer));
        }
        let host = match issuer {
            Some(slot) => Some(self.issuers[slot].host),
            None => self.hosts.find(&claim.host),
        };
        if host.is_some_and(|slot| self.hosts[slot] as usize >= limit(capacity / HOST_SHARE)) {
            return Err(AuthError::ShareExceeded(Holder::Host));
        }
        self.insert(claim, issuer, host).ok_or(AuthError::MemoryFull)
    }

    /// None only if a table has no slot left, which `MAX_TOKENS` excludes.
    fn insert(&mut self, claim: &Claim, issuer: Option<Slot>, host: Option<Slot>) -> Option<()> {
        let host = match host {
            Some(host) => host,
            None => self.hosts.insert(claim.host, 0)?,
        };
        let issuer = match issuer {
            Some(issuer) => issuer,
            None => self.issuers.insert(claim.issuer, IssuerTokens { held: 0, host })?,
        };
        let list = self.list(claim.last_second);
        let after = self.seconds[list];
        let last_second = claim.last_second as u32;
        let token = self.tokens.insert(claim.digest, Token { before: None, after, issuer, last_second })?;
        if let Some(after) = after {
            self.tokens[after].before = Some(token);
        }
        self.seconds[list] = Some(token);
        self.issuers[issuer].held += 1;
        self.hosts[host] += 1;
        Some(())
    }

    fn give_back(&mut self, digest: &Digest, last_second: u64) {
        if let Some(slot) = self.tokens.find(digest) {
            // Not a later token of the same `jti`, taken after ours had died.
            if self.last_second(slot) == last_second {
                self.remove(slot);
            }
        }
    }

    fn remove(&mut self, slot: Slot) {
        let list = self.list(self.last_second(slot));
        let token = self.tokens.remove(slot);
        match token.before {
            Some(before) => self.tokens[before].after = token.after,
            None => self.seconds[list] = token.after,
        }
        if let Some(after) = token.after {
            self.tokens[after].before = token.before;
        }
        let host = self.issuers[token.issuer].host;
        self.issuers[token.issuer].held -= 1;
        if self.issuers[token.issuer].held == 0 {
            self.issuers.remove(token.issuer);
        }
        self.hosts[host] -= 1;
        if self.hosts[host] == 0 {
            self.hosts.remove(host);
        }
    }

    /// Forgets tokens whose last second is before `now`.
    fn forget(&mut self, now: u64) {
        let span = self.seconds.len() as u64;
        if now.abs_diff(self.unforgotten) >= span {
            // Either all that is held is dead, or the clock was set back by more than any token
            // lives, and refusing until it has caught up would be refusing everybody: begin anew.
            self.tokens.clear();
            self.issuers.clear();
            self.hosts.clear();
            self.seconds.fill(None);
            self.unforgotten = now;
        }
        let mut budget = FORGET_AT_ONCE;
        while self.unforgotten < now {
            while let Some(slot) = self.seconds[self.list(self.unforgotten)] {
                if budget == 0 && now - self.unforgotten <= MAX_LAG_SECONDS {
                    return;
                }
                budget = budget.saturating_sub(1);
                self.remove(slot);
            }
            self.unforgotten += 1;
        }
    }

    /// The last second of a token that is held: the one that its 32 bits mean, not before `unforgotten`.
    fn last_second(&self, slot: Slot) -> u64 {
        let ahead = self.tokens[slot].last_second.wrapping_sub(self.unforgotten as u32);
        self.unforgotten + u64::from(ahead)
    }

    fn list(&self, second: u64) -> usize {
        (second % self.seconds.len() as u64) as usize
    }
}
