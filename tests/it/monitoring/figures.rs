//! `/metrics`: which series there are, from the start and for good, and what they count.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::served::Served;
use crate::world::{ECHO, World};

/// What `/metrics` says: each series with its value, and the type of each metric.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) series: Vec<Series>,
    types: BTreeMap<String, String>,
}

/// One line of `/metrics`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    value: f64,
}

impl Figures {
    /// Those of a service.
    pub(super) async fn of(world: &World, served: &Served) -> Figures {
        let answer = world.client.get(served.admin_url("/metrics")).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4");
        Figures::parse(&answer.text().await.unwrap())
    }

    /// Reads the Prometheus text format, as far as it is used here: no value of a label has a quote or comma.
    pub(super) fn parse(text: &str) -> Figures {
        let mut figures = Figures::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(told) = line.strip_prefix("# TYPE ") {
                let (name, kind) = told.split_once(' ').unwrap();
                figures.types.insert(name.into(), kind.into());
            } else if !line.starts_with('#') {
                figures.series.push(Series::parse(line));
            }
        }
        figures
    }

    /// The value of one series, as it is written.
    pub(super) fn value(&self, series: &str) -> f64 {
        let wanted = Series::parse(&format!("{series} 0"));
        let is_it = |one: &&Series| (&one.name, &one.labels) == (&wanted.name, &wanted.labels);
        self.series.iter().find(is_it).unwrap_or_else(|| panic!("{series} is not there")).value
    }

    fn names(&self) -> BTreeSet<(String, BTreeMap<String, String>)> {
        self.series.iter().map(|one| (one.name.clone(), one.labels.clone())).collect()
    }

    /// Each metric as the manual writes it: name, labels, type.
    fn documented(&self) -> BTreeSet<String> {
        let mut rows = BTreeSet::new();
        for (name, kind) in &self.types {
            let suffix = if kind == "histogram" { "_bucket" } else { "" };
            let all = self.series.iter().filter(|one| one.name == format!("{name}{suffix}"));
            let labels: BTreeSet<&str> = all
                .flat_map(|one| one.labels.keys())
                .map(String::as_str)
                .filter(|label| *label != "le")
                .collect();
            rows.insert(row(name, labels, kind));
        }
        rows
    }
}

impl Series {
    fn parse(line: &str) -> Series {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap().split(',').filter(|label| !label.is_empty());
        let label = |text: &str| {
            let (name, value) = text.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        };
        Series { name: name.to_owned(), labels: labels.map(label).collect(), value: value.parse().unwrap() }
    }
}

fn row(name: &str, labels: BTreeSet<&str>, kind: &str) -> String {
    let labels = labels.into_iter().collect::<Vec<_>>().join(",");
    if labels.is_empty() { format!("{name} {kind}") } else { format!("{name}{{{labels}}} {kind}") }
}

/// The rows of the manual's table: ``| `name{labels}` | type | ...``.
fn manual() -> BTreeSet<String> {
    let manual = include_str!("../../../docs/operating.md");
    let rows = manual.lines().filter_map(|line| {
        let (series, rest) = line.strip_prefix("| `at_functions_")?.split_once("` | ")?;
        let kind = rest.split(' ').next()?;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        Some(row(&format!("at_functions_{name}"), labels.collect(), kind))
    });
    rows.collect()
}

#[tokio::test]
async fn every_documented_series_is_there_from_the_start_at_zero_and_no_other() {
    let (world, served) = Served::start(&[]).await;
    let figures = Figures::of(&world, &served).await;
    let manual = manual();
    assert!(manual.len() > 30, "{manual:?}");
    assert_eq!(figures.documented(), manual);

    // What a service is and has is no zero.
    let told = [
        "at_functions_answers_can_be_kept",
        "at_functions_audit_committed_seq",
        "at_functions_audit_seq",
        "at_functions_audit_writable",
        "at_functions_build_info",
        "at_functions_memory_budget_bytes",
        "at_functions_ready",
        "at_functions_revisions_can_be_kept",
        "at_functions_run_places",
    ];
    for series in figures.series.iter().filter(|series| series.value != 0.0) {
        assert!(told.contains(&series.name.as_str()), "{series:?}");
    }
    assert_eq!(figures.value("at_functions_ready"), 1.0);
    assert_eq!(figures.value("at_functions_memory_budget_bytes"), 512.0 * 1024.0 * 1024.0);
    let version = format!("at_functions_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(figures.value(&version), 1.0);
}

#[tokio::test]
async fn calls_are_counted_in_series_that_were_there_and_nothing_says_who_called_what() {
    let (world, served) = Served::start(&[]).await;
    let before = Figures::of(&world, &served).await;
    let caller = world.caller(1);
    let open = world.publish("open", ECHO).uri.to_string();
    let hidden = world.publish_record("hidden", ECHO, |record| record["public"] = false.into());
    let hidden = hidden.uri.to_string();
    for input in 0..3 {
        assert_eq!(world.run_as(&caller, &open, json!(input)).await.output()["echo"], input);
    }
    assert_eq!(world.run_as(&caller, &hidden, json!(1)).await.error(), (403, "FunctionNotPublic"));
    assert_eq!(world.run(&open.replace("open", "absent"), json!(1)).await.error(), (400, "FunctionNotFound"));
    assert_eq!(world.post("{}", None).await.error(), (400, "InvalidRequest"));
    assert_eq!(world.post("{}", Some("x.y.z")).await.error(), (401, "BadJwt"));
    let looping = wat::parse_str(
        r#"(module (memory (export "memory") 1)
             (func (export "alloc") (param i32) (result i32) i32.const 1024)
             (func (export "run") (param i32 i32) (result i64) (loop (br 0)) i64.const 0))"#,
    );
    let looping = world.publish("looping", looping.unwrap()).uri;
    assert_eq!(world.run(&looping, json!(1)).await.outcome(), "timeout");
    let broken = world.publish("broken", &b"no wasm"[..]).uri;
    assert_eq!(world.run(&broken, json!(1)).await.error(), (400, "InvalidFunction"));
    let describe = async |uri: &str| {
        let url = format!("{}/xrpc/at.functions.describe", world.endpoint);
        let url = url::Url::parse_with_params(&url, [("function", uri)]).unwrap();
        world.client.get(url).send().await.unwrap().status().as_u16()
    };
    assert_eq!((describe(&open).await, describe("nonsense").await), (200, 400));

    let after = Figures::of(&world, &served).await;
    assert_eq!(after.names(), before.names());
    for series in &after.series {
        for value in series.labels.values() {
            assert!(!value.contains("did:") && !value.contains("at://"), "{series:?}");
        }
    }
    for (series, expected) in [
        (r#"at_functions_calls_total{decided="ok"}"#, 3.0),
        (r#"at_functions_calls_total{decided="timeout"}"#, 1.0),
        (r#"at_functions_calls_total{decided="FunctionNotPublic"}"#, 1.0),
        (r#"at_functions_calls_total{decided="FunctionNotFound"}"#, 1.0),
        (r#"at_functions_calls_total{decided="InvalidRequest"}"#, 1.0),
        (r#"at_functions_calls_total{decided="InvalidFunction"}"#, 1.0),
        (r#"at_functions_calls_total{decided="BadJwt"}"#, 1.0),
        ("at_functions_call_seconds_count", 9.0),
        (r#"at_functions_describes_total{decided="ok"}"#, 1.0),
        (r#"at_functions_describes_total{decided="InvalidRequest"}"#, 1.0),
        (r#"at_functions_stage_seconds_count{stage="auth"}"#, 9.0),
        (r#"at_functions_stage_seconds_count{stage="body"}"#, 9.0),
        (r#"at_functions_stage_seconds_count{stage="record"}"#, 7.0),
        (r#"at_functions_stage_seconds_count{stage="policy"}"#, 6.0),
        (r#"at_functions_stage_seconds_count{stage="compile"}"#, 5.0),
        (r#"at_functions_stage_seconds_count{stage="queue"}"#, 4.0),
        (r#"at_functions_stage_seconds_count{stage="run"}"#, 4.0),
        (r#"at_functions_stage_seconds_count{stage="answer"}"#, 4.0),
        (r#"at_functions_artifact_lookups_total{from="cold"}"#, 2.0),
        (r#"at_functions_artifact_lookups_total{from="warm"}"#, 2.0),
        ("at_functions_compiles_total", 3.0),
        (r#"at_functions_compiles_ended_total{ended="compiled"}"#, 2.0),
        (r#"at_functions_compiles_ended_total{ended="refused"}"#, 1.0),
        ("at_functions_compile_seconds_count", 3.0),
        ("at_functions_artifacts", 2.0),
        // `open` twice more, and once for its description.
        (r#"at_functions_lookups_total{what="record",from="memory"}"#, 3.0),
        (r#"at_functions_lookups_total{what="record",from="network"}"#, 5.0),
        (r#"at_functions_lookups_total{what="code",from="network"}"#, 3.0),
        (r#"at_functions_lookups_total{what="grant",from="network"}"#, 1.0),
        // The caller's and the author's.
        (r#"at_functions_lookups_total{what="document",from="network"}"#, 2.0),
        (r#"at_functions_upstream_requests_total{way="identities",ended="ok"}"#, 2.0),
        (r#"at_functions_upstream_seconds_count{way="identities"}"#, 2.0),
        // Five records, of which one is absent by proof, a grant, which is absent too, and three blobs.
        (r#"at_functions_upstream_requests_total{way="repos",ended="ok"}"#, 9.0),
        ("at_functions_tokens_remembered", 4.0),
        ("at_functions_runs", 0.0),
    ] {
        assert_eq!(after.value(series), expected, "{series}");
    }
    assert!(after.value(r#"at_functions_stage_seconds_sum{stage="run"}"#) > 0.05, "the timeout took 100 ms");
}
