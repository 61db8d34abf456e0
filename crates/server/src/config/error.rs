//! Errors of a configuration file: file, line, key, what was expected.
//!
//! YAML errors have a position. The position of a conflict is found by deserialising the text again along the path of
//! the key, with a visitor that fails there.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::text::io_error::{describe_io_error, full};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A configuration with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {}", full(file), describe_io_error(source))]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file has an invalid value.
    #[error("{}:{position} {message}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// The position.
        position: Position,
        /// The key, and what was expected.
        message: String,
    },
}

/// A line and column, from 1; `None` for the whole file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position(pub(crate) Option<(usize, usize)>);

/// One step of the path to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathStep {
    /// Into a mapping.
    Key(&'static str),
    /// Into a mapping whose keys the administrator chooses.
    Name(Box<str>),
    /// Into a list, from 0.
    Item(usize),
}

/// A value that conflicts with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// Which value.
    pub(crate) path: Vec<PathStep>,
    /// What was expected.
    pub(crate) message: String,
}

impl Conflict {
    /// The key of the value, like `also_ring[0].to`.
    pub(crate) fn key(&self) -> String {
        DottedPath(&self.path).to_string()
    }
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
    /// Without a position, for text that is not in a file yet.
    pub(crate) fn without_position(&self) -> String {
        match self {
            Self::Read { .. } => self.to_string(),
            Self::Content { message, .. } => message.clone(),
        }
    }

    /// An error of the YAML reader.
    pub(crate) fn yaml(file: &Path, text: &str, error: &serde_yaml::Error) -> Self {
        let mut message = error.to_string();
        // The reader puts the position last; editors expect it first.
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

    /// A conflict, with its position in `text`.
    pub(crate) fn conflict(file: &Path, text: &str, conflict: &Conflict) -> Self {
        let position = find_position(text, &conflict.path);
        let message = format!("{}: {}", DottedPath(&conflict.path), conflict.message);
        Self::Content { file: file.to_owned(), position, message }
    }
}

/// The message of the reader in terms of YAML instead of Rust types.
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

/// The position of the second key at the same depth: for duplicate keys the reader reports the position of the
/// mapping.
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

/// The expected key that is most similar to the unknown one. The message of serde contains both in backticks.
fn closest_key(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("unknown field ")?;
    let mut names = rest.split('`').skip(1).step_by(2);
    let unknown = names.next()?;
    let similarity = |name: &&str| strsim::normalized_damerau_levenshtein(unknown, name);
    let best = names.max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    (similarity(&best) >= MIN_SIMILARITY).then_some(best)
}

/// Less similar keys are not suggested.
const MIN_SIMILARITY: f64 = 0.6;

struct DottedPath<'a>(&'a [PathStep]);

impl fmt::Display for DottedPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                PathStep::Key(key) if at == 0 => f.write_str(key)?,
                PathStep::Key(key) => write!(f, ".{key}")?,
                PathStep::Name(name) => write!(f, ".{name}")?,
                PathStep::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

/// The position of the value at `path`, or of the last value on the path that exists.
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

/// Follows a path and fails at its end, so that the reader reports the position.
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
        let (wanted, rest) = match self.0.split_first() {
            Some((PathStep::Key(wanted), rest)) => (*wanted, rest),
            Some((PathStep::Name(wanted), rest)) => (&**wanted, rest),
            _ => return Err(A::Error::custom(FOUND)),
        };
        while let Some(key) = map.next_key::<String>()? {
            if key == wanted {
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
    fn the_position_of_every_path_is_found() {
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
