//! The fuzz targets without a fuzzer: each is given its seeds, what a fuzzer once found, and changes of
//! both, the same in each run.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data_encoding::BASE64;

#[allow(dead_code, reason = "the fuzzer's own crate uses all of it")]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

/// A slow machine tries fewer.
const MOST_TIME: Duration = Duration::from_secs(4);

fn in_fuzz(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(path)
}

/// The seeds of a target, in the order of their names, and what a fuzzer found to go other ways.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(in_fuzz("seeds").join(target)).unwrap();
    let paths: BTreeSet<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let seeds = paths.iter().map(|path| std::fs::read(path).unwrap());
    let found = std::fs::read_to_string(in_fuzz("found").join(target)).unwrap();
    let found = found.lines().map(|line| BASE64.decode(line.as_bytes()).unwrap());
    seeds.chain(found).collect()
}

/// Numbers that look random and are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound.max(1)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Changes a few bytes, or leaves out, doubles, or takes from another seed a stretch of them.
    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(16)).min(bytes.len());
            match self.below(7) {
                0 | 1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => {
                    bytes[at] = *self.one_of(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'/', b'.'])
                }
                3 => bytes.insert(at, self.below(256) as u8),
                4 => drop(bytes.drain(at..end)),
                5 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => {
                    let other = self.one_of(seeds);
                    let from = self.below(other.len() + 1);
                    let until = (from + self.below(64)).min(other.len());
                    bytes.splice(at..end, other[from..until].iter().copied());
                }
            }
        }
    }
}

/// Gives a target its seeds, and that many changes of them.
fn fuzz(name: &str, changes: usize) {
    let (_, target) = fuzz::TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    let holds = |input: &[u8]| {
        let held = catch_unwind(AssertUnwindSafe(|| target(input)));
        assert!(held.is_ok(), "{name} does not hold for {input:?}");
    };
    let seeds = seeds(name);
    assert!(seeds.len() > 2, "{name} has only {} seeds", seeds.len());
    seeds.iter().for_each(|seed| holds(seed));
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let began = Instant::now();
    for _ in 0..changes {
        if began.elapsed() > MOST_TIME {
            break;
        }
        let mut input = numbers.one_of(&seeds).clone();
        numbers.change(&mut input, &seeds);
        holds(&input);
    }
}

macro_rules! targets {
    ($($name:ident $changes:literal)*) => {
        $(
            #[test]
            fn $name() {
                fuzz(stringify!($name), $changes);
            }
        )*

        #[test]
        fn every_target_is_tried_here_and_known_to_the_fuzzer() {
            let tried = BTreeSet::from([$(stringify!($name)),*]);
            assert_eq!(tried, fuzz::TARGETS.map(|(name, _)| name).into());
            let manifest = std::fs::read_to_string(in_fuzz("Cargo.toml")).unwrap();
            for name in tried {
                let source = std::fs::read_to_string(in_fuzz(&format!("fuzz_targets/{name}.rs"))).unwrap();
                assert!(source.contains(&format!("at_functions_fuzz::{name}(bytes)")), "{name}");
                assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
            }
        }
    };
}

targets! {
    allowed_hosts 10_000
    any_module 30_000
    at_uri 30_000
    car_bytes 10_000
    car_edits 10_000
    generated 250
    jwt 5_000
    metadata 20_000
    module 3_000
    packed_pointer 10_000
    schema 5_000
}
