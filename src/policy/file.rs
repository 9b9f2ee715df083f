//! The policy file: TOML, read whole or refused whole.
//!
//! In: the file's bytes, and the settings that it may narrow. Out: a [`Policy`], or the first thing that is wrong
//! with it, by line and column. Never: take a part of it, pass over a key that it does not know, or widen what the
//! settings give to runs.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::Policy;
use super::accounts::AccountList;
use super::callers::Callers;
use super::ceilings::Ceiling;
use super::functions::{self, FunctionList, Functions};
use super::limits::{Limit, Rates};
use crate::config::{Anonymous, Config, UndeclaredReads};
use crate::identity::Did;

const KIB: usize = 1024;

/// What the settings say: the rules where the file says nothing, and the ceiling under which it stays.
#[derive(Clone, Debug)]
pub struct Basis {
    /// The rule for calls without a token.
    pub anonymous: Anonymous,
    /// The rule for functions that declare no reads.
    pub undeclared_reads: UndeclaredReads,
    /// What every run gets at most.
    pub ceiling: Ceiling,
    /// How often each may call and be called.
    pub rates: Rates,
}

impl Basis {
    /// What these settings say.
    pub fn of(config: &Config) -> Basis {
        let ceiling = Ceiling {
            memory_mb: config.max_memory_mb,
            duration: config.max_duration,
            output_bytes: config.max_payload_bytes,
        };
        Basis {
            anonymous: config.anonymous,
            undeclared_reads: config.undeclared_reads,
            ceiling,
            rates: config.rates,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    anonymous: Option<Spanned<Anonymous>>,
    undeclared_reads: Option<UndeclaredReads>,
    callers: RawLists,
    authors: RawLists,
    functions: RawLists,
    limits: Vec<Spanned<RawLimits>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLists {
    block: Vec<Spanned<String>>,
    allow: Option<Vec<Spanned<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLimits {
    author: Option<Spanned<String>>,
    function: Option<Spanned<String>>,
    max_memory_mb: Option<Spanned<u64>>,
    max_duration_ms: Option<Spanned<u64>>,
    max_output_kb: Option<Spanned<u64>>,
    calls: Option<Spanned<String>>,
}

impl Policy {
    /// Reads a policy file.
    pub fn from_file(bytes: &[u8], basis: &Basis) -> Result<Policy, InvalidPolicy> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let whole = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            InvalidPolicy::at(&whole, whole.len(), None, "the file is not UTF-8")
        })?;
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            InvalidPolicy::at(text, start, None, error.message().replace('\n', " "))
        })?;
        check(raw, basis)
            .map_err(|Wrong { at, rule, why }| InvalidPolicy::at(text, at.start, Some(rule), why))
    }
}

/// Something wrong, where, and in which rule.
struct Wrong {
    at: Range<usize>,
    rule: String,
    why: String,
}

fn check(raw: Raw, basis: &Basis) -> Result<Policy, Wrong> {
    if let (Some(anonymous), Some(_)) = (&raw.anonymous, &raw.callers.allow)
        && *anonymous.get_ref() == Anonymous::Public
    {
        return Err(Wrong {
            at: anonymous.span(),
            rule: "anonymous".into(),
            why:
                "\"public\" contradicts callers.allow: whoever is not on that list would call without a token"
                    .into(),
        });
    }
    let mut policy = Policy::of_settings(basis);
    policy.anonymous = raw.anonymous.map_or(basis.anonymous, Spanned::into_inner);
    policy.undeclared_reads = raw.undeclared_reads.unwrap_or(basis.undeclared_reads);
    policy.callers = Callers {
        block: list("callers.block", &raw.callers.block, AccountList::add)?,
        allow: optional("callers.allow", raw.callers.allow, AccountList::add)?,
    };
    policy.functions = Functions {
        block_authors: list("authors.block", &raw.authors.block, AccountList::add)?,
        allow_authors: optional("authors.allow", raw.authors.allow, AccountList::add)?,
        block: list("functions.block", &raw.functions.block, FunctionList::add)?,
        allow: optional("functions.allow", raw.functions.allow, FunctionList::add)?,
    };
    for (index, limits) in raw.limits.into_iter().enumerate() {
        lower(&mut policy, index, limits, basis)?;
    }
    Ok(policy)
}

fn optional<L: Default>(
    name: &str,
    entries: Option<Vec<Spanned<String>>>,
    add: impl Fn(&mut L, usize, &str) -> Result<(), String>,
) -> Result<Option<L>, Wrong> {
    entries.map(|entries| list(name, &entries, add)).transpose()
}

fn list<L: Default>(
    name: &str,
    entries: &[Spanned<String>],
    add: impl Fn(&mut L, usize, &str) -> Result<(), String>,
) -> Result<L, Wrong> {
    let mut made = L::default();
    for (index, entry) in entries.iter().enumerate() {
        add(&mut made, index, entry.get_ref()).map_err(|why| {
            let why = format!("{:?}: {why}", entry.get_ref());
            Wrong { at: entry.span(), rule: format!("{name}[{index}]"), why }
        })?;
    }
    Ok(made)
}

fn lower(policy: &mut Policy, index: usize, limits: Spanned<RawLimits>, basis: &Basis) -> Result<(), Wrong> {
    let all = basis.ceiling;
    let span = limits.span();
    let RawLimits { author, function, max_memory_mb, max_duration_ms, max_output_kb, calls } =
        limits.into_inner();
    let rule = |key: &str| match key {
        "" => format!("limits[{index}]"),
        key => format!("limits[{index}].{key}"),
    };
    if max_memory_mb.is_none() && max_duration_ms.is_none() && max_output_kb.is_none() && calls.is_none() {
        let why = "nothing is limited: give max_memory_mb, max_duration_ms, max_output_kb or calls".into();
        return Err(Wrong { at: span, rule: rule(""), why });
    }
    let given = |key: &str, value: Option<Spanned<u64>>, most: u64, setting: &str| match value {
        None => Ok(most),
        Some(value) => {
            let range = 1..=most;
            within(&value, range, setting).map_err(|why| Wrong { at: value.span(), rule: rule(key), why })
        }
    };
    let memory = given("max_memory_mb", max_memory_mb, all.memory_mb.into(), "--max-memory-mb")?;
    let most_ms = all.duration.as_millis() as u64;
    let millis = given("max_duration_ms", max_duration_ms, most_ms, "--max-duration-ms")?;
    let most_kib = (all.output_bytes / KIB) as u64;
    let kib = given("max_output_kb", max_output_kb, most_kib, "--max-payload-mb")?;
    let ceiling = Ceiling {
        // No more than `all` has.
        memory_mb: u16::try_from(memory).unwrap_or(all.memory_mb),
        duration: Duration::from_millis(millis),
        output_bytes: kib as usize * KIB,
    };
    let named = |key: &'static str, text: &Spanned<String>, why: String| Wrong {
        at: text.span(),
        rule: rule(key),
        why: format!("{:?}: {why}", text.get_ref()),
    };
    match (author, function) {
        (Some(text), None) => {
            let author =
                Did::parse(text.get_ref()).map_err(|error| named("author", &text, error.to_string()))?;
            if let Some(calls) = &calls {
                let lower = lower_rate(calls, basis.rates.author, "--author-limit");
                let lower = lower.map_err(|why| named("calls", calls, why))?;
                policy.call_rates.lower_author(author.clone(), lower);
            }
            policy.ceilings.lower_author(author, ceiling);
        }
        (None, Some(text)) => {
            let name = functions::parse(text.get_ref()).map_err(|why| named("function", &text, why))?;
            if let Some(calls) = &calls {
                let lower = lower_rate(calls, basis.rates.function, "--function-limit");
                let lower = lower.map_err(|why| named("calls", calls, why))?;
                policy.call_rates.lower_function(name.clone(), lower);
            }
            policy.ceilings.lower_function(name, ceiling);
        }
        _ => {
            let why = "whose runs? Give either author (a DID) or function (an at-uri)".into();
            return Err(Wrong { at: span, rule: rule(""), why });
        }
    }
    Ok(())
}

/// A limit of calls that is not above the one that `setting` gives to all.
fn lower_rate(text: &Spanned<String>, all: Limit, setting: &str) -> Result<Limit, String> {
    let limit: Limit = text.get_ref().parse().map_err(|_| {
        "expected \"RATE/s burst N at-once N\" (or /m, /h), as in \"5/s burst 10 at-once 2\"".to_owned()
    })?;
    if limit.is_within(all) {
        return Ok(limit);
    }
    Err(format!(
        "no number may be above those of {setting} ({all}): a policy only lowers what it gives to all"
    ))
}

fn within(value: &Spanned<u64>, range: RangeInclusive<u64>, setting: &str) -> Result<u64, String> {
    let value = *value.get_ref();
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = range.into_inner();
    Err(format!("{value} is not {least} to {most}: a policy only lowers what {setting} gives to all"))
}

/// What is wrong with a policy file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPolicy {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// The rule, as in `callers.block[2]`; absent where the file is no TOML of the right shape, and the line is
    /// quoted instead.
    pub rule: Option<String>,
    /// What is wrong.
    pub why: String,
}

impl InvalidPolicy {
    fn at(text: &str, offset: usize, rule: Option<String>, why: impl Into<String>) -> InvalidPolicy {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let quoted = || {
            let line = text[line_start..].lines().next().unwrap_or_default().trim();
            (!line.is_empty()).then(|| line.chars().take(60).collect::<String>())
        };
        let why = why.into();
        let why = match &rule {
            Some(_) => why,
            None => quoted().map_or(why.clone(), |line| format!("{why}, in: {line}")),
        };
        InvalidPolicy {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            rule,
            why,
        }
    }
}

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if let Some(rule) = &self.rule {
            write!(f, "{rule}: ")?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for InvalidPolicy {}
