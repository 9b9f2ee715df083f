//! Whether a PDS hosts an account, in that host's own word.
//!
//! A DID document names its PDS, but that is the account's claim: anybody can name any host. Only the host can say
//! that the account is one of its own, with `com.atproto.sync.getRepoStatus`. Whoever has a DID can have it
//! asked, so there is a bound on how often one host is asked about accounts that it did not confirm before.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use serde::Deserialize;
use url::{Host, Url};

use super::Did;
use crate::clock::Clock;
use crate::egress::{Budgets, Egress, EgressError, Gate, GateLimits, Get, Redirects};

/// How long a yes is believed.
const CONFIRMED_TTL: Duration = Duration::from_secs(3600);
/// How long a no is: an account may have moved there a moment ago.
const DENIED_TTL: Duration = Duration::from_secs(60);
/// How long trouble on the way is.
const TROUBLE_TTL: Duration = Duration::from_secs(10);
/// What the answers of some fifty thousand accounts need.
const KNOWN_BYTES: u64 = 32 * 1024 * 1024;
/// Accounts that were confirmed once, as far as they are remembered, and for how long.
const MAX_FAMILIAR: u64 = 50_000;
const FAMILIAR_IDLE: Duration = Duration::from_secs(24 * 3600);

/// Unfamiliar accounts that one host is asked about at once, and how often one more is after that: a tenth of
/// what the reference PDS answers one client (3,000 in five minutes), since functions are read from there too.
const BURST: u32 = 50;
const INTERVAL: Duration = Duration::from_secs(1);
/// Questions under way, fair between hosts, so that slow ones do not keep the others' accounts waiting.
const ASKING: GateLimits = GateLimits { places: 32, lane_places: 8, queue: 512, lane_queue: 64 };
/// How long a question may wait for its turn, and then for its answer.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(3);
/// A status has a hundred bytes or two.
const MAX_BYTES: usize = 16 * 1024;

/// A PDS by its host, as DID documents name it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PdsHost {
    name: Arc<str>,
    port: Option<u16>,
}

impl PdsHost {
    /// The host of a PDS's URL. One host has one spelling, whatever its document's.
    pub fn of(pds: &Url) -> Option<PdsHost> {
        let name = match pds.host()? {
            Host::Domain(name) => name.strip_suffix('.').unwrap_or(name).into(),
            address => address.to_string().into(),
        };
        Some(PdsHost { name, port: pds.port() })
    }

    /// Its name, in lower case, or its address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its port, where that is not the scheme's own.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for PdsHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for PdsHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What hosts say of accounts, kept for a while. Cheap to clone.
#[derive(Clone)]
pub struct Hosting(Arc<Parts>);

struct Parts {
    egress: Egress,
    known: Cache<Claim, Word>,
    familiar: moka::sync::Cache<Claim, ()>,
    unfamiliar: Budgets<PdsHost>,
    asking: Arc<Gate<PdsHost>>,
    clock: Clock,
}

/// An account, and the origin of the PDS that it names.
type Claim = (Did, Url);

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// The host has the account, and it is active.
    Confirmed,
    /// The host says otherwise.
    Denied,
    /// The host could not be asked.
    Trouble,
    /// The host was not asked: it, or this service, is asked for too much.
    NotAsked,
}

impl Hosting {
    /// Knows nothing yet, and asks through `egress`.
    pub fn new(egress: Egress, clock: Clock) -> Hosting {
        Hosting(Arc::new(Parts {
            egress,
            known: Cache::builder()
                .max_capacity(KNOWN_BYTES)
                .weigher(|(did, pds): &Claim, _| {
                    (512 + did.as_str().len() + pds.as_str().len()).try_into().unwrap_or(u32::MAX)
                })
                .expire_after(Ages)
                .build(),
            familiar: moka::sync::Cache::builder()
                .max_capacity(MAX_FAMILIAR)
                .time_to_idle(FAMILIAR_IDLE)
                .build(),
            unfamiliar: Budgets::new(BURST, INTERVAL),
            asking: Gate::new(ASKING),
            clock,
        }))
    }

    /// The host of `pds`, which the document of `did` names, if that host says that the account is an active one of
    /// its own; it was asked at most an hour ago. `None` also if it could not be asked: within four seconds
    /// there is an answer.
    pub async fn confirmed(&self, did: &Did, pds: &Url) -> Option<PdsHost> {
        let host = PdsHost::of(pds)?;
        let claim = (did.clone(), pds.clone());
        let word = self.0.known.get_with(claim.clone(), self.0.ask(&host, &claim)).await;
        (word == Word::Confirmed).then_some(host)
    }

    /// The same, as far as it is known by now. What is not is asked meanwhile, for the next time.
    pub async fn known(&self, did: &Did, pds: &Url) -> Option<PdsHost> {
        let claim = (did.clone(), pds.clone());
        match self.0.known.get(&claim).await {
            Some(word) => (word == Word::Confirmed).then(|| PdsHost::of(pds)).flatten(),
            None => {
                let hosting = self.clone();
                tokio::spawn(async move { hosting.confirmed(&claim.0, &claim.1).await });
                None
            }
        }
    }
}

impl Parts {
    async fn ask(&self, host: &PdsHost, claim: &Claim) -> Word {
        let is_familiar = self.familiar.contains_key(claim);
        if !is_familiar && self.unfamiliar.take(host.clone(), self.clock.since_epoch()).is_err() {
            return Word::NotAsked;
        }
        let turn = tokio::time::timeout(LONGEST_WAIT, self.asking.enter(host.clone())).await;
        let Ok(Ok(_turn)) = turn else { return Word::NotAsked };
        let word = self.word(claim).await;
        match word {
            Word::Confirmed => self.familiar.insert(claim.clone(), ()),
            Word::Denied => self.familiar.invalidate(claim),
            Word::Trouble | Word::NotAsked => {}
        }
        word
    }

    /// Source: the lexicon `com.atproto.sync.getRepoStatus`.
    async fn word(&self, (did, pds): &Claim) -> Word {
        let mut url = pds.clone();
        url.set_path("/xrpc/com.atproto.sync.getRepoStatus");
        url.query_pairs_mut().clear().append_pair("did", did.as_str());
        let request = Get {
            url: &url,
            accept: "application/json",
            max_bytes: MAX_BYTES,
            timeout: TIMEOUT,
            // A redirect would let another host speak for this one.
            redirects: Redirects::None,
            for_author: None,
            rationed: false,
        };
        match self.egress.get(request).await {
            Ok(response) => Word::of(did, response.status, &response.body),
            Err(EgressError::Busy) => Word::NotAsked,
            Err(EgressError::Blocked(_) | EgressError::TooLarge) => Word::Denied,
            Err(_) => Word::Trouble,
        }
    }
}

impl Word {
    /// What an answer says of `did`.
    fn of(did: &Did, status: u16, body: &[u8]) -> Word {
        #[derive(Deserialize)]
        struct Status<'a> {
            did: &'a str,
            active: bool,
        }
        match status {
            200 => match serde_json::from_slice::<Status<'_>>(body) {
                Ok(told) if told.active && told.did == did.as_str() => Word::Confirmed,
                _ => Word::Denied,
            },
            500.. => Word::Trouble,
            _ => Word::Denied,
        }
    }
}

/// How long what came of a question is believed.
struct Ages;

impl Expiry<Claim, Word> for Ages {
    fn expire_after_create(&self, _: &Claim, word: &Word, _: Instant) -> Option<Duration> {
        Some(match word {
            Word::Confirmed => CONFIRMED_TTL,
            Word::Denied => DENIED_TTL,
            Word::Trouble => TROUBLE_TTL,
            Word::NotAsked => Duration::ZERO,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DID: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";

    #[test]
    fn one_host_has_one_name_however_it_is_written() {
        let host = |text: &str| PdsHost::of(&Url::parse(text).unwrap()).unwrap().to_string();
        let cases = [
            ("https://pds.example.com", "pds.example.com"),
            ("https://PDS.Example.com:443/", "pds.example.com"),
            ("https://pds.example.com./", "pds.example.com"),
            ("https://pds.example.com:8443", "pds.example.com:8443"),
            ("https://b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("http://localhost:2583", "localhost:2583"),
            ("http://[::1]:80", "[::1]"),
        ];
        for (text, name) in cases {
            assert_eq!(host(text), name, "{text}");
        }
    }

    #[test]
    fn a_host_confirms_only_by_naming_the_account_as_active() {
        let did = Did::parse(DID).unwrap();
        let cases = [
            (200, format!(r#"{{"did":"{DID}","active":true,"rev":"3lw"}}"#), Word::Confirmed),
            (200, format!(r#"{{"did":"{DID}","active":false,"status":"deactivated"}}"#), Word::Denied),
            (200, format!(r#"{{"did":"{DID}"}}"#), Word::Denied),
            (200, format!(r#"{{"did":"{DID}","active":"true"}}"#), Word::Denied),
            (200, r#"{"active":true}"#.into(), Word::Denied),
            (200, r#"{"did":"did:web:other.com","active":true}"#.into(), Word::Denied),
            (200, "<html>".into(), Word::Denied),
            (302, String::new(), Word::Denied),
            (400, r#"{"error":"RepoNotFound"}"#.into(), Word::Denied),
            (404, String::new(), Word::Denied),
            (500, String::new(), Word::Trouble),
            (503, String::new(), Word::Trouble),
        ];
        for (status, body, word) in cases {
            assert_eq!(Word::of(&did, status, body.as_bytes()), word, "{status} {body}");
        }
    }

    #[test]
    fn a_yes_is_kept_an_hour_a_no_less_and_what_was_not_asked_not_at_all() {
        let claim = (Did::parse(DID).unwrap(), Url::parse("https://pds.example.com").unwrap());
        let kept = |word| Ages.expire_after_create(&claim, &word, Instant::now()).unwrap().as_secs();
        let words = [Word::Confirmed, Word::Denied, Word::Trouble, Word::NotAsked];
        assert_eq!(words.map(kept), [3600, 60, 10, 0]);
    }
}
