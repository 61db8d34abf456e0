//! The documents: every key with its default, and links whose targets exist.

use serde_yaml::Value;

use crate::{files, read};

/// The keys of a configuration with their values: `section.key` where the value is a map or a list of maps.
fn keys(config: &Value) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (key, value) in config.as_mapping().expect("a map") {
        let key = key.as_str().expect("a key");
        let entries = value.as_sequence().map_or(&[][..], |list| list);
        let maps: Vec<_> = entries.iter().chain([value]).filter_map(Value::as_mapping).collect();
        if maps.len() != 1 || value.is_sequence() {
            found.push((key.to_owned(), value));
        }
        for (inner, value) in maps.into_iter().flatten() {
            found.push((format!("{key}.{}", inner.as_str().expect("a key")), value));
        }
    }
    found
}

/// The first two cells of table rows about keys: the key and its default.
fn rows(page: &str) -> Vec<(String, String)> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells =
        rows.filter_map(|row| row.split_once("` | ")).filter_map(|(key, rest)| Some((key, rest.split_once('|')?.0)));
    cells.map(|(key, default)| (key.to_owned(), default.trim().to_owned())).collect()
}

#[test]
fn every_key_is_documented_with_its_default() {
    let shipped = read("config/frontdesk.yaml");
    let examples: Value = serde_yaml::from_str(&shipped.replace("#~", "")).expect("YAML with its examples");
    let defaults: Value = serde_yaml::from_str(&shipped).expect("YAML");
    let (examples, defaults) = (keys(&examples), keys(&defaults));
    let page = rows(&read("docs/configuration.md"));
    assert!(examples.len() > 40 && defaults.len() > 30, "{examples:?}");
    let mut missing = Vec::new();
    for (key, _) in &examples {
        if !page.iter().any(|(row, _)| row == key) {
            missing.push(format!("{key} has no row"));
        }
    }
    for (key, value) in &defaults {
        let row = page.iter().find(|(row, _)| row == key);
        let told: Option<Value> = row.and_then(|(_, default)| serde_yaml::from_str(default.trim_matches('`')).ok());
        if row.is_some() && told.as_ref() != Some(*value) {
            missing.push(format!("the default of {key} is {value:?}, not {told:?}"));
        }
    }
    for (row, _) in &page {
        if !examples.iter().any(|(key, _)| key == row) {
            missing.push(format!("config/frontdesk.yaml knows no {row}"));
        }
    }
    assert!(missing.is_empty(), "docs/configuration.md:\n{}", missing.join("\n"));
}

/// A heading as a link refers to it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[test]
fn every_link_has_a_target() {
    let mut pages = files("docs", ".md");
    pages.extend(["README.md", "deploy/README.md"].map(str::to_owned));
    for page in pages {
        let text = read(&page);
        let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { page.clone() } else { format!("{folder}/{file}") };
            let file = file.trim_start_matches('/');
            let target = crate::path(file);
            assert!(target.exists(), "{page} links to {link}");
            if !heading.is_empty() {
                let target = read(file);
                let mut headings = target.lines().filter_map(|line| line.strip_prefix('#'));
                let found = headings.any(|title| anchor(title.trim_start_matches(['#', ' '])) == heading);
                assert!(found, "{page} links to {link}");
            }
        }
    }
}
