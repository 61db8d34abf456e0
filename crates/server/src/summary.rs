//! What `frontdesk check` says about a good configuration.

use std::fmt::Write as _;

use crate::config::{Authentication, Endpoint, HostName, Loaded, StoreKind};
use crate::first_run;

/// A few lines: what would be served, to whom, from where.
pub(crate) fn of(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let names = |names: &[HostName]| names.iter().map(|name| &*name.0).collect::<Vec<_>>().join(", ");
    let file = loaded.file.as_ref().map_or_else(|| "the defaults".to_owned(), |file| file.display().to_string());
    let listen = config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let users = match (config.authentication, loaded.accounts.len()) {
        (Authentication::Off, 0) => "anybody, without authentication".to_owned(),
        (Authentication::Off, count) => format!("{count} accounts, without authentication"),
        (Authentication::Required, _) if first_run::is_needed(config) => {
            "three accounts, made at the first start".to_owned()
        }
        (Authentication::Required, count) => {
            let algorithms: Vec<_> = config.digest.algorithms.iter().map(|name| name.as_str()).collect();
            format!("{count} accounts, digest {}", algorithms.join(", "))
        }
    };
    let store = match config.location.store {
        StoreKind::Disk => format!("disk, {}", config.location.path.display()),
        StoreKind::Memory => "memory".to_owned(),
    };
    let metrics = match config.metrics.listen {
        Endpoint::Off => "off".to_owned(),
        Endpoint::On(address) => format!("http://{address}/metrics"),
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
    line("users", &users);
    line("location", &store);
    line("metrics", &metrics);
    line("workers", &config.worker_count().to_string());
    text
}
