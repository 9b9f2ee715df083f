//! A queue that is fair between parties: each has a line of its own, and the lines take turns.
//!
//! Whose turn it is stays first until it was served, however long that takes; so what needs much gets it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What waits, by who waits for it.
pub(super) struct Lines<T> {
    lines: HashMap<Arc<str>, VecDeque<(u64, T)>>,
    /// Those that have a line, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    waiting: usize,
    last: u64,
}

impl<T> Lines<T> {
    pub(super) fn new() -> Lines<T> {
        Lines { lines: HashMap::new(), turns: VecDeque::new(), waiting: 0, last: 0 }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// How many of this party wait.
    pub(super) fn len_of(&self, party: &str) -> usize {
        self.lines.get(party).map_or(0, VecDeque::len)
    }

    /// How many would be served before the next of this party, at most: all of its own, and as many turns
    /// of each other.
    pub(super) fn ahead_of(&self, party: &str) -> usize {
        let own = self.len_of(party);
        self.lines
            .iter()
            .map(|(other, line)| if **other == *party { own } else { line.len().min(own + 1) })
            .sum()
    }

    /// Puts something at the end of its party's line; with the number it is told by [`Lines::remove`].
    pub(super) fn push(&mut self, party: &Arc<str>, value: T) -> u64 {
        self.last += 1;
        self.waiting += 1;
        let line = self.lines.entry(Arc::clone(party)).or_default();
        if line.is_empty() {
            self.turns.push_back(Arc::clone(party));
        }
        line.push_back((self.last, value));
        self.last
    }

    /// What is served next.
    pub(super) fn first(&self) -> Option<&T> {
        let line = self.lines.get(self.turns.front()?)?;
        line.front().map(|(_, value)| value)
    }

    /// Takes what is served next; its party's next turn comes after all others'.
    pub(super) fn pop(&mut self) -> Option<T> {
        let party = self.turns.pop_front()?;
        let line = self.lines.get_mut(&party)?;
        let (_, value) = line.pop_front()?;
        self.waiting -= 1;
        if line.is_empty() {
            self.lines.remove(&party);
        } else {
            self.turns.push_back(party);
        }
        Some(value)
    }

    /// Takes one that does not wait any more, unless it was served.
    pub(super) fn remove(&mut self, party: &Arc<str>, number: u64) -> Option<T> {
        let line = self.lines.get_mut(party)?;
        let at = line.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let (_, value) = line.remove(at)?;
        self.waiting -= 1;
        if line.is_empty() {
            self.lines.remove(party);
            self.turns.retain(|other| other != party);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn party(name: &str) -> Arc<str> {
        name.into()
    }

    fn served(lines: &mut Lines<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| lines.pop()).collect()
    }

    #[test]
    fn lines_take_turns_whatever_their_length() {
        let mut lines = Lines::new();
        for value in ["a1", "a2", "a3", "a4"] {
            lines.push(&party("a"), value);
        }
        lines.push(&party("b"), "b1");
        lines.push(&party("c"), "c1");
        lines.push(&party("b"), "b2");
        assert_eq!((lines.len(), lines.len_of("a"), lines.len_of("d")), (7, 4, 0));
        assert_eq!((lines.ahead_of("d"), lines.ahead_of("c"), lines.ahead_of("a")), (3, 5, 7));
        assert_eq!(served(&mut lines), ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
        assert!(lines.lines.is_empty() && lines.turns.is_empty());
    }

    #[test]
    fn who_leaves_is_missed_by_nobody() {
        let mut lines = Lines::new();
        let a1 = lines.push(&party("a"), "a1");
        let a2 = lines.push(&party("a"), "a2");
        let b1 = lines.push(&party("b"), "b1");
        lines.push(&party("c"), "c1");
        assert_eq!(lines.remove(&party("a"), a1), Some("a1"));
        assert_eq!(lines.remove(&party("a"), a1), None);
        assert_eq!(lines.remove(&party("b"), b1), Some("b1"));
        assert_eq!(lines.remove(&party("b"), a2), None);
        assert_eq!(lines.first(), Some(&"a2"));
        assert_eq!(served(&mut lines), ["a2", "c1"]);
        assert!(lines.lines.is_empty() && lines.turns.is_empty());
    }

    proptest! {
        /// However parties come and go, nobody is served twice while somebody who waited all the time
        /// was not served at all.
        #[test]
        fn between_two_turns_of_one_all_others_have_theirs(
            steps in prop::collection::vec((0_u8..4, 0_u8..5), 1..300),
        ) {
            let mut lines = Lines::new();
            // What waits, by party, as it should.
            let mut model: Vec<VecDeque<u64>> = vec![VecDeque::new(); 5];
            // For each party, who was served since it began to wait or was served last.
            let mut since: Vec<Vec<u8>> = vec![Vec::new(); 5];
            for (step, who) in steps {
                let (name, own) = (party(&who.to_string()), usize::from(who));
                match step {
                    0 | 1 => {
                        if model[own].is_empty() {
                            since[own].clear();
                        }
                        let number = lines.push(&name, (who, lines.last + 1));
                        model[own].push_back(number);
                    }
                    2 => match model[own].pop_back() {
                        Some(number) => prop_assert_eq!(lines.remove(&name, number), Some((who, number))),
                        None => prop_assert_eq!(lines.remove(&name, 1), None),
                    },
                    _ => match lines.pop() {
                        Some((served, number)) => {
                            prop_assert_eq!(model[usize::from(served)].pop_front(), Some(number));
                            for other in 0..5 {
                                prop_assert!(other == usize::from(served)
                                    || model[other].is_empty()
                                    || !since[other].contains(&served));
                                since[other].push(served);
                            }
                            since[usize::from(served)].clear();
                        }
                        None => prop_assert!(model.iter().all(VecDeque::is_empty)),
                    },
                }
                prop_assert_eq!(lines.len(), model.iter().map(VecDeque::len).sum::<usize>());
            }
        }
    }
}
