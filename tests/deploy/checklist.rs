//! The RFC checklist: each of its lines names a test or file that exists and cites the line by its number, and no
//! comment cites a number without a line.

use std::fs;

use crate::{path, read};

const PAGE: &str = "docs/rfc-checklist.md";

/// A line of the checklist.
struct Line {
    number: u32,
    /// The last cell: the test or file.
    place: String,
}

/// A number that a comment cites.
struct Citation {
    file: String,
    row: usize,
    number: u32,
}

/// The lines in their order.
fn lines() -> Vec<Line> {
    let page = read(PAGE);
    let rows = page.lines().filter_map(|row| row.strip_prefix("| "));
    let rows = rows.filter(|row| row.starts_with(|letter: char| letter.is_ascii_digit()));
    let lines: Vec<_> = rows
        .map(|row| {
            let cells: Vec<_> = row.trim_end_matches(" |").split(" | ").collect();
            assert_eq!(cells.len(), 5, "{PAGE}, line {}: not five cells", cells[0]);
            let number = cells[0].parse().unwrap_or_else(|error| panic!("{PAGE}, line {}: {error}", cells[0]));
            Line { number, place: cells[4].to_owned() }
        })
        .collect();
    assert!(lines.len() > 100, "{PAGE} has {} lines", lines.len());
    lines
}

/// The numbers that a text cites: `checklist N` or `checklist N, N`.
fn cited_in(text: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for list in text.split("checklist ").skip(1) {
        for item in list.split(", ") {
            let digits = item.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
            let Ok(number) = digits.parse() else { break };
            numbers.push(number);
            if digits.len() < item.len() {
                break;
            }
        }
    }
    numbers
}

/// Adds the numbers that the files of a folder and its subfolders cite.
fn add_citations(folder: &str, citations: &mut Vec<Citation>) {
    for entry in fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")) {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("UTF-8");
        let file = format!("{folder}/{name}");
        if entry.file_type().expect("a type").is_dir() {
            if name != "target" {
                add_citations(&file, citations);
            }
            continue;
        }
        // A file that is not text cites nothing.
        let Ok(text) = String::from_utf8(fs::read(entry.path()).expect("a file")) else { continue };
        for (row, text) in (1..).zip(text.lines()) {
            citations.extend(cited_in(text).into_iter().map(|number| Citation { file: file.clone(), row, number }));
        }
    }
}

/// The rows of a function, with the comments and attributes above it.
fn rows_of(text: &str, function: &str) -> Option<String> {
    let rows: Vec<_> = text.lines().collect();
    let at = rows.iter().position(|row| row.contains(&format!("fn {function}(")))?;
    let belongs = |row: &&str| row.trim_start().starts_with("//") || row.trim_start().starts_with("#[");
    let above = rows[..at].iter().rev().take_while(|row| belongs(row)).count();
    let indent = rows[at].len() - rows[at].trim_start().len();
    let end = format!("{}}}", " ".repeat(indent));
    let length = rows[at..].iter().position(|row| *row == end)?;
    Some(rows[at - above..=at + length].join("\n"))
}

/// What is wrong with a test or file of a line: `file`, or `file::function`.
fn wrong_with(number: u32, place: &str) -> Option<String> {
    let (file, function) = place.split_once("::").unwrap_or((place, ""));
    if !path(file).is_file() {
        return Some(format!("there is no file {file}"));
    }
    let text = read(file);
    if function.is_empty() {
        return (!cited_in(&text).contains(&number)).then(|| format!("{file} does not cite it"));
    }
    match rows_of(&text, function) {
        None => Some(format!("{file} has no function {function}")),
        Some(rows) => (!cited_in(&rows).contains(&number)).then(|| format!("{function} in {file} does not cite it")),
    }
}

#[test]
fn numbers_are_unique_and_in_order() {
    let numbers: Vec<_> = lines().iter().map(|line| line.number).collect();
    assert_eq!(numbers[0], 1, "{PAGE}: the first line");
    let wrong = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1);
    let wrong: Vec<_> = wrong.map(|pair| format!("line {} follows line {}", pair[1], pair[0])).collect();
    assert!(wrong.is_empty(), "{PAGE}:\n{}", wrong.join("\n"));
}

#[test]
fn each_cited_number_has_a_line() {
    let lines = lines();
    let mut citations = Vec::new();
    for folder in ["crates", "tests"] {
        add_citations(folder, &mut citations);
    }
    assert!(citations.len() > 100, "{} citations", citations.len());
    let mut wrong = Vec::new();
    for Citation { file, row, number } in &citations {
        match lines.iter().find(|line| line.number == *number) {
            None => wrong.push(format!("{file}:{row} cites {number}, which has no line")),
            Some(line) if line.place.starts_with("not done: ") => {
                wrong.push(format!("{file}:{row} cites line {number}, which says that it is not done"));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{PAGE}:\n{}", wrong.join("\n"));
}

#[test]
fn the_test_of_each_line_exists_and_cites_it() {
    let mut wrong = Vec::new();
    for Line { number, place } in lines() {
        let names: Vec<_> = place.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !place.starts_with("not done: ") {
            wrong.push(format!("line {number}: it names no file, and does not say that it is not done"));
        }
        let found = names.into_iter().filter_map(|name| wrong_with(number, name));
        wrong.extend(found.map(|what| format!("line {number}: {what}")));
    }
    assert!(wrong.is_empty(), "{PAGE}:\n{}", wrong.join("\n"));
}
