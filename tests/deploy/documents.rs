//! The documents: links whose targets exist. The unit tests of the configuration compare the keys.

use crate::{files, read};

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
