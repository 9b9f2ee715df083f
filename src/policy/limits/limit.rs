//! A limit as operators write it: `100/s burst 500 at-once 64`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::gcra::Bucket;

/// The highest number in a limit.
const MOST: u32 = 1_000_000;

/// How often, how many in a row, and how many at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub(super) bucket: Bucket,
    pub(super) at_once: u32,
}

/// A limit for each of those that have one.
///
/// The defaults are far above what people and their clients do, and below what a flood needs: a thousand
/// calls a second are what one small machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Of each caller, by DID.
    pub caller: Limit,
    /// Of the callers of each PDS that confirms them, and of all others together.
    pub host: Limit,
    /// Of each address without a token.
    pub address: Limit,
    /// Of the functions of each author.
    pub author: Limit,
    /// Of each function.
    pub function: Limit,
}

/// Those of them that one function has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionRates {
    /// With all others of its author.
    pub author: Limit,
    /// By itself.
    pub function: Limit,
}

impl Rates {
    /// What each function has.
    pub fn of_functions(&self) -> FunctionRates {
        FunctionRates { author: self.author, function: self.function }
    }
}

impl Default for Rates {
    fn default() -> Rates {
        Rates {
            caller: Limit::of(100, 500, 64),
            host: Limit::of(1_000, 5_000, 512),
            address: Limit::of(20, 100, 16),
            author: Limit::of(1_000, 5_000, 512),
            function: Limit::of(1_000, 5_000, 512),
        }
    }
}

impl Limit {
    /// No limit.
    pub const NONE: Limit = Limit { bucket: Bucket { interval: 0, burst: u32::MAX }, at_once: u32::MAX };

    /// Whether it allows no more than `other` in any respect.
    pub fn is_within(self, other: Limit) -> bool {
        self.lowered_to(other) == self
    }

    /// The lower of the two, in each respect.
    pub fn lowered_to(self, other: Limit) -> Limit {
        Limit {
            bucket: Bucket {
                interval: self.bucket.interval.max(other.bucket.interval),
                burst: self.bucket.burst.min(other.bucket.burst),
            },
            at_once: self.at_once.min(other.at_once),
        }
    }

    /// So many a second, so many in a row, so many at once.
    const fn of(per_second: u64, burst: u32, at_once: u32) -> Limit {
        Limit { bucket: Bucket { interval: Unit::Second.nanos() / per_second, burst }, at_once }
    }
}

#[derive(Clone, Copy)]
enum Unit {
    Second,
    Minute,
    Hour,
}

impl Unit {
    const ALL: [(&str, Unit); 3] = [("s", Unit::Second), ("m", Unit::Minute), ("h", Unit::Hour)];

    const fn nanos(self) -> u64 {
        let seconds = match self {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3_600,
        };
        seconds * 1_000_000_000
    }
}

/// What is no limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a limit; expected \"RATE/s burst N at-once N\" (or /m, /h), such as \"100/s burst 500 at-once 64\", with numbers from 1 to {MOST}, or \"none\""
)]
pub struct InvalidLimit(String);

impl FromStr for Limit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Limit, InvalidLimit> {
        if text.trim() == "none" {
            return Ok(Limit::NONE);
        }
        parse(text).ok_or_else(|| InvalidLimit(text.chars().take(100).collect()))
    }
}

fn parse(text: &str) -> Option<Limit> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [rate, "burst", burst, "at-once", at_once] = words[..] else { return None };
    let (times, unit) = rate.split_once('/')?;
    let (_, unit) = Unit::ALL.into_iter().find(|(name, _)| *name == unit)?;
    let interval = unit.nanos() / u64::from(number(times)?);
    Some(Limit { bucket: Bucket { interval, burst: number(burst)? }, at_once: number(at_once)? })
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| (1..=MOST).contains(number))
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Limit::NONE {
            return f.write_str("none");
        }
        let Limit { bucket: Bucket { interval, burst }, at_once } = *self;
        // In the unit in which it is a whole number.
        let written = |unit: Unit| unit.nanos() / interval;
        let (name, unit) = Unit::ALL
            .into_iter()
            .find(|(_, unit)| written(*unit) >= 1 && unit.nanos() / written(*unit) == interval)
            .unwrap_or(Unit::ALL[0]);
        write!(f, "{}/{name} burst {burst} at-once {at_once}", written(unit))
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Limit, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_reads_as_it_is_written() {
        for text in [
            "100/s burst 500 at-once 64",
            "1/s burst 1 at-once 1",
            "7/m burst 3 at-once 2",
            "1/h burst 1000000 at-once 1000000",
            "1000000/s burst 1 at-once 1",
            "none",
        ] {
            assert_eq!(text.parse::<Limit>().unwrap().to_string(), text);
        }
        assert_eq!(Rates::default().caller.to_string(), "100/s burst 500 at-once 64");
        assert_eq!(" 5/s  burst 6 at-once 7 ".parse::<Limit>().unwrap(), Limit::of(5, 6, 7));
    }

    #[test]
    fn what_is_no_limit_is_refused_with_an_example() {
        for text in [
            "",
            "100",
            "100/s",
            "100/s burst 500",
            "0/s burst 1 at-once 1",
            "1/s burst 0 at-once 1",
            "1/s burst 1 at-once 0",
            "1/s burst 1 at-once 1000001",
            "-1/s burst 1 at-once 1",
            "1/d burst 1 at-once 1",
            "1/s at-once 1 burst 1",
            "1/s burst 1 at-once 1 and more",
        ] {
            let error = text.parse::<Limit>().unwrap_err().to_string();
            assert!(error.contains("100/s burst 500 at-once 64"), "{error}");
        }
    }

    #[test]
    fn a_table_of_limits_takes_defaults_for_what_it_leaves_out_and_nothing_unknown() {
        let rates: Rates = toml::from_str("caller = \"5/s burst 6 at-once 7\"\nhost = \"none\"").unwrap();
        let expected = Rates { caller: Limit::of(5, 6, 7), host: Limit::NONE, ..Rates::default() };
        assert_eq!(rates, expected);
        assert!(toml::from_str::<Rates>("callers = \"none\"").unwrap_err().to_string().contains("callers"));
        assert!(toml::from_str::<Rates>("caller = 5").is_err());
    }
}
