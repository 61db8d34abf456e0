//! A line for each address that was banned, or would have been.

use std::fmt::Write as _;

use tracing::warn;

use super::words::Names;
use crate::defence::{Notice, Outcome, What};

/// Writes them. `more`: so many are left out.
pub(super) fn tell(notices: &[Notice], more: usize, names: &Names) {
    for Notice { source, outcome, failures, within, what } in notices {
        let ip = source.ip();
        let masked = names.address(ip);
        let address = if masked == ip.to_string() { source.to_string() } else { masked };
        let within = humantime::format_duration(*within);
        let shown = words(what, names);
        let failed = format!("{failures} failures within {within}{shown}");
        match outcome {
            Outcome::Banned(time) => {
                warn!("{address} is banned for {}: {failed}", humantime::format_duration(*time));
            }
            Outcome::Trusted => warn!("{address} is not banned, since it is trusted: {failed}"),
            Outcome::Registered => warn!("{address} is not banned, since a phone is registered from there: {failed}"),
            Outcome::Off => warn!("{address} is not banned, since defence.ban is off: {failed}"),
        }
    }
    if more > 0 {
        warn!("{more} more addresses had too many failures");
    }
}

/// What the failures were.
fn words(what: &What, names: &Names) -> String {
    let mut text = String::new();
    let users: Vec<_> = what.users.iter().map(|user| names.user(user)).collect();
    if !users.is_empty() {
        let others = if what.others { " and others" } else { "" };
        let _ = write!(text, ", wrong passwords for {}{others}", users.join(", "));
    }
    if what.unreadable {
        text.push_str(", unreadable messages");
    }
    if what.token {
        text.push_str(", a wrong admin.token");
    }
    text
}
