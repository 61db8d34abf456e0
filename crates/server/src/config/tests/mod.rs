//! The example file and the documentation have every key, with its default.

mod errors;

use std::fs;

use location::Aor;
use proxy::ConfigKey;
use strum::VariantArray as _;

use super::*;

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/frontdesk.yaml");
    fs::read_to_string(path).expect("the example")
}

fn error(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("frontdesk.yaml");
    fs::write(&file, text).expect("a file");
    let message = load(Some(&file), &NodeArguments::default()).expect_err(text).to_string();
    message.replace(&format!("{}:", file.display()), "").replace(&format!("{}/", folder.path().display()), "")
}

fn valid(text: &str) -> Loaded {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("frontdesk.yaml");
    fs::write(&file, text).expect("a file");
    load(Some(&file), &NodeArguments::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_example_contains_the_defaults() {
    let config: Config = serde_yaml::from_str(&example()).expect("the example is valid");
    assert_eq!(config, Config::default());
}

/// The text of the example with its optional settings: lines that begin with `#~`.
fn example_with_options() -> String {
    example().lines().map(|line| format!("{}\n", line.strip_prefix("#~").unwrap_or(line))).collect()
}

/// Every key of the configuration, as `key` or `section.key`, with its doc comment.
fn keys() -> Vec<(String, &'static str)> {
    let sections = [
        ("tls", tls::Tls::KEYS),
        ("ws", websocket::WebSocket::KEYS),
        ("digest", digest::Digest::KEYS),
        ("accounts", AccountEntry::KEYS),
        ("groups", office::GroupEntry::KEYS),
        ("hours", office::HoursEntry::KEYS),
        ("numbers", office::NumberEntry::KEYS),
        ("codes", office::Codes::KEYS),
        ("trunks", trunks::TrunkEntry::KEYS),
        ("outgoing", OutgoingEntry::KEYS),
        ("defence", Defence::KEYS),
        ("registrar", RegistrarSection::KEYS),
        ("subscriptions", Subscriptions::KEYS),
        ("location", sections::Location::KEYS),
        ("cluster", cluster::Cluster::KEYS),
        ("forking", sections::Forking::KEYS),
        ("timers", sections::Timers::KEYS),
        ("dns", sections::Dns::KEYS),
        ("large_requests", sections::LargeRequests::KEYS),
        ("limits", Limits::KEYS),
        ("metrics", sections::Metrics::KEYS),
        ("admin", sections::Admin::KEYS),
        ("trace", sections::Trace::KEYS),
        ("capture", Capture::KEYS),
        ("calls", sections::Calls::KEYS),
        ("log", Log::KEYS),
    ];
    let mut keys = Vec::new();
    for (name, doc) in Config::KEYS {
        let section = sections.iter().find(|(section, _)| section == name);
        // These are keys of their own, and their entries have keys.
        if section.is_none() || LISTS.contains(name) {
            keys.push(((*name).to_owned(), doc.trim_start()));
        }
        for (key, doc) in section.into_iter().flat_map(|(_, keys)| *keys) {
            keys.push((format!("{name}.{key}"), doc.trim_start()));
            let inner = match *key {
                "forward" => office::ForwardEntry::KEYS,
                "also_ring" => office::AlsoRingEntry::KEYS,
                _ => &[],
            };
            keys.extend(inner.iter().map(|(inner, doc)| (format!("{name}.{key}.{inner}"), doc.trim_start())));
        }
    }
    keys
}

/// The keys with a list or a mapping of entries.
const LISTS: [&str; 6] = ["accounts", "groups", "hours", "numbers", "trunks", "outgoing"];

/// The value of a key in a section, or in any entry of a list or a mapping.
fn find<'v>(value: &'v serde_yaml::Value, path: &str) -> Option<&'v serde_yaml::Value> {
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    let inner = |value: &'v serde_yaml::Value| match rest {
        None => value.get(key),
        Some(rest) => find(value.get(key)?, rest),
    };
    let entries = value.as_mapping().into_iter().flat_map(|map| map.values());
    let mut entries = entries.chain(value.as_sequence().into_iter().flatten());
    inner(value).or_else(|| entries.find_map(inner))
}

#[test]
fn the_example_shows_every_key() {
    let example: serde_yaml::Value = serde_yaml::from_str(&example_with_options()).expect("YAML");
    for (key, _) in keys() {
        let (section, inner) = key.split_once('.').map_or((&*key, None), |(section, inner)| (section, Some(inner)));
        let value = example.get(section).unwrap_or_else(|| panic!("{key} is not in config/frontdesk.yaml"));
        let shown = inner.is_none_or(|inner| find(value, inner).is_some());
        assert!(shown, "{key} is not in config/frontdesk.yaml");
    }
}

#[test]
fn the_documentation_has_a_row_for_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(path).expect("docs/configuration.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` |"));
    // Key, default, meaning.
    let rows: Vec<_> = rows.filter_map(|(key, rest)| Some((key, rest.split_once("| ")?))).collect();
    let keys = keys();
    for (key, doc) in &keys {
        let row = rows.iter().find(|(row, _)| row == key);
        let (_, (default, meaning)) = row.unwrap_or_else(|| panic!("no row of docs/configuration.md has {key}: {doc}"));
        assert_eq!(meaning, doc, "the row of {key} in docs/configuration.md differs from its doc comment");
        assert!(has_default(key, default.trim()), "{default} in docs/configuration.md is not the default of {key}");
    }
    for (row, _) in rows {
        assert!(keys.iter().any(|(key, _)| key == row), "docs/configuration.md has a row for {row}, which is no key");
    }
}

/// Whether `text` is the default of a key: a value between backticks, or words for a key without a default value.
fn has_default(key: &str, text: &str) -> bool {
    let Some(value) = text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) else {
        let defaults = serde_yaml::to_value(Config::default()).expect("a value");
        let value = key.split('.').try_fold(&defaults, |value, name| value.get(name));
        let is_empty = |value: &serde_yaml::Value| {
            let is_empty_map = value.as_mapping().is_some_and(serde_yaml::Mapping::is_empty);
            value.is_null() || is_empty_map || value.as_sequence().is_some_and(Vec::is_empty)
        };
        return value.is_none_or(is_empty);
    };
    match key.split_once('.') {
        // An entry has no default; its lists are empty.
        Some((list, _)) if LISTS.contains(&list) => value == "[]",
        Some((section, inner)) => valid(&format!("{section}: {{ {inner}: {value} }}\n")).config == Config::default(),
        None => valid(&format!("{key}: {value}\n")).config == Config::default(),
    }
}

#[test]
fn commented_settings_of_the_example_are_valid() {
    let config: Config = serde_yaml::from_str(&example_with_options()).expect("the commented settings are valid");
    assert!(config.advertise.is_some() && config.workers.is_some() && !config.accounts.is_empty());
}

#[test]
fn off_may_be_written_as_false() {
    for off in ["off", "false", "\"off\""] {
        assert_eq!(valid(&format!("authentication: {off}\n")).config.authentication, Authentication::Off, "{off}");
    }
    assert_eq!(valid("metrics: { listen: off }\n").config.metrics.listen, Endpoint::Off);
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(valid("").config, Config::default());
    assert_eq!(valid("# nothing\n").config, Config::default());
}

#[test]
fn accounts_in_the_configuration_and_in_a_file_are_added() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("frontdesk.yaml");
    fs::write(&file, "accounts_file: more.yaml\naccounts:\n  - { user: 101, password: 1234 }\n").expect("a file");
    fs::write(folder.path().join("more.yaml"), "- { user: bob, password: builder }\n").expect("a file");
    let accounts = load(Some(&file), &NodeArguments::default()).expect("a configuration").accounts;
    assert_eq!(accounts.len(), 2);
    assert!(accounts.find(&Aor::new(b"101", b"office.example")).is_some());

    fs::write(folder.path().join("more.yaml"), "\n- { user: 101, password: other }\n").expect("a file");
    let message = load(Some(&file), &NodeArguments::default()).expect_err("twice").to_string();
    assert!(message.contains("more.yaml:2:") && message.contains("\"101\" is listed twice"), "{message}");
}

/// Issue 18: refusals name the key that decided, by its name in docs/configuration.md.
#[test]
fn the_keys_that_refusals_name_exist() {
    let documentation = include_str!("../../../../../docs/configuration.md");
    for key in ConfigKey::VARIANTS {
        let row = format!("| `{}` |", key.as_str());
        assert!(documentation.contains(&row), "docs/configuration.md has no row {row}");
    }
}
