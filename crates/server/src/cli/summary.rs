//! The output of `frontdesk check` for a valid configuration: its values, and what they mean for users.
//!
//! Decides the wording.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use humantime::{format_duration, format_rfc3339_seconds};
use proxy::{Foreign, Strangers, Strategy};

use crate::config::{self, Authentication, Config, Endpoint, HostName, Loaded, OutgoingEntry, StoreKind};
use crate::data::first_start;
use crate::text::counted::{counted, failures as failures_of, phones};
use crate::tls::{CertificateSummary, Validity};

/// The shared store, without its password, and this server's place among those that share it.
fn redis(config: &Config) -> String {
    let cluster = &config.cluster;
    let at = config.location.url.as_ref().map_or_else(String::new, |url| url.without_password());
    let node = cluster.node.as_ref().map_or("", |node| &node.0);
    let advertise = cluster.advertise.map_or_else(String::new, |address| address.0.to_string());
    format!("redis, {at}; this is node {node}, which the others reach at {advertise}")
}

/// The summary. `stored`: the file of the accounts in the data folder, if the server will use it.
pub(crate) fn summary(loaded: &Loaded, stored: Option<&Path>) -> String {
    let config = &loaded.config;
    let file = loaded.file.as_ref().map_or_else(|| "the defaults".to_owned(), |file| file.display().to_string());
    let listen = config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let store = match config.location.store {
        StoreKind::Disk => format!("disk, {}", config.location.path.display()),
        StoreKind::Memory => "memory".to_owned(),
        StoreKind::Redis => redis(config),
    };
    let metrics = match config.metrics.listen {
        Endpoint::Off => "off".to_owned(),
        Endpoint::On(address) => format!("http://{address}/metrics, status page http://{address}/"),
    };
    let mut text = format!("{file}: good\n");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    line("domains", &names(&config.domains));
    if !config.aliases.is_empty() {
        line("aliases", &names(&config.aliases));
    }
    line("listen", &listen);
    for certificate in certificates(loaded) {
        line("tls", &certificate);
    }
    line("location", &store);
    line("metrics", &metrics);
    line("workers", &config.worker_count().to_string());
    for (question, answer) in [
        ("Who may register?", registration(loaded, stored)),
        ("Who may call a user?", inbound(config)),
        ("Whom may users call?", format!("{}{}", outbound(config), outgoing(config))),
        ("Where does a call go?", routing(config)),
        ("Which addresses get no response?", bans(config)),
        ("Who may see the status page?", admin_access(config)),
        ("Who may change where the calls of a user go?", authors(config)),
    ] {
        let _ = writeln!(text, "\n{question}\n  {answer}");
    }
    for warning in config::warnings(config, &loaded.accounts) {
        let _ = writeln!(text, "\nWarning: {warning}");
    }
    text
}

/// The names of each certificate, and until when it is valid.
fn certificates(loaded: &Loaded) -> Vec<String> {
    let each = loaded.tls.iter().flat_map(|material| &material.certificates);
    let describe = |(file, certificate): &(PathBuf, CertificateSummary)| {
        let until = format_rfc3339_seconds(SystemTime::UNIX_EPOCH + certificate.not_after);
        let warning = match certificate.validity() {
            Validity::Valid => "",
            Validity::Expired => " (expired)",
            Validity::TooEarly => " (not yet valid)",
        };
        format!("{} until {until}{warning}, {}", certificate.names(), file.display())
    };
    each.map(describe).collect()
}

fn registration(loaded: &Loaded, stored: Option<&Path>) -> String {
    let (config, count) = (&loaded.config, loaded.accounts.len());
    let who = match (config.authentication, count) {
        (Authentication::Off, 0) => "Anybody, under any name, without a password.".to_owned(),
        (Authentication::Off, count) => {
            let accounts = counted(count, "account", "accounts");
            format!("Anybody who uses the name of a listed account ({accounts}), without a password.")
        }
        (Authentication::Required, _) if first_start::is_needed(config) && stored.is_none() => {
            "The users 101, 102 and 103 with the passwords that the first start creates and prints.".to_owned()
        }
        (Authentication::Required, count) => {
            let algorithms: Vec<_> = config.digest.algorithms.iter().map(|name| name.as_str()).collect();
            let place = stored.map(|file| format!(" in {}", file.display())).unwrap_or_default();
            let users = match count {
                1 => "The one user with an account".to_owned(),
                count => format!("The {count} users with an account"),
            };
            format!("{users}{place}, with a password (digest {}).", algorithms.join(", "))
        }
    };
    let registrar = &config.registrar;
    let time = |seconds: u32| format_duration(std::time::Duration::from_secs(u64::from(seconds)));
    let (min, default, max) = (registrar.min_expires.0, registrar.default_expires.0, registrar.max_expires.0);
    format!(
        "{who}\n  Up to {} each, for {} to {}; {} for a phone that does not ask for a time.",
        phones(registrar.max_contacts.0),
        time(min),
        time(max),
        time(default),
    )
}

fn inbound(config: &Config) -> String {
    let users = match config.authentication {
        Authentication::Required => "Other users, once they have authenticated with their password.",
        Authentication::Off => "Anybody who claims to be a user.",
    };
    let strangers = match config.strangers.0 {
        Strangers::Accept => "Callers of other domains as well (strangers: accept).",
        Strangers::Refuse => "No callers of other domains (strangers: refuse).",
    };
    let trusted: Vec<_> = config.trusted.iter().map(|network| network.0.to_string()).collect();
    let trunks: String =
        config.trunks.iter().map(|trunk| format!("\n  The trunk {}, to numbers only.", trunk.name.0)).collect();
    match trusted.as_slice() {
        [] => format!("{users}\n  {strangers}{trunks}"),
        list => {
            format!(
                "{users}\n  {strangers}{trunks}\n  Anybody who sends from {}, without a password (trusted).",
                list.join(", ")
            )
        }
    }
}

fn outbound(config: &Config) -> &'static str {
    match (config.foreign.0, config.authentication) {
        (Foreign::Authenticated, Authentication::Required) => {
            "Each other, and other domains once they have authenticated (foreign: authenticated)."
        }
        (Foreign::Authenticated, Authentication::Off) => "Each other. Not other domains, which needs authentication.",
        (Foreign::Refuse, _) => "Each other. Not other domains (foreign: refuse).",
    }
}

/// The numbers outside of the office, one line for each.
fn outgoing(config: &Config) -> String {
    let describe = |entry: &OutgoingEntry| {
        let digits = entry.digits.as_ref().map(|digits| format!(" with {}", digits_of(&digits.to_string())));
        let digits = digits.unwrap_or_default();
        let kind = match (&entry.class, entry.is_emergency()) {
            (_, true) => " (emergency)".to_owned(),
            (Some(class), false) => format!(" ({})", class.0),
            (None, false) => String::new(),
        };
        let trunks: Vec<_> = entry.trunks.iter().map(|trunk| &*trunk.0).collect();
        format!("\n  Numbers that begin with {}{digits}{kind}: by {}.", entry.prefix.0, trunks.join(", else by "))
    };
    config.outgoing.iter().map(describe).collect()
}

fn digits_of(range: &str) -> String {
    format!("{range} {}", if range == "1" { "digit" } else { "digits" })
}

fn routing(config: &Config) -> String {
    let first = config.first_domain();
    let mut same: Vec<_> = config.aliases.iter().map(|alias| format!("sip:X@{}", alias.0)).collect();
    same.push("sip:X at an address of this machine".to_owned());
    let time = format_duration(config.forking.ring_time.0);
    let order = match config.forking.strategy.0 {
        Strategy::Parallel => {
            format!("all phones of X ring at once, for at most {time}; the first phone that answers gets the call.")
        }
        Strategy::Sequential => {
            format!("the phones of X ring one after another, ordered by their q value, for {time} each.")
        }
        Strategy::Wave => {
            format!(
                "the phones of X begin to ring one after another, ordered by their q value, {time} apart, and keep ringing."
            )
        }
    };
    let mut text = format!("To sip:X@{first}, which is the same as {}:\n  {order}", same.join(" and "));
    for other in config.domains.iter().skip(1) {
        let _ = write!(text, "\n  To sip:X@{}: the same; it is another user, the X of that domain.", other.0);
    }
    for group in &config.groups {
        let number = group.user.text();
        let label = group.name.as_ref().map(|label| format!(" ({})", label.0)).unwrap_or_default();
        let _ = write!(text, "\n  To {number}{label}: a group with {}.", members(group.members.len()));
    }
    for (number, entry) in &config.numbers {
        let hours = entry.hours.as_ref().map(|hours| format!(" in the hours {:?}", hours.0)).unwrap_or_default();
        let closed = entry.closed.as_ref().map(|party| format!(", else to {party}")).unwrap_or_default();
        let _ = write!(text, "\n  To {}: to {}{hours}{closed}.", number.text(), entry.to);
    }
    text.push_str("\n  `frontdesk explain X` asks the running server where a call would go now.");
    text
}

fn members(count: usize) -> String {
    if count == 1 { "one member".to_owned() } else { format!("{count} members") }
}

fn bans(config: &Config) -> String {
    let config::Defence { failures, within, ban } = &config.defence;
    let many = format!("{} within {}", failures_of(failures.0), format_duration(within.0));
    match ban.0 {
        Some(time) => format!("An address with {many}, for {}; `frontdesk bans` lists them.", format_duration(time)),
        None => format!("None (defence.ban: off); an address with {many} is logged."),
    }
}

fn admin_access(config: &Config) -> String {
    match (config.metrics.listen, &config.admin.token) {
        (Endpoint::Off, _) => "Nobody (metrics.listen: off).".to_owned(),
        (Endpoint::On(_), Some(_)) => "Clients that send the token (admin.token).".to_owned(),
        (Endpoint::On(_), None) => "Clients on this machine; there is no admin.token.".to_owned(),
    }
}

fn authors(config: &Config) -> String {
    let page = config.admin.me.0.then_some("at /me with the password");
    let codes = &config.codes;
    let all = [&codes.forward_always, &codes.forward_off, &codes.dnd_on, &codes.dnd_off];
    let has_codes = all.iter().any(|code| code.0.is_some());
    let ways: Vec<_> = page.into_iter().chain(has_codes.then_some("by the feature codes (codes)")).collect();
    match ways.as_slice() {
        [] => "The administrator, with `frontdesk forward`.".to_owned(),
        ways => format!("The administrator, with `frontdesk forward`, and the user, {}.", ways.join(" and ")),
    }
}

fn names(names: &[HostName]) -> String {
    names.iter().map(|name| &*name.0).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary_of(text: &str) -> String {
        let config: Config = serde_yaml::from_str(text).expect("a configuration");
        summary(&Loaded { config, ..Loaded::default() }, None)
    }

    #[test]
    fn the_summary_describes_the_office_and_warns_of_circles() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("frontdesk.yaml");
        let text = "\
accounts:
  - { user: 101, password: x, forward: { always: 102 } }
  - { user: 102, password: x, forward: { always: \"7\" } }
  - { user: 103, password: x, do_not_disturb: true }
groups:
  - { user: 600, name: Sales, members: [103] }
  - { user: 601, members: [\"601\"] }
  - { user: 602, numbers: [\"612\"], members: [603, 103] }
  - { user: 603, members: [\"9\", \"612\"] }
  - { user: 604, members: [602, 101] }
hours:
  office: { zone: UTC, open: [mon-fri 08:00-18:00] }
numbers:
  \"7\": { to: 101 }
  \"8\": { to: 600, hours: office, closed: voicemail }
  \"9\": { to: 602 }
voicemail: sip:vm@192.0.2.9
";
        std::fs::write(&file, text).expect("a file");
        let summary =
            summary(&config::load(Some(&file), &config::NodeArguments::default()).expect("a configuration"), None);
        for line in [
            "To 600 (Sales): a group with one member.",
            "To 7: to 101.",
            "To 8: to 600 in the hours \"office\", else to voicemail.",
            "Warning: All calls go round in a circle and reach nobody: 101 to 102 to 7 to 101.",
            "Warning: Nobody rings in the group 600: all members have do_not_disturb.",
            "Warning: Nobody rings in the group 601: its members lead back to it or to users with do_not_disturb.",
            "Warning: Nobody rings in the group 602: its members lead back to it or to users with do_not_disturb.",
            "Warning: Nobody rings in the group 603: its members lead back to it or to users with do_not_disturb.",
        ] {
            assert!(summary.contains(line), "no {line} in {summary}");
        }
        assert!(!summary.contains("Nobody rings in the group 604"), "{summary}");
    }

    #[test]
    fn the_summary_describes_trunks_and_warns_of_numbers() {
        let summary = summary_of(
            "\
accounts:
  - { user: \"01\", password: x }
trunks:
  - { name: a, server: 192.0.2.1 }
  - { name: b, server: 192.0.2.2 }
outgoing:
  - { prefix: \"0\", digits: 2-15, class: national, trunks: [a, b] }
",
        );
        for line in [
            "The trunk b, to numbers only.",
            "Numbers that begin with 0 with 2-15 digits (national): by a, else by b.",
            "Warning: No line of outgoing is an emergency number",
            "Warning: 01 is also a number of outgoing",
        ] {
            assert!(summary.contains(line), "no {line} in {summary}");
        }
    }

    /// Issue 18: `check` speaks of the first start's accounts though there are others.
    #[test]
    fn the_summary_counts_the_accounts_in_the_data_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!("location: {{ store: disk, path: {:?} }}\n", folder.path().join("location"));
        let config: Config = serde_yaml::from_str(&text).expect("a configuration");
        let mut loaded = Loaded { config, ..Loaded::default() };
        let stored = first_start::add_stored(&mut loaded).expect("no file");
        assert!(summary(&loaded, stored.as_deref()).contains("101, 102 and 103"));
        std::fs::write(folder.path().join(first_start::FILE), "- { user: 105, password: x }\n").expect("a file");
        let stored = first_start::add_stored(&mut loaded).expect("a file");
        let text = summary(&loaded, stored.as_deref());
        let file = folder.path().join(first_start::FILE);
        assert!(text.contains(&format!("The one user with an account in {}", file.display())), "{text}");
        assert!(!text.contains("first start"), "{text}");
    }

    #[test]
    fn the_summary_describes_each_policy() {
        let closed = summary_of("domains: [office.example, branch.example]\naliases: [sip.office.example]\n");
        for word in
            ["first start", "strangers: refuse", "foreign: refuse", "at once", "X of that domain", "this machine"]
        {
            assert!(closed.contains(word), "no {word} in {closed}");
        }
        let open = summary_of(
            "authentication: off\nstrangers: accept\ntrusted: [192.0.2.0/24]\nforeign: authenticated\n\
             forking: { strategy: sequential, ring_time: 15s }\nadmin: { token: 0123456789abcdef }\n",
        );
        for word in ["under any name", "192.0.2.0/24", "strangers: accept", "needs authentication", "15s", "token"] {
            assert!(open.contains(word), "no {word} in {open}");
        }
        assert!(!open.contains("0123456789abcdef"));
    }
}
