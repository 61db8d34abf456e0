//! The rules for Prometheus: checked by its own tool, and every alert is tested and explained.

use std::process::Command;

use crate::{files, metrics_in, passes, path, promised, read};

/// The names of the alerts, in the order of the file.
pub(crate) fn alerts() -> Vec<String> {
    let text = read("deploy/prometheus/alerts.yml");
    let names: Vec<_> =
        text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect();
    assert!(names.len() > 10, "{names:?}");
    names
}

#[test]
fn promtool_accepts_configuration_and_rules() {
    passes(Command::new("promtool").args(["check", "config"]).arg(path("deploy/prometheus/prometheus.yml")));
}

#[test]
fn alerts_are_raised_exactly_when_they_must_be() {
    passes(Command::new("promtool").args(["test", "rules"]).arg(path("tests/deploy/alerts.yml")));
}

#[test]
fn every_alert_is_tested_and_explained() {
    let (tests, help) = (read("tests/deploy/alerts.yml"), read("docs/troubleshooting.md"));
    for alert in alerts() {
        assert!(tests.contains(&alert), "no test of {alert}");
        assert!(help.contains(&format!("| `{alert}` |")), "docs/troubleshooting.md does not say what to do at {alert}");
    }
}

#[test]
fn only_documented_metrics_are_used() {
    let promised = promised();
    let docs = files("docs", ".md");
    let rules = files("deploy/prometheus", ".yml");
    let dashboards = files("deploy/grafana", ".json");
    for file in docs.iter().chain(&rules).chain(&dashboards) {
        for name in metrics_in(&read(file)) {
            assert!(promised.iter().any(|known| known == name), "{file} speaks of {name}, which README does not");
        }
    }
}
