//! The verifier: the way of one token through the checks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::bearer::Compact;
use super::claims::{Claims, Header};
use super::error::{AuthError, IssuerFault, Malformed, SignatureFault, Trouble};
use super::issuers::{Freshness, Issuer, IssuerError, Issuers};
use super::replay::{Identity, Replay, Ticket, Used};
use super::signature::Signed;
use crate::clock::Clock;
use crate::identity::Did;

/// How far another's clock may be off: a token is taken this long after its `exp`, and before its `iat`.
pub(super) const LEEWAY_SECONDS: u64 = 5;
/// By how much a token may exceed the longest life: issuers that date `iat` back by a minute, to be
/// safe from skew, set `exp` from the true time.
const LIFE_SKEW_SECONDS: u64 = 60;
/// The longest life of a token without `jti`: getServiceAuth's own bound for tokens of little restraint.
const MOST_LIFE_WITHOUT_ID: Duration = Duration::from_secs(60);
/// The longest life that getServiceAuth gives.
const MOST_LIFE: Duration = Duration::from_secs(3600);
/// How many used tokens are remembered: half an hour of a thousand calls a second, all of an hour's life.
const REPLAY_CAPACITY: usize = 2_000_000;

/// What a verifier is to know.
#[derive(Clone)]
pub struct VerifierConfig {
    /// Our DID.
    pub service: Did,
    /// The fragment, without `#`, of our service in our DID document. Tokens are taken whose `aud`
    /// is our DID, with or without it.
    pub service_id: String,
    /// The longest life of a token that has a `jti`; 60 s of skew come on top.
    pub most_life: Duration,
    /// How many used tokens are remembered, at most 2²⁶ and at least 64.
    pub replay_capacity: usize,
    /// The secret under which they are remembered: random, and new at each start.
    pub replay_secret: [u8; 32],
}

impl VerifierConfig {
    /// The defaults: an hour of life, two million tokens (80 MB when they are all used).
    pub fn new(service: Did, service_id: impl Into<String>, replay_secret: [u8; 32]) -> VerifierConfig {
        VerifierConfig {
            service,
            service_id: service_id.into(),
            most_life: MOST_LIFE,
            replay_capacity: REPLAY_CAPACITY,
            replay_secret,
        }
    }
}

/// Verifies the service JWTs of calls.
pub struct Verifier {
    service: Arc<str>,
    service_id: Arc<str>,
    most_life: Duration,
    issuers: Arc<dyn Issuers>,
    clock: Clock,
    used: Arc<Replay>,
}

impl Verifier {
    /// A verifier for one service.
    pub fn new(config: VerifierConfig, issuers: Arc<dyn Issuers>, clock: Clock) -> Verifier {
        let longest_life = config.most_life.max(MOST_LIFE_WITHOUT_ID)
            + Duration::from_secs(LIFE_SKEW_SECONDS + LEEWAY_SECONDS);
        Verifier {
            service: config.service.as_str().into(),
            service_id: config.service_id.into(),
            most_life: config.most_life,
            issuers,
            clock,
            used: Arc::new(Replay::new(config.replay_capacity, longest_life, &config.replay_secret)),
        }
    }

    /// Who calls `lxm`, by the raw value of the `Authorization` header.
    ///
    /// The module's header tells the order of the checks. A token is counted as used only when it
    /// passed them all.
    pub async fn verify(
        &self,
        authorization: Option<&[u8]>,
        lxm: &str,
        repeat: Repeat,
    ) -> Result<VerifiedCall, AuthError> {
        let token = Compact::from_authorization(authorization)?;
        let Header { algorithm } = Header::parse(&token.header()?)?;
        let claims = token.claims()?;
        let claims = Claims::parse(&claims)?;
        let signature = token.signature()?;
        let caller = self.judge(&claims, lxm)?;
        let signature = signature.try_into().map_err(|_| SignatureFault::Length)?;
        let signed = Signed { algorithm, message: token.signing_input, signature };

        let pds = self.prove(&caller, &signed).await?.pds;

        let ticket = match repeat {
            Repeat::Repeatable => Ticket::repeatable(),
            Repeat::SingleUse => {
                let identity = match &claims.jti {
                    Some(id) => Identity::Id(&id.0),
                    None => Identity::SigningInput(token.signing_input),
                };
                let used = Used {
                    issuer: &caller,
                    identity,
                    host: pds.as_ref().and_then(Url::host_str),
                    last_second: claims.exp.saturating_add(LEEWAY_SECONDS),
                };
                // Anew, because fetching took its time.
                self.used.claim(&used, self.clock.unix_seconds())?
            }
        };
        Ok(VerifiedCall { caller: CallerDid(caller), pds, ticket })
    }

    /// How many used tokens are remembered now.
    pub fn remembered(&self) -> usize {
        self.used.len()
    }

    /// Everything about the claims that needs no network.
    fn judge(&self, claims: &Claims<'_>, lxm: &str) -> Result<Did, AuthError> {
        if !self.is_audience(&claims.aud.0) {
            let (service, service_id) = (Arc::clone(&self.service), Arc::clone(&self.service_id));
            return Err(AuthError::Audience { service, service_id });
        }
        self.judge_times(claims, self.clock.unix_seconds())?;
        if claims.lxm.as_ref().is_none_or(|named| named.0 != lxm) {
            return Err(AuthError::LexiconMethod { expected: lxm.into() });
        }
        Ok(Did::parse(&claims.iss.0).map_err(IssuerFault::NotADid)?)
    }

    /// Exactly our DID, or our DID and the fragment of our service.
    fn is_audience(&self, aud: &str) -> bool {
        match aud.strip_prefix(&*self.service) {
            Some("") => true,
            Some(fragment) => fragment.strip_prefix('#') == Some(&self.service_id),
            None => false,
        }
    }

    fn judge_times(&self, claims: &Claims<'_>, now: u64) -> Result<(), AuthError> {
        if now > claims.exp.saturating_add(LEEWAY_SECONDS) {
            return Err(AuthError::Expired);
        }
        let soon = now.saturating_add(LEEWAY_SECONDS);
        if claims.iat.is_some_and(|iat| iat > soon) {
            return Err(Malformed::IssuedInFuture.into());
        }
        if claims.nbf.is_some_and(|nbf| nbf > soon) {
            return Err(Malformed::NotYetValid.into());
        }
        // From its issue as it says, or from now, whichever makes it longer: `iat` may be absent or late.
        let life = claims.exp.saturating_sub(claims.iat.map_or(now, |iat| iat.min(now)));
        let most = self.most_life;
        if life > most.as_secs().saturating_add(LIFE_SKEW_SECONDS) {
            return Err(Malformed::LivesTooLong { most }.into());
        }
        let most = MOST_LIFE_WITHOUT_ID.min(most);
        if claims.jti.is_none() && life > most.as_secs() + LEEWAY_SECONDS {
            return Err(Malformed::NeedsId { most }.into());
        }
        Ok(())
    }

    /// The document of the issuer whose key made the signature.
    async fn prove(&self, did: &Did, signed: &Signed<'_>) -> Result<Issuer, AuthError> {
        let issuer = self.issuer(did, Freshness::Cached).await?;
        let Err(fault) = check(&issuer, signed) else { return Ok(issuer) };
        // The key may have been replaced since the document was fetched. Only another key makes it
        // worth while to verify again.
        let refreshed = self.issuer(did, Freshness::Refreshed).await?;
        if refreshed.key == issuer.key {
            return Err(fault);
        }
        check(&refreshed, signed).map(|()| refreshed)
    }

    async fn issuer(&self, did: &Did, freshness: Freshness) -> Result<Issuer, AuthError> {
        self.issuers.issuer(did, freshness).await.map_err(|error| match error {
            IssuerError::Busy => AuthError::IssuerUnreachable(Trouble::Busy),
            IssuerError::Unreachable => AuthError::IssuerUnreachable(Trouble::Network),
            IssuerError::NotFound => IssuerFault::NotFound.into(),
            IssuerError::Invalid(why) => IssuerFault::InvalidDocument(why).into(),
        })
    }
}

fn check(issuer: &Issuer, signed: &Signed<'_>) -> Result<(), AuthError> {
    let key = issuer.key.as_ref().ok_or(IssuerFault::NoKey)?;
    Ok(signed.verify(key)?)
}

/// Whether a token may serve again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once only: procedures.
    SingleUse,
    /// As often as it is presented while it lives: queries, which a PDS may retry.
    Repeatable,
}

/// A call whose caller is known.
#[derive(Debug)]
pub struct VerifiedCall {
    /// Who calls.
    pub caller: CallerDid,
    /// The caller's PDS, as the caller's own document claims.
    pub pds: Option<Url>,
    /// The token's use.
    pub ticket: Ticket,
}

/// A DID whose key signed the token of this call.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CallerDid(Did);

impl CallerDid {
    /// Takes `did` for a caller without any proof: for tests of what comes after this room.
    pub fn without_proof(did: Did) -> CallerDid {
        CallerDid(did)
    }

    /// The DID.
    pub fn did(&self) -> &Did {
        &self.0
    }
}

impl fmt::Display for CallerDid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CallerDid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
