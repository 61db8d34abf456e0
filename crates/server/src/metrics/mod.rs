//! Metrics: what is counted, under which name, and the endpoint for Prometheus.
//!
//! Names and labels are a public interface (README). Label values are closed sets: no text of a peer becomes a label.
//! A new metric is a row of [`TABLE`] and an arm in [`tally`].

mod tally;

use std::time::Duration;

use location::Wall;
use metrics::{Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parser::Transport;

use crate::text::ending::Ending;

pub(crate) use tally::{DriverLimit, Loss, Series, Tally};

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Every metric: kind, name, HELP.
const TABLE: &[(Kind, &str, &str)] = &[
    (Kind::Counter, "frontdesk_requests_received_total", "SIP requests that came in, by method and transport."),
    (Kind::Counter, "frontdesk_requests_forwarded_total", "SIP requests of others that went out."),
    (Kind::Counter, "frontdesk_responses_received_total", "SIP responses that came in, by status code and transport."),
    (Kind::Counter, "frontdesk_responses_sent_total", "SIP responses that went out, by method of their request."),
    (Kind::Counter, "frontdesk_registrations_total", "REGISTER requests by outcome."),
    (Kind::Counter, "frontdesk_calls_total", "Calls (initial INVITE requests) that were routed."),
    (Kind::Counter, "frontdesk_calls_ended_total", "Calls that were set up or not, by how that ended."),
    (Kind::Counter, "frontdesk_forks_total", "Forked requests by outcome."),
    (Kind::Counter, "frontdesk_notifications_total", "NOTIFYs to who watches registrations, by outcome."),
    (
        Kind::Counter,
        "frontdesk_dialog_requests_total",
        "Requests in a dialog that did not come from one side of it and go to the other, by outcome.",
    ),
    (Kind::Counter, "frontdesk_authentication_failures_total", "Credentials that were not accepted, by reason."),
    (Kind::Counter, "frontdesk_parse_errors_total", "Messages that could not be read; answered: with a 400."),
    (Kind::Counter, "frontdesk_drops_total", "Messages that were dropped without an answer, by reason."),
    (Kind::Counter, "frontdesk_limits_reached_total", "Times a configured limit took effect."),
    (Kind::Counter, "frontdesk_connections_opened_total", "Stream connections opened; in: by the peer, out: by us."),
    (Kind::Counter, "frontdesk_connections_failed_total", "Stream connections of ours that did not come about."),
    (Kind::Counter, "frontdesk_handshakes_total", "Handshakes on accepted connections, by transport and outcome."),
    (Kind::Counter, "frontdesk_keepalives_total", "Keep-alive packets, CRLF pings and STUN requests."),
    (Kind::Counter, "frontdesk_lookups_total", "DNS lookups by outcome."),
    (Kind::Counter, "frontdesk_store_changes_total", "Changes of the location store by outcome."),
    (
        Kind::Counter,
        "frontdesk_bans_total",
        "Addresses with too many failures, by what became of them: banned, spared.",
    ),
    (Kind::Counter, "frontdesk_banned_dropped_total", "Messages and connections of banned addresses, dropped unseen."),
    (Kind::Counter, "frontdesk_reloads_total", "Configuration reloads by outcome."),
    (Kind::Counter, "frontdesk_log_lines_dropped_total", "Log lines not written, by reason: repeated, slow (reader)."),
    (Kind::Gauge, "frontdesk_ready", "1 if phones can register and call, as /ready says."),
    (Kind::Gauge, "frontdesk_config_reload_failed", "1 if the last reload was refused: the file is not in force."),
    (Kind::Gauge, "frontdesk_connections", "Stream connections open now."),
    (Kind::Gauge, "frontdesk_users", "Users with at least one phone registered now."),
    (Kind::Gauge, "frontdesk_bindings", "Phones registered now."),
    (Kind::Gauge, "frontdesk_bans", "Addresses that are banned now."),
    (Kind::Gauge, "frontdesk_accounts", "Accounts configured."),
    (Kind::Gauge, "frontdesk_transactions", "Forked requests in progress now."),
    (Kind::Gauge, "frontdesk_pins", "Unforked calls being set up now, and other requests of the last 37 s."),
    (Kind::Gauge, "frontdesk_nonces", "Digest nonces in use now."),
    (Kind::Gauge, "frontdesk_subscriptions", "Subscriptions to registrations now."),
    (Kind::Gauge, "frontdesk_moved_dialogs", "Sides of dialogs that are remembered to have moved."),
    (Kind::Gauge, "frontdesk_store_queue", "Changes that wait for the disk now."),
    (
        Kind::Gauge,
        "frontdesk_store_usable",
        "1 if the store takes changes: the last were written, its files are there.",
    ),
    (Kind::Gauge, "frontdesk_uptime_seconds", "Seconds since the program started to serve."),
    (Kind::Gauge, "frontdesk_time_seconds", "The clock of the machine, in seconds since 1970."),
    (Kind::Gauge, "frontdesk_build_info", "1; the version of the program is a label."),
    (Kind::Histogram, "frontdesk_store_commit_seconds", "Time to make a group of changes safe on disk."),
];

/// Upper bounds in seconds, from the fsync of a fast SSD to a failing disk.
const COMMIT_BUCKETS: [f64; 10] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// Installs the recorder. `None` for a second call in one process.
pub(crate) fn install() -> Option<PrometheusHandle> {
    let commits = Matcher::Full("frontdesk_store_commit_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(commits, &COMMIT_BUCKETS).ok()?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).ok()?;
    for (kind, name, help) in TABLE {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *help),
            Kind::Histogram => metrics::describe_histogram!(*name, Unit::Seconds, *help),
        }
    }
    gauge!("frontdesk_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    publish_zeros();
    Some(handle)
}

/// Initialises series that no worker counts with 0, so that the first increase is visible to Prometheus.
fn publish_zeros() {
    for ending in Ending::ALL {
        counter!("frontdesk_calls_ended_total", "ending" => ending.as_str()).increment(0);
    }
    for limit in [JOURNAL_CALLS, ADMIN_CONNECTIONS, BANS] {
        counter!("frontdesk_limits_reached_total", "limit" => limit).increment(0);
    }
    for outcome in ["banned", "spared"] {
        counter!("frontdesk_bans_total", "outcome" => outcome).increment(0);
    }
    for outcome in [Handshake::Accepted, Handshake::Page, Handshake::Refused, Handshake::Failed, Handshake::TimedOut] {
        counter!("frontdesk_handshakes_total", "transport" => "ws", "outcome" => outcome.as_str()).increment(0);
    }
    for reason in ["repeated", "slow"] {
        counter!("frontdesk_log_lines_dropped_total", "reason" => reason).increment(0);
    }
}

/// `limits.journal_calls`
pub(crate) const JOURNAL_CALLS: &str = "journal_calls";

/// `limits.admin_connections`
pub(crate) const ADMIN_CONNECTIONS: &str = "admin_connections";

/// `limits.bans`
pub(crate) const BANS: &str = "bans";

/// Values that are read once a second rather than counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    /// Users with a binding.
    pub(crate) users: u64,
    /// Bindings.
    pub(crate) bindings: u64,
    /// Commits that wait for the disk.
    pub(crate) store_queue: usize,
    /// Whether the store accepts changes.
    pub(crate) store_usable: bool,
    /// Response contexts of all workers.
    pub(crate) transactions: usize,
    /// Pins of all workers.
    pub(crate) pins: usize,
    /// Nonces of all workers.
    pub(crate) nonces: usize,
    /// Subscriptions of all workers.
    pub(crate) subscriptions: usize,
    /// Moved sides of dialogs of all workers.
    pub(crate) moved_dialogs: usize,
    /// Open connections.
    pub(crate) connections: usize,
    /// Banned addresses.
    pub(crate) bans: usize,
    /// Accounts.
    pub(crate) accounts: usize,
    /// Whether the server is ready.
    pub(crate) ready: bool,
    /// Log lines dropped because the queue was full.
    pub(crate) log_dropped: u64,
    /// Time since the start.
    pub(crate) uptime: Duration,
    /// The clock of the machine.
    pub(crate) time: Wall,
}

impl Gauges {
    /// Sets the gauges.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is an f64, exact up to 2^53")]
    pub(crate) fn publish(&self) {
        gauge!("frontdesk_users").set(self.users as f64);
        gauge!("frontdesk_bindings").set(self.bindings as f64);
        gauge!("frontdesk_store_queue").set(self.store_queue as f64);
        gauge!("frontdesk_store_usable").set(f64::from(self.store_usable));
        gauge!("frontdesk_transactions").set(self.transactions as f64);
        gauge!("frontdesk_pins").set(self.pins as f64);
        gauge!("frontdesk_nonces").set(self.nonces as f64);
        gauge!("frontdesk_subscriptions").set(self.subscriptions as f64);
        gauge!("frontdesk_moved_dialogs").set(self.moved_dialogs as f64);
        gauge!("frontdesk_connections").set(self.connections as f64);
        gauge!("frontdesk_bans").set(self.bans as f64);
        gauge!("frontdesk_accounts").set(self.accounts as f64);
        gauge!("frontdesk_ready").set(f64::from(self.ready));
        counter!("frontdesk_log_lines_dropped_total", "reason" => "slow").absolute(self.log_dropped);
        gauge!("frontdesk_uptime_seconds").set(self.uptime.as_secs_f64());
        gauge!("frontdesk_time_seconds").set(self.time.0 as f64 / 1000.0);
    }
}

/// Called by the store after each group commit.
pub(crate) fn committed(report: location::CommitReport) {
    histogram!("frontdesk_store_commit_seconds").record(report.took);
    let outcome = if report.ok { "safe" } else { "failed" };
    let changes = u64::try_from(report.changes).unwrap_or(u64::MAX);
    counter!("frontdesk_store_changes_total", "outcome" => outcome).increment(changes);
}

/// Whether the last reload was refused.
pub(crate) fn config_refused(refused: bool) {
    gauge!("frontdesk_config_reload_failed").set(f64::from(refused));
}

/// Counts a call that has ended.
pub(crate) fn call_ended(ending: Ending) {
    counter!("frontdesk_calls_ended_total", "ending" => ending.as_str()).increment(1);
}

/// Counts a log line that the rate limit suppressed.
pub(crate) fn line_suppressed() {
    counter!("frontdesk_log_lines_dropped_total", "reason" => "repeated").increment(1);
}

/// Counts a limit outside the workers that was reached.
pub(crate) fn limit_reached(limit: &'static str) {
    counter!("frontdesk_limits_reached_total", "limit" => limit).increment(1);
}

/// Counts an address with too many failures.
pub(crate) fn address_failed(banned: bool) {
    let outcome = if banned { "banned" } else { "spared" };
    counter!("frontdesk_bans_total", "outcome" => outcome).increment(1);
}

/// Counts a connection of a banned address, which is closed at once.
pub(crate) fn refused_connection(transport: Transport) {
    counter!("frontdesk_banned_dropped_total", "transport" => transport.param()).increment(1);
}

/// The outcome of a handshake on an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// The connection is open.
    Accepted,
    /// The peer only asked for a web page.
    Page,
    /// The server refused what the peer asked for.
    Refused,
    /// The peer violated the protocol or closed the connection.
    Failed,
    /// `limits.handshake_time`
    TimedOut,
}

impl Handshake {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Page => "page",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        }
    }
}

/// Counts a handshake.
pub(crate) fn handshake(transport: Transport, outcome: Handshake) {
    let (transport, outcome) = (transport.param(), outcome.as_str());
    counter!("frontdesk_handshakes_total", "transport" => transport, "outcome" => outcome).increment(1);
}

/// Counts a reload.
pub(crate) fn reloaded(succeeded: bool) {
    let outcome = if succeeded { "good" } else { "refused" };
    counter!("frontdesk_reloads_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_in_the_readme() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
        let readme = std::fs::read_to_string(path).expect("README.md");
        for (kind, name, _) in TABLE {
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            assert!(readme.contains(&format!("| `{name}` | {kind} |")), "{name} is not in README.md as a {kind}");
        }
    }
}
