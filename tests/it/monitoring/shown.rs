//! The dashboard and the alert rules of `docs/monitoring`, against what the service really says.

use std::collections::BTreeSet;

use serde_json::Value;

use super::expressions::Known;
use super::figures::Figures;
use crate::served::Served;

const DASHBOARD: &str = include_str!("../../../docs/monitoring/dashboard.json");
const ALERTS: &str = include_str!("../../../docs/monitoring/alerts.yml");

#[tokio::test]
async fn dashboard_and_alerts_name_only_what_a_service_has_from_its_start() {
    let (world, served) = Served::start(&[]).await;
    let known = Known::of(&Figures::of(&world, &served).await);
    let mut checked = 0;
    for (expression, legend) in targets() {
        let groups = known.check(&expression).unwrap_or_else(|fault| panic!("{fault}: {expression}"));
        for label in placeholders(&legend) {
            assert!(groups.contains(label), "{legend} of {expression}");
        }
        checked += 1;
    }
    assert!(checked > 40, "{checked} expressions of the dashboard");
    let rules: Vec<&str> =
        ALERTS.lines().filter_map(|line| line.trim_start().strip_prefix("expr: ")).collect();
    assert_eq!(rules.len(), ALERTS.matches("- alert: ").count());
    assert!(rules.len() > 10, "{rules:?}");
    for expression in rules {
        known.check(expression).unwrap_or_else(|fault| panic!("{fault}: {expression}"));
    }
}

#[test]
fn panels_have_numbers_of_their_own_and_places_that_do_not_overlap() {
    let panels = panels();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in &panels {
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && taken.insert((x, y)), "{}", panel["title"]);
            }
        }
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_what_to_do() {
    for rule in ALERTS.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        assert!(name.starts_with("AtFunctions"), "{name}");
        let says = |what: &str| rule.lines().filter(|line| line.trim_start().starts_with(what)).count() == 1;
        assert!(says("labels: { severity: page }") || says("labels: { severity: ticket }"), "{name}");
        assert!(says("summary: ") && says("expr: "), "{name}");
    }
}

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

/// Each expression, with what the legend shows of its series.
fn targets() -> Vec<(String, String)> {
    let text = |target: &Value, name: &str| target[name].as_str().unwrap().to_owned();
    let targets =
        panels().into_iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets.map(|target| (text(&target, "expr"), text(&target, "legendFormat"))).collect()
}

fn placeholders(legend: &str) -> impl Iterator<Item = &str> {
    legend.split("{{").skip(1).map(|rest| rest.split_once("}}").unwrap().0)
}
