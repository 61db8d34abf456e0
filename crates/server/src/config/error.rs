//! What is wrong with a configuration file, and where: file, line, key, what was expected.
//!
//! YAML errors carry their place. A conflict between two values does not; its place is found by walking the text again
//! along the path of the key and failing there on purpose.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not say what it should.
    #[error("{}:{position} {message}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// Where in it.
        position: Position,
        /// The key, and what was expected.
        message: String,
    },
}

/// A line and column, from 1; nothing if the whole file is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position(pub(crate) Option<(usize, usize)>);

/// One step on the way to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathStep {
    /// Into a mapping.
    Key(&'static str),
    /// Into a list, from 0.
    Item(usize),
}

/// A value that does not fit the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// Which value.
    pub(crate) path: Vec<PathStep>,
    /// What was expected.
    pub(crate) message: String,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((line, column)) => write!(f, "{line}:{column}:"),
            None => Ok(()),
        }
    }
}

impl ConfigError {
    /// What the YAML reader says of `text`.
    pub(crate) fn yaml(file: &Path, text: &str, error: &serde_yaml::Error) -> Self {
        let mut message = error.to_string();
        // The reader puts the place last; here it stands first, as editors like it.
        if let Some(at) = message.rfind(" at line ") {
            message.truncate(at);
        }
        let mut position = Position(error.location().map(|location| (location.line(), location.column())));
        if let Some(key) = between(&message, "duplicate field `", "`").map(str::to_owned) {
            position = second_position_of(text, &key).unwrap_or(position);
            message = format!("{key}: is here a second time, expected once");
        }
        message = in_yaml_terms(&message, text, position);
        if let Some(suggestion) = closest_key(&message).map(|suggestion| format!("; did you mean `{suggestion}`?")) {
            message.push_str(&suggestion);
        }
        Self::Content { file: file.to_owned(), position, message }
    }

    /// A conflict, with its place in `text`.
    pub(crate) fn conflict(file: &Path, text: &str, conflict: &Conflict) -> Self {
        let position = find_position(text, &conflict.path);
        let message = format!("{}: {}", DottedPath(&conflict.path), conflict.message);
        Self::Content { file: file.to_owned(), position, message }
    }
}

/// What the reader says, without Rust's names for the shapes of YAML.
fn in_yaml_terms(message: &str, text: &str, Position(position): Position) -> String {
    if let Some((before, name)) = message.split_once("expected struct ") {
        let key = name.to_lowercase();
        return format!("{before}expected keys and values of its own, as in `{key}: {{ key: value }}`");
    }
    let line = position.and_then(|(line, _)| text.lines().nth(line.checked_sub(1)?)).unwrap_or_default();
    if message.contains("cannot start any token") && line.contains('\t') {
        return "a tab, expected spaces: YAML has no tabs at the start of a line".to_owned();
    }
    message.replace("expected a sequence", "expected a list, as in `[one, two]`")
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

/// Where a key stands for the second time at the same depth: of two of them the reader tells the place of what holds both.
fn second_position_of(text: &str, key: &str) -> Option<Position> {
    let places = text.lines().enumerate().filter_map(|(line, content)| {
        let own = content.trim_start().strip_prefix(key)?;
        let depth = content.len() - content.trim_start().len();
        own.trim_start().starts_with(':').then_some((line + 1, depth))
    });
    let places: Vec<_> = places.collect();
    let is_second = |at: usize, depth: usize| places.iter().take(at).any(|(_, other)| *other == depth);
    let (line, depth) =
        places.iter().enumerate().find_map(|(at, &(line, depth))| is_second(at, depth).then_some((line, depth)))?;
    Some(Position(Some((line, depth + 1))))
}

/// The expected key that is most like the unknown one: both stand in what serde says, between backticks.
fn closest_key(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("unknown field ")?;
    let mut names = rest.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    let similarity = |name: &&str| strsim::normalized_damerau_levenshtein(unknown, name);
    let best = names.max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(&best) >= MIN_SIMILARITY).then_some(best)
}

/// Below it a suggestion puzzles more than it helps.
const MIN_SIMILARITY: f64 = 0.6;

struct DottedPath<'a>(&'a [PathStep]);

impl fmt::Display for DottedPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                PathStep::Key(key) if at == 0 => f.write_str(key)?,
                PathStep::Key(key) => write!(f, ".{key}")?,
                PathStep::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

/// Where the value at the end of `path` begins, or the last value on the way that is there.
fn find_position(text: &str, path: &[PathStep]) -> Position {
    (0..=path.len())
        .rev()
        .filter_map(|length| path.get(..length))
        .find_map(|path| {
            let error = Probe(path).deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
            let location = error.location().filter(|_| error.to_string().contains(FOUND))?;
            Some(Position(Some((location.line(), location.column()))))
        })
        .unwrap_or_default()
}

const FOUND: &str = "the place that was looked for";

/// Walks along a path and fails at its end, so that the reader tells the place.
struct Probe<'a>(&'a [PathStep]);

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { FOUND } else { "a mapping or list" })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((PathStep::Key(wanted), rest)) = self.0.split_first() else { return Err(A::Error::custom(FOUND)) };
        while let Some(key) = map.next_key::<String>()? {
            if key == *wanted {
                map.next_value_seed(Probe(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((PathStep::Item(wanted), rest)) = self.0.split_first() else { return Err(A::Error::custom(FOUND)) };
        for _ in 0..*wanted {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element_seed(Probe(rest))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_found() {
        let text = "# one\na: 1\nb:\n  c: [x, y]\n  d:\n    - { e: 1, f: two }\n    - { e: 3 }\n";
        let at = |path: &[PathStep]| find_position(text, path).0.map(|(line, _)| line);
        use PathStep::{Item, Key};
        assert_eq!(at(&[Key("a")]), Some(2));
        assert_eq!(at(&[Key("b"), Key("c"), Item(1)]), Some(4));
        assert_eq!(at(&[Key("b"), Key("d"), Item(0), Key("f")]), Some(6));
        assert_eq!(at(&[Key("b"), Key("d"), Item(1), Key("e")]), Some(7));
        // A key that is not there: its mapping.
        assert_eq!(at(&[Key("b"), Key("d"), Item(1), Key("f")]), Some(7));
        assert_eq!(at(&[Key("z")]), Some(2));
    }
}
