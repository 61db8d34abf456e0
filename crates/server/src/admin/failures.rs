//! Failures since the start, by reason: the counters of `/metrics` that an administrator should look at.
//!
//! Decides which counters those are. Reads the text that Prometheus gets, so that both show the same numbers.

use hyper::StatusCode;
use parser::reason_phrase;
use serde::Serialize;

use super::AdminState;
use super::reply::{self, Reply};

/// Name of the counter, its label for the reason, and what it counts.
const FAILURE_COUNTERS: &[(&str, &str, &str)] = &[
    ("frontdesk_authentication_failures_total", "reason", "credentials refused"),
    ("frontdesk_registrations_total", "outcome", "registrations"),
    ("frontdesk_forks_total", "outcome", "calls to several phones"),
    ("frontdesk_responses_sent_total", "code", "calls"),
    ("frontdesk_drops_total", "reason", "messages dropped"),
    ("frontdesk_banned_dropped_total", "transport", "messages of banned addresses"),
    ("frontdesk_limits_reached_total", "limit", "limits reached"),
    ("frontdesk_parse_errors_total", "transport", "unreadable messages"),
    ("frontdesk_connections_failed_total", "", "connections to phones"),
    ("frontdesk_store_changes_total", "outcome", "registrations to disk"),
];

#[derive(Debug, PartialEq, Eq, Serialize)]
struct FailureCount {
    what: &'static str,
    reason: String,
    metric: &'static str,
    count: u64,
}

/// GET /api/v1/failures
pub(crate) fn list(state: &AdminState) -> Reply {
    reply::json(StatusCode::OK, &read(&state.metrics.render()))
}

fn read(text: &str) -> Vec<FailureCount> {
    let mut failures: Vec<FailureCount> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, count)) = line.rsplit_once(' ') else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let Some((metric, key, what)) = FAILURE_COUNTERS.iter().find(|(metric, ..)| *metric == name) else { continue };
        let reason = label(labels, key).unwrap_or("failed");
        let (Ok(count @ 1..), true) = (count.parse::<u64>(), is_failure(metric, labels, reason)) else { continue };
        let reason = match reason.parse() {
            Ok(status) => format!("{status} {}", reason_phrase(status)),
            Err(_) => reason.replace('_', " "),
        };
        match failures.iter_mut().find(|failure| failure.metric == *metric && failure.reason == reason) {
            Some(failure) => failure.count += count,
            None => failures.push(FailureCount { what, reason, metric, count }),
        }
    }
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}

/// Whether this series counts failures: some counters count successes too.
fn is_failure(metric: &str, labels: &str, reason: &str) -> bool {
    match metric {
        "frontdesk_registrations_total" => matches!(reason, "refused" | "failed"),
        "frontdesk_forks_total" => matches!(reason, "refused" | "timed_out"),
        "frontdesk_store_changes_total" => reason == "failed",
        // 401 and 407 begin every exchange with a password, and 487 is a caller that hung up.
        "frontdesk_responses_sent_total" => {
            let refused = reason.starts_with(['4', '5', '6']) && !matches!(reason, "401" | "407" | "487");
            refused && label(labels, "method") == Some("INVITE")
        }
        _ => true,
    }
}

/// The value of a label. Label values are defined by this program and contain no quotes.
fn label<'a>(labels: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = labels.split_once(&format!("{key}=\""))?;
    rest.split('"').next().filter(|_| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_are_listed() {
        let text = "\
# TYPE frontdesk_registrations_total counter
frontdesk_registrations_total{outcome=\"registered\"} 7
frontdesk_registrations_total{outcome=\"refused\"} 2
frontdesk_registrations_total{outcome=\"failed\"} 0
frontdesk_responses_sent_total{method=\"INVITE\",code=\"407\",transport=\"udp\"} 4
frontdesk_responses_sent_total{method=\"INVITE\",code=\"486\",transport=\"udp\"} 4
frontdesk_responses_sent_total{method=\"INVITE\",code=\"486\",transport=\"tcp\"} 1
frontdesk_responses_sent_total{method=\"OPTIONS\",code=\"404\",transport=\"tcp\"} 1
frontdesk_uptime_seconds 12.5
";
        let found = read(text);
        let found: Vec<_> = found.iter().map(|failure| (failure.what, &*failure.reason, failure.count)).collect();
        assert_eq!(found, [("calls", "486 Busy Here", 5), ("registrations", "refused", 2)]);
    }
}
