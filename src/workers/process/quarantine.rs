//! Functions that were there when a worker died.
//!
//! A death says nothing about which of the runs in a worker was at fault, so nobody can get another's
//! function refused by dying beside it. Whatever was in flight is suspect: its next call is its trial,
//! alone in a fresh worker, and its other calls wait for the end of that. If it ends with an answer,
//! the suspicion is gone; if the worker dies again, that counts. Three such deaths, and the function is
//! refused for a while; three such functions of one author, and all of the author's are.
//!
//! The trial is the next call and not the one that was lost once more, because that one may have had
//! effects, its caller was told already that it is lost, and nobody waits for what it would answer. One
//! trial at a time is enough to know, and so a function that kills workers kills three, however many
//! call it; who waits for it waits as long as one run may last, and no longer than its own deadline.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::sandbox::Lost;

/// Deaths alone, or functions, until there is a refusal.
const STRIKES: usize = 3;
/// How long a refusal lasts, and how long a strike counts.
const TERM: Duration = Duration::from_secs(600);
/// Functions that are remembered. Each is there because a worker died, which takes some time.
const MAX_SUSPECTS: usize = 10_000;

/// What a function is known by: the hash of its code.
pub(super) type Function = [u8; 32];

/// Lets runs through, or has them wait for a trial.
#[derive(Debug, Default)]
pub(super) struct Ward {
    quarantine: Mutex<Quarantine>,
    /// A trial is over.
    over: Notify,
}

impl Ward {
    /// Waits until a function may run: with others, or on trial, alone.
    pub(super) async fn admit(
        ward: &Arc<Ward>,
        function: &Function,
        author: &str,
    ) -> Result<Option<Trial>, Lost> {
        loop {
            let over = ward.over.notified();
            tokio::pin!(over);
            // From here on, no end of a trial is missed.
            over.as_mut().enable();
            let verdict = ward.quarantine().verdict(function, author, Instant::now());
            match verdict {
                Verdict::Free => return Ok(None),
                Verdict::Trial => return Ok(Some(Trial { ward: Arc::clone(ward), function: *function })),
                Verdict::Wait => over.await,
                Verdict::Refused => return Err(Lost::Quarantined),
            }
        }
    }

    /// Whether a function may not run with others, now or until it is known whether it may.
    pub(super) fn is_suspect(&self, function: &Function, author: &str) -> bool {
        self.quarantine().is_suspect(function, author, Instant::now())
    }

    /// A worker died that had these runs, functions and authors, or this one alone.
    pub(super) fn died(&self, runs: Vec<(Function, Arc<str>)>, alone: bool) {
        let mut quarantine = self.quarantine();
        for (function, author) in runs {
            quarantine.died(function, &author, alone, Instant::now());
        }
    }

    fn quarantine(&self) -> MutexGuard<'_, Quarantine> {
        // What it guards is sound after every statement.
        self.quarantine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run of a suspect. Over when it is dropped.
#[derive(Debug)]
pub(super) struct Trial {
    ward: Arc<Ward>,
    function: Function,
}

impl Trial {
    /// It ended with an answer.
    pub(super) fn passed(self) {
        self.ward.quarantine().passed(&self.function);
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.ward.quarantine().is_over(&self.function);
        self.ward.over.notify_waiters();
    }
}

/// Functions under suspicion.
#[derive(Debug, Default)]
struct Quarantine {
    suspects: HashMap<Function, Suspect>,
    /// Functions of an author that were refused, and when.
    authors: HashMap<Arc<str>, Vec<(Function, Instant)>>,
}

#[derive(Debug)]
struct Suspect {
    since: Instant,
    deaths: usize,
    on_trial: bool,
}

/// How a function may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// With others.
    Free,
    /// In a worker of its own.
    Trial,
    /// When it is known how its trial ended.
    Wait,
    /// Not for the time being.
    Refused,
}

impl Quarantine {
    fn verdict(&mut self, function: &Function, author: &str, now: Instant) -> Verdict {
        self.forget(now);
        if self.authors.get(author).is_some_and(|functions| functions.len() >= STRIKES) {
            return Verdict::Refused;
        }
        match self.suspects.get_mut(function) {
            None => Verdict::Free,
            Some(suspect) if suspect.deaths >= STRIKES => Verdict::Refused,
            Some(suspect) if suspect.on_trial => Verdict::Wait,
            Some(suspect) => {
                suspect.on_trial = true;
                Verdict::Trial
            }
        }
    }

    fn is_suspect(&mut self, function: &Function, author: &str, now: Instant) -> bool {
        self.forget(now);
        self.suspects.contains_key(function)
            || self.authors.get(author).is_some_and(|functions| functions.len() >= STRIKES)
    }

    /// A worker died that had a run of this function, alone or with others.
    fn died(&mut self, function: Function, author: &Arc<str>, alone: bool, now: Instant) {
        self.forget(now);
        if self.suspects.len() >= MAX_SUSPECTS && !self.suspects.contains_key(&function) {
            return;
        }
        let unknown = Suspect { since: now, deaths: 0, on_trial: false };
        let suspect = self.suspects.entry(function).or_insert(unknown);
        suspect.since = now;
        suspect.deaths += usize::from(alone);
        if suspect.deaths == STRIKES {
            let functions = self.authors.entry(Arc::clone(author)).or_default();
            if !functions.iter().any(|(refused, _)| *refused == function) {
                functions.push((function, now));
            }
        }
    }

    fn passed(&mut self, function: &Function) {
        self.suspects.remove(function);
    }

    fn is_over(&mut self, function: &Function) {
        if let Some(suspect) = self.suspects.get_mut(function) {
            suspect.on_trial = false;
        }
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
            assert_eq!(quarantine.verdict(&function(number), AUTHOR, now), Verdict::Trial);
            quarantine.died(function(number), &AUTHOR.into(), true, now);
            quarantine.is_over(&function(number));
        }
    }

    #[test]
    fn deaths_beside_others_never_count() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        for _ in 0..10 {
            dies(&mut quarantine, 1, 0, now);
        }
        assert!(quarantine.is_suspect(&function(1), AUTHOR, now));
        assert_eq!(quarantine.verdict(&function(1), AUTHOR, now), Verdict::Trial);
        assert_eq!(quarantine.verdict(&function(2), AUTHOR, now), Verdict::Free);
        quarantine.passed(&function(1));
        assert!(!quarantine.is_suspect(&function(1), AUTHOR, now));
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
        assert!(quarantine.is_suspect(&function(9), AUTHOR, now));
        assert!(!quarantine.is_suspect(&function(9), "did:web:b.example", now));
        assert_eq!(quarantine.verdict(&function(9), "did:web:b.example", now), Verdict::Free);
        assert_eq!(quarantine.verdict(&function(9), AUTHOR, now + TERM), Verdict::Free);
    }

    #[test]
    fn a_death_after_a_trial_that_was_passed_starts_to_count_anew() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        dies(&mut quarantine, 1, 2, now);
        quarantine.passed(&function(1));
        dies(&mut quarantine, 1, 2, now);
        assert_eq!(quarantine.verdict(&function(1), AUTHOR, now), Verdict::Trial);
    }

    #[tokio::test]
    async fn calls_of_a_suspect_wait_for_its_trial_and_for_nobody_elses() {
        let ward = Arc::new(Ward::default());
        let admit = |number| {
            let ward = Arc::clone(&ward);
            async move { Ward::admit(&ward, &function(number), AUTHOR).await }
        };
        ward.died(vec![(function(1), AUTHOR.into()), (function(2), AUTHOR.into())], false);
        let trial = admit(1).await.unwrap().unwrap();
        let waits = tokio::spawn(admit(1));
        let _others = admit(2).await.unwrap().unwrap();
        assert!(admit(3).await.unwrap().is_none());
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        // Without an answer, the next one is on trial.
        drop(trial);
        let trial = waits.await.unwrap().unwrap().unwrap();
        let waits = [1, 1].map(|number| tokio::spawn(admit(number)));
        tokio::task::yield_now().await;
        assert!(waits.iter().all(|waits| !waits.is_finished()));
        // With one, all are free.
        trial.passed();
        for waits in waits {
            assert!(waits.await.unwrap().unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn calls_that_wait_for_the_third_death_are_refused() {
        let ward = Arc::new(Ward::default());
        ward.died(vec![(function(1), AUTHOR.into())], false);
        for death in 1..=3 {
            let trial = Ward::admit(&ward, &function(1), AUTHOR).await.unwrap().unwrap();
            let waits = tokio::spawn({
                let ward = Arc::clone(&ward);
                async move { Ward::admit(&ward, &function(1), AUTHOR).await.map(|trial| trial.is_some()) }
            });
            tokio::task::yield_now().await;
            ward.died(vec![(function(1), AUTHOR.into())], true);
            drop(trial);
            let expected = if death < 3 { Ok(true) } else { Err(Lost::Quarantined) };
            assert_eq!(waits.await.unwrap(), expected, "{death}");
        }
    }
}
