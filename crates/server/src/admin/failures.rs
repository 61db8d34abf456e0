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
            Err(_) => in_words(metric, reason),
        };
        match failures.iter_mut().find(|failure| failure.metric == *metric && failure.reason == reason) {
            Some(failure) => failure.count += count,
            None => failures.push(FailureCount { what, reason, metric, count }),
        }
    }
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}

/// A reason that is the label of a metric.
fn in_words(metric: &str, reason: &str) -> String {
    let words = match (metric, reason) {
        ("frontdesk_authentication_failures_total", "credentials") => "wrong password or unknown user",
        ("frontdesk_authentication_failures_total", "stale") => "nonce too old or not of this server",
        ("frontdesk_authentication_failures_total", "replay") => "sent a second time",
        ("frontdesk_authentication_failures_total", "identity") => "of another user",
        _ => return reason.replace('_', " "),
    };
    words.to_owned()
}

/// Whether this series counts failures: some counters count successes too.
fn is_failure(metric: &str, labels: &str, reason: &str) -> bool {
    match metric {
        "frontdesk_registrations_total" => matches!(reason, "refused" | "failed"),
        "frontdesk_store_changes_total" => reason == "failed",
        // 401 and 407 begin every exchange with a password. A caller that hung up (487), a called party that is busy (486,
        // 600) or declines (603, 607), and a phone that nobody picks up (408) are calls, not failures.
        "frontdesk_responses_sent_total" => {
            let is_normal = matches!(reason, "401" | "407" | "408" | "486" | "487" | "600" | "603" | "607");
            let refused = reason.starts_with(['4', '5', '6']) && !is_normal;
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

    /// Issue 18: busy and declined calls count as "what went wrong".
    #[test]
    fn a_busy_or_declined_call_is_no_failure() {
        for code in [408, 486, 487, 600, 603, 607] {
            let labels = format!("method=\"INVITE\",code=\"{code}\",transport=\"udp\"");
            assert_eq!(read(&format!("frontdesk_responses_sent_total{{{labels}}} 1\n")), [], "{code}");
        }
        for outcome in ["refused", "timed_out"] {
            assert_eq!(read(&format!("frontdesk_forks_total{{outcome=\"{outcome}\"}} 1\n")), [], "{outcome}");
        }
    }

    #[test]
    fn only_failures_are_listed() {
        let text = "\
# TYPE frontdesk_registrations_total counter
frontdesk_registrations_total{outcome=\"registered\"} 7
frontdesk_registrations_total{outcome=\"refused\"} 2
frontdesk_registrations_total{outcome=\"failed\"} 0
frontdesk_responses_sent_total{method=\"INVITE\",code=\"407\",transport=\"udp\"} 4
frontdesk_responses_sent_total{method=\"INVITE\",code=\"480\",transport=\"udp\"} 4
frontdesk_responses_sent_total{method=\"INVITE\",code=\"480\",transport=\"tcp\"} 1
frontdesk_responses_sent_total{method=\"OPTIONS\",code=\"404\",transport=\"tcp\"} 1
frontdesk_uptime_seconds 12.5
";
        let found = read(text);
        let found: Vec<_> = found.iter().map(|failure| (failure.what, &*failure.reason, failure.count)).collect();
        assert_eq!(found, [("calls", "480 Temporarily Unavailable", 5), ("registrations", "refused", 2)]);
    }
}
