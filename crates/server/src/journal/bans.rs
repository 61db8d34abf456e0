//! A log line for each address that was banned, or was not because it is exempt.
//!
//! Decides the wording. Must not decide which addresses are banned: see `defence`.

use std::fmt::Write as _;

use tracing::warn;

use super::format::NameFormat;
use crate::defence::{BanNotice, BanOutcome, FailureSummary};
use crate::text::counted;

/// Logs the notices. `dropped`: the number of notices that were dropped.
pub(super) fn log_notices(notices: &[BanNotice], dropped: usize, names: &NameFormat) {
    for BanNotice { source, outcome, failures, within, summary } in notices {
        let ip = source.ip();
        let masked = names.address(ip);
        let address = if masked == ip.to_string() { source.to_string() } else { masked };
        let within = humantime::format_duration(*within);
        let details = describe(summary, names);
        let failed = format!("{} within {within}{details}", counted::failures(*failures));
        match outcome {
            BanOutcome::Banned(time) => {
                warn!("{address} is banned for {}: {failed}", humantime::format_duration(*time));
            }
            BanOutcome::Trusted => warn!("{address} is not banned, since it is trusted: {failed}"),
            BanOutcome::Registered => {
                warn!("{address} is not banned, since a phone is registered from there: {failed}")
            }
            BanOutcome::Off => warn!("{address} is not banned, since defence.ban is off: {failed}"),
        }
    }
    if dropped > 0 {
        warn!("{} had too many failures", counted::counted(dropped, "more address", "more addresses"));
    }
}

/// The kinds of failures.
fn describe(summary: &FailureSummary, names: &NameFormat) -> String {
    let mut text = String::new();
    let users: Vec<_> = summary.users.iter().map(|user| names.user(user)).collect();
    if !users.is_empty() {
        let others = if summary.others { " and others" } else { "" };
        let _ = write!(text, ", wrong passwords for {}{others}", users.join(", "));
    }
    if summary.unreadable {
        text.push_str(", unreadable messages");
    }
    if summary.token {
        text.push_str(", a wrong admin.token");
    }
    text
}
