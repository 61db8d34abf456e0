//! The text of one account entry with another password.
//!
//! Decides which part of the text is the password, and replaces only that: a YAML library would write `+4989123451` as
//! `4989123451` and `1.10` as `1.1`. Understands the usual layouts only; the caller has to read the result and compare.

use std::ops::Range;

/// The entry, which begins with `- `, with this value of `ha1` instead of its `password` or `ha1`. `None`: its layout is
/// unknown.
pub(super) fn with_ha1(entry: &str, value: &str) -> Option<String> {
    let ha1 = format!("ha1: {value}");
    let as_spaces = entry.replacen('-', " ", 1);
    let first =
        as_spaces.split_inclusive('\n').find(|line| !matches!(line.trim_start().chars().next(), None | Some('#')))?;
    let indent = indent(first);
    if first.get(indent..)?.starts_with('{') {
        return in_braces(entry, entry.find('{')?, &ha1);
    }
    let lines = entry.split_inclusive('\n').zip(as_spaces.split_inclusive('\n'));
    in_lines(lines, indent, &ha1)
}

/// For one key on each line. `lines`: each also without the `-` of the entry.
fn in_lines<'t>(lines: impl Iterator<Item = (&'t str, &'t str)>, key_indent: usize, ha1: &str) -> Option<String> {
    let (mut text, mut is_password, mut is_replaced) = (String::new(), false, false);
    for (line, as_spaces) in lines {
        let indent = indent(as_spaces);
        // The other lines of a value are indented further.
        if indent <= key_indent {
            is_password = indent == key_indent && is_password_item(as_spaces);
        }
        if !is_password {
            text.push_str(line);
        } else if !std::mem::replace(&mut is_replaced, true) {
            text.extend([line.get(..key_indent)?, ha1, "\n"]);
        }
    }
    if !is_replaced {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        text.extend([end, &" ".repeat(key_indent), ha1, "\n"]);
    }
    Some(text)
}

/// For `{ user: 101, password: secret }`.
fn in_braces(entry: &str, open: usize, ha1: &str) -> Option<String> {
    let ranges = items(entry, open)?;
    let close = ranges.last()?.end;
    let (mut items, mut is_replaced) = (Vec::new(), false);
    for item in ranges {
        let item = entry.get(item)?;
        if !is_password_item(item) {
            items.push(item.to_owned());
        } else if !std::mem::replace(&mut is_replaced, true) {
            items.push(item.replacen(item.trim(), ha1, 1));
        }
    }
    if !is_replaced {
        // There may be a comma after the last item.
        let last = items.pop()?;
        match last.trim().is_empty() {
            true => items.extend([format!(" {ha1}"), last]),
            false => items.extend([last.trim_end_matches(' ').to_owned(), format!(" {ha1} ")]),
        }
    }
    Some([entry.get(..=open)?, &items.join(","), entry.get(close..)?].concat())
}

/// The items between the brace at `open` and the one that closes it.
fn items(text: &str, open: usize) -> Option<Vec<Range<usize>>> {
    let octets = text.as_bytes();
    let (mut items, mut begin, mut at, mut depth) = (Vec::new(), open + 1, open + 1, 0_usize);
    let (mut quote, mut previous) = (None, b'{');
    while let Some(&octet) = octets.get(at) {
        match (quote, octet) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(b'\''), b'\'') if octets.get(at + 1) == Some(&b'\'') => at += 1,
            (Some(open), _) => quote = (octet != open).then_some(open),
            // Within a word it is no quote.
            (None, b'"' | b'\'') if matches!(previous, b'{' | b'[' | b',' | b':') => quote = Some(octet),
            (None, b'#') if octets.get(at - 1).is_some_and(u8::is_ascii_whitespace) => {
                at += octets.get(at..)?.iter().position(|octet| *octet == b'\n')?;
            }
            (None, b'{' | b'[') => depth += 1,
            (None, b'}' | b']') if depth > 0 => depth -= 1,
            (None, b',' | b'}') if depth == 0 => {
                items.push(begin..at);
                begin = at + 1;
                if octet == b'}' {
                    return Some(items);
                }
            }
            _ => {}
        }
        if !octet.is_ascii_whitespace() {
            previous = octet;
        }
        at += 1;
    }
    None
}

/// Whether this is `password: VALUE` or `ha1: VALUE`.
fn is_password_item(item: &str) -> bool {
    let key = item.split_once(':').map(|(key, _)| key.trim().trim_matches(['"', '\'']));
    matches!(key, Some("password" | "ha1"))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_is_replaced() {
        for (entry, expected) in [
            (
                "- user: 0x10\n  password: x # old\n  name: 1.10 # version\n",
                "- user: 0x10\n  ha1: H\n  name: 1.10 # version\n",
            ),
            ("- password: x\n  user: 1e3", "- ha1: H\n  user: 1e3"),
            (
                "-   user: a\n    \"ha1\":\n      md5: 1\n      sha-256: 2\n    numbers:\n    - +49\n",
                "-   user: a\n    ha1: H\n    numbers:\n    - +49\n",
            ),
            ("- # reception\n  user: a\n  password:\n    x\n", "- # reception\n  user: a\n  ha1: H\n"),
            ("- user: a\n  name: |\n    password: b\n", "- user: a\n  name: |\n    password: b\n  ha1: H\n"),
            ("- user: a", "- user: a\n  ha1: H\n"),
            (
                "- { user: 0x10, password: x, numbers: [+49, 1e3] } # a\n",
                "- { user: 0x10, ha1: H, numbers: [+49, 1e3] } # a\n",
            ),
            ("- {ha1: { md5: 1, sha-256: 2 },user: a}\n", "- {ha1: H,user: a}\n"),
            (
                "- { user: a, password: \"x, } \\\" y\", name: 'it''s, a' }\n",
                "- { user: a, ha1: H, name: 'it''s, a' }\n",
            ),
            ("- { user: it's, password: x }\n", "- { user: it's, ha1: H }\n"),
            (
                "- { user: a, # b, password: c\n    password: x }\n",
                "- { user: a, # b, password: c\n    password: x, ha1: H }\n",
            ),
            ("- { user: a }\n", "- { user: a, ha1: H }\n"),
            ("- { user: a, }\n", "- { user: a, ha1: H, }\n"),
        ] {
            assert_eq!(with_ha1(entry, "H").as_deref(), Some(expected));
        }
        assert_eq!(with_ha1("- { user: a, password: x\n", "H"), None);
    }
}
