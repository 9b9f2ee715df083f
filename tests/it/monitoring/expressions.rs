//! PromQL expressions, held against the series that there are.
//!
//! In: an expression, and the figures of a service. Out: the first thing in it that does not exist. Never: the
//! whole language; what is used in `docs/monitoring`, and a fault for the rest.

use std::collections::{BTreeMap, BTreeSet};

use super::figures::Figures;

/// What an expression may call or say beside names of metrics.
const WORDS: [&str; 12] = [
    "absent",
    "and",
    "by",
    "count",
    "histogram_quantile",
    "increase",
    "min",
    "min_over_time",
    "or",
    "rate",
    "sum",
    "max",
];
/// Labels that Prometheus gives to every series.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];

/// The names of series, with each label's values.
pub(super) struct Known(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Known {
    pub(super) fn of(figures: &Figures) -> Known {
        let mut known = Known(BTreeMap::new());
        for series in &figures.series {
            let labels = known.0.entry(series.name.clone()).or_default();
            for (label, value) in &series.labels {
                labels.entry(label.clone()).or_default().insert(value.clone());
            }
        }
        known
    }

    /// The labels by which the expression groups, or what is wrong with it.
    pub(super) fn check(&self, expression: &str) -> Result<BTreeSet<String>, String> {
        let (mut rest, mut groups, mut labels) = (expression, BTreeSet::new(), BTreeSet::new());
        let mut metrics = 0;
        while let Some(first) = rest.chars().next() {
            if first == '[' {
                rest = after(rest, ']')?;
            } else if first.is_ascii_alphabetic() {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                let word = &rest[..end];
                rest = &rest[end..];
                if word == "by" {
                    let (names, more) = enclosed(rest.trim_start(), '(', ')')?;
                    groups.extend(names.split(',').map(|name| name.trim().to_owned()));
                    rest = more;
                } else if !WORDS.contains(&word) {
                    let of_metric = self.0.get(word).ok_or(format!("there is no metric {word}"))?;
                    metrics += 1;
                    labels.extend(of_metric.keys().cloned());
                    if rest.starts_with('{') {
                        let (matchers, more) = enclosed(rest, '{', '}')?;
                        for matcher in matchers.split(',').filter(|matcher| !matcher.is_empty()) {
                            check_matcher(word, of_metric, matcher)?;
                        }
                        rest = more;
                    }
                }
            } else if first.is_ascii_digit() {
                // A number, whose unit, if any, belongs to it.
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
                rest = &rest[end..];
            } else if " ()+-*/<>=,".contains(first) {
                rest = &rest[1..];
            } else {
                return Err(format!("{first} is not expected at {rest}"));
            }
        }
        if metrics == 0 {
            return Err("it names no metric".into());
        }
        match groups.iter().find(|group| !labels.contains(*group) && !TARGET_LABELS.contains(&group.as_str()))
        {
            Some(group) => Err(format!("no metric of it has the label {group}")),
            None => Ok(groups),
        }
    }
}

fn check_matcher(
    metric: &str,
    labels: &BTreeMap<String, BTreeSet<String>>,
    matcher: &str,
) -> Result<(), String> {
    let end = matcher.find(['=', '!']).ok_or(format!("{matcher} is no matcher"))?;
    let (label, rest) = matcher.split_at(end);
    let quote = rest.find('"').ok_or(format!("{matcher} has no value"))?;
    let (operator, value) = (&rest[..quote], rest[quote..].trim_matches('"'));
    if TARGET_LABELS.contains(&label) {
        return Ok(());
    }
    let values = labels.get(label).ok_or(format!("{metric} has no label {label}"))?;
    let is_known = |text: &str| match text.strip_suffix(".*") {
        Some(start) => values.iter().any(|value| value.starts_with(start)),
        None => values.contains(text),
    };
    let mut wanted = match operator {
        "=" | "!=" => vec![value],
        "=~" | "!~" => value.split('|').collect(),
        _ => return Err(format!("{operator} is no operator of matchers")),
    };
    wanted.retain(|text| !is_known(text));
    if wanted.is_empty() { Ok(()) } else { Err(format!("{label} of {metric} is never {}", wanted[0])) }
}

fn enclosed(text: &str, open: char, close: char) -> Result<(&str, &str), String> {
    let inner = text.strip_prefix(open).ok_or(format!("{open} is expected at {text}"))?;
    inner.split_once(close).ok_or(format!("{close} is missing after {text}"))
}

fn after(text: &str, end: char) -> Result<&str, String> {
    text.split_once(end).map(|(_, rest)| rest).ok_or(format!("{end} is missing after {text}"))
}

#[test]
fn the_check_of_expressions_finds_faults() {
    let known = Known::of(&Figures::parse(
        "# TYPE at_functions_calls_total counter\n\
         at_functions_calls_total{decided=\"ok\"} 0\n\
         at_functions_calls_total{decided=\"trap\"} 0\n\
         at_functions_runs 0\n",
    ));
    let sound = [
        ("sum(at_functions_runs{instance=~\"$instance\"}) > 0.5", vec![]),
        ("sum by (decided) (rate(at_functions_calls_total{decided=~\"ok|tr.*\"}[5m]))", vec!["decided"]),
    ];
    for (expression, groups) in sound {
        let found = known.check(expression).unwrap();
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), groups, "{expression}");
    }
    for (expression, fault) in [
        ("at_functions_calls", "there is no metric at_functions_calls"),
        ("deriv(at_functions_runs[5m])", "there is no metric deriv"),
        ("at_functions_runs{decided=\"ok\"}", "at_functions_runs has no label decided"),
        ("at_functions_calls_total{decided=\"fine\"}", "decided of at_functions_calls_total is never fine"),
        (
            "at_functions_calls_total{decided=~\"ok|fine\"}",
            "decided of at_functions_calls_total is never fine",
        ),
        ("at_functions_calls_total{decided=~\"x.*\"}", "decided of at_functions_calls_total is never x.*"),
        ("sum by (what) (at_functions_calls_total)", "no metric of it has the label what"),
        ("1 + 1", "it names no metric"),
        ("at_functions_runs # 1", "# is not expected at # 1"),
    ] {
        assert_eq!(known.check(expression).unwrap_err(), fault, "{expression}");
    }
}
