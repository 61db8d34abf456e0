//! Metrics: what is counted, under which name, and the recorder for Prometheus.
//!
//! Names and labels are a public interface (README.md). A new metric is one entry in [`series`], and one match arm in
//! [`tally`] if it counts an event of the core.

mod labels;
mod series;
mod tally;

use std::time::Duration;

use metrics::{Unit, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use labels::CommitOutcome;

pub(crate) use labels::{
    Direction, DriverLimit, FailedAddress, HandshakeOutcome, HandshakeProtocol, LookupOutcome, Loss, Name,
    PeerHandshakeOutcome, ReloadResult, UnwrittenLine,
};
pub(crate) use series::{Gauge, Series, TrunkGauge};
pub(crate) use tally::Tally;

/// A histogram: its name and help text.
const COMMIT_SECONDS: (&str, &str) =
    ("frontdesk_store_commit_seconds", "Time to write a group of changes durably to disk.");

/// The same for calls.
const CALL_SECONDS: (&str, &str) =
    ("frontdesk_call_duration_seconds", "Durations of answered calls, from the answer to the end.");

/// Upper bounds in seconds, from the fsync of a fast SSD to a failing disk.
const COMMIT_BUCKETS: [f64; 10] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// Upper bounds in seconds, from a wrong number to a conference.
const CALL_BUCKETS: [f64; 9] = [10.0, 30.0, 60.0, 180.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0];

/// Installs the recorder. `None` for a second call in one process.
pub(crate) fn install() -> Option<PrometheusHandle> {
    let histograms = [(COMMIT_SECONDS, &COMMIT_BUCKETS[..]), (CALL_SECONDS, &CALL_BUCKETS[..])];
    let mut builder = PrometheusBuilder::new();
    for ((name, _), buckets) in histograms {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets).ok()?;
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).ok()?;
    Series::describe();
    Gauge::describe();
    TrunkGauge::describe();
    histograms.into_iter().for_each(|((name, help), _)| describe_histogram!(name, Unit::Seconds, help));
    gauge!(Gauge::BuildInfo.name(), "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    // Prometheus sees the first increase of a series only if the series was there before.
    Series::closed().into_iter().for_each(|series| series.counter().increment(0));
    Some(handle)
}

/// Counts one, for code outside the workers.
pub(crate) fn count(series: impl Into<Series>) {
    series.into().counter().increment(1);
}

/// Counts several, if there are any.
pub(crate) fn count_many(series: impl Into<Series>, count: u64) {
    if count > 0 {
        series.into().counter().increment(count);
    }
}

/// Sets a counter that another component counts.
pub(crate) fn set_total(series: impl Into<Series>, total: u64) {
    series.into().counter().absolute(total);
}

/// An answered call has ended.
pub(crate) fn call_ended(talked: Duration) {
    histogram!(CALL_SECONDS.0).record(talked);
}

/// Called by the store after each group commit.
pub(crate) fn committed(report: location::CommitReport) {
    histogram!(COMMIT_SECONDS.0).record(report.took);
    let outcome = if report.ok { CommitOutcome::Safe } else { CommitOutcome::Failed };
    let changes = u64::try_from(report.changes).unwrap_or(u64::MAX);
    Series::StoreChange { outcome }.counter().increment(changes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The labels cell of a row: each label, with the values of a closed set.
    fn labels_cell(labels: &[(&str, Vec<String>)]) -> String {
        let cell = labels.iter().map(|(label, values)| match values.is_empty() {
            true => (*label).to_owned(),
            // Its values are the keys in docs/configuration.md.
            false if *label == "limit" => (*label).to_owned(),
            false => format!("{label}: {}", values.join(", ")),
        });
        cell.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_label_of_every_limit_is_the_name_of_a_key() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
        let page = std::fs::read_to_string(path).expect("docs/configuration.md");
        let counters = series::counter_rows();
        let (_, labels, _) =
            counters.iter().find(|(name, ..)| *name == "frontdesk_limits_reached_total").expect("the counter");
        for (_, values) in labels {
            for label in values {
                let is_key = [format!(".{label}`"), format!(".max_{label}`")].iter().any(|key| page.contains(key));
                assert!(is_key, "docs/configuration.md has no key for the limit {label}");
            }
        }
    }

    #[test]
    fn the_table_of_the_readme_lists_every_metric() {
        let row =
            |name: &str, kind: &str, labels: &str, help: &str| format!("| `{name}` | {kind} | {labels} | {help} |");
        let counters = series::counter_rows().into_iter();
        let mut expected: Vec<_> =
            counters.map(|(name, labels, help)| row(name, "counter", &labels_cell(&labels), help)).collect();
        for (name, help) in Gauge::rows() {
            let labels = if name == Gauge::BuildInfo.name() { "version" } else { "" };
            expected.push(row(name, "gauge", labels, help));
        }
        expected.extend(TrunkGauge::rows().iter().map(|(name, help)| row(name, "gauge", "trunk", help)));
        expected.extend([COMMIT_SECONDS, CALL_SECONDS].map(|(name, help)| row(name, "histogram", "", help)));
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
        let readme = std::fs::read_to_string(path).expect("README.md");
        let rows: Vec<_> = readme.lines().filter(|line| line.starts_with("| `frontdesk_")).collect();
        for row in &expected {
            assert!(rows.contains(&row.as_str()), "README.md does not contain this row:\n{row}");
        }
        for row in rows {
            assert!(expected.iter().any(|expected| expected == row), "README.md has a row of no metric:\n{row}");
        }
    }
}
