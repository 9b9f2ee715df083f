//! Functions that were there when a worker died.
//!
//! A death says nothing about which of the runs in a worker was at fault, so nobody can get another's
//! function refused by dying beside it. Whatever was in flight is suspect, and its next run is made
//! alone, in a fresh worker. If that ends with an answer, the suspicion is gone; if the worker dies
//! again, that counts. Three such deaths, and the function is refused for a while; three such
//! functions of one author, and all of the author's are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Deaths alone, or functions, until there is a refusal.
const STRIKES: usize = 3;
/// How long a refusal lasts, and how long a strike counts.
const TERM: Duration = Duration::from_secs(600);
/// Functions that are remembered. Each is there because a worker died, which takes some time.
const MAX_SUSPECTS: usize = 10_000;

/// What a function is known by: the hash of its code.
pub(super) type Function = [u8; 32];

/// Functions under suspicion.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    suspects: HashMap<Function, Suspect>,
    /// Functions of an author that were refused, and when.
    authors: HashMap<Arc<str>, Vec<(Function, Instant)>>,
}

#[derive(Debug)]
struct Suspect {
    since: Instant,
    deaths: usize,
}

/// How a function may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// With others.
    Free,
    /// In a worker of its own.
    Alone,
    /// Not for the time being.
    Refused,
}

impl Quarantine {
    pub(super) fn verdict(&mut self, function: &Function, author: &str, now: Instant) -> Verdict {
        self.forget(now);
        if self.authors.get(author).is_some_and(|functions| functions.len() >= STRIKES) {
            return Verdict::Refused;
        }
        match self.suspects.get(function) {
            None => Verdict::Free,
            Some(suspect) if suspect.deaths >= STRIKES => Verdict::Refused,
            Some(_) => Verdict::Alone,
        }
    }

    /// A worker died that had a run of this function, alone or with others.
    pub(super) fn died(&mut self, function: Function, author: &Arc<str>, alone: bool, now: Instant) {
        self.forget(now);
        if self.suspects.len() >= MAX_SUSPECTS && !self.suspects.contains_key(&function) {
            return;
        }
        let suspect = self.suspects.entry(function).or_insert(Suspect { since: now, deaths: 0 });
        suspect.since = now;
        suspect.deaths += usize::from(alone);
        if suspect.deaths == STRIKES {
            let functions = self.authors.entry(Arc::clone(author)).or_default();
            if !functions.iter().any(|(refused, _)| *refused == function) {
                functions.push((function, now));
            }
        }
    }

    /// A run of this function that was alone ended with an answer.
    pub(super) fn survived(&mut self, function: &Function) {
        self.suspects.remove(function);
    }

    fn forget(&mut self, now: Instant) {
        if self.suspects.is_empty() && self.authors.is_empty() {
            return;
        }
        self.suspects.retain(|_, suspect| now.duration_since(suspect.since) < TERM);
        self.authors.retain(|_, functions| {
            functions.retain(|(_, since)| now.duration_since(*since) < TERM);
            !functions.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHOR: &str = "did:web:a.example";

    fn function(number: u8) -> Function {
        [number; 32]
    }

    /// Dies once beside others and then `alone` times by itself.
    fn dies(quarantine: &mut Quarantine, number: u8, alone: usize, now: Instant) {
        quarantine.died(function(number), &AUTHOR.into(), false, now);
        for _ in 0..alone {
            assert_eq!(quarantine.verdict(&function(number), AUTHOR, now), Verdict::Alone);
            quarantine.died(function(number), &AUTHOR.into(), true, now);
        }
    }

    #[test]
    fn deaths_beside_others_never_count() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        for _ in 0..10 {
            dies(&mut quarantine, 1, 0, now);
        }
        assert_eq!(quarantine.verdict(&function(1), AUTHOR, now), Verdict::Alone);
        assert_eq!(quarantine.verdict(&function(2), AUTHOR, now), Verdict::Free);
        quarantine.survived(&function(1));
        assert_eq!(quarantine.verdict(&function(1), AUTHOR, now), Verdict::Free);
    }

    #[test]
    fn three_deaths_alone_refuse_a_function_for_its_term() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        dies(&mut quarantine, 1, 3, now);
        assert_eq!(quarantine.verdict(&function(1), AUTHOR, now), Verdict::Refused);
        assert_eq!(quarantine.verdict(&function(2), AUTHOR, now), Verdict::Free);
        assert_eq!(quarantine.verdict(&function(1), AUTHOR, now + TERM), Verdict::Free);
    }

    #[test]
    fn three_refused_functions_refuse_their_author_and_nobody_else() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        for number in 1..=3 {
            dies(&mut quarantine, number, 3, now);
        }
        assert_eq!(quarantine.verdict(&function(9), AUTHOR, now), Verdict::Refused);
        assert_eq!(quarantine.verdict(&function(9), "did:web:b.example", now), Verdict::Free);
        assert_eq!(quarantine.verdict(&function(9), AUTHOR, now + TERM), Verdict::Free);
    }

    #[test]
    fn a_death_after_a_survival_starts_to_count_anew() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        dies(&mut quarantine, 1, 2, now);
        quarantine.survived(&function(1));
        dies(&mut quarantine, 1, 2, now);
        assert_eq!(quarantine.verdict(&function(1), AUTHOR, now), Verdict::Alone);
    }
}
