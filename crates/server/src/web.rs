//! What the pages that users open in a browser share: the phone (`phone`) and the rules of a user (`me`).
//!
//! Decides which headers make browsers enforce the limits of a page. Must not decide which files a page has.

use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, SERVER};

/// A file of a page, embedded in the program.
#[derive(Debug)]
pub(crate) struct File {
    /// Path of its URL.
    pub(crate) path: &'static str,
    /// Value of Content-Type.
    pub(crate) content_type: &'static str,
    /// The file itself.
    pub(crate) content: &'static [u8],
}

/// Content-Type of a page.
pub(crate) const HTML: &str = "text/html; charset=utf-8";
/// Content-Type of a module.
pub(crate) const SCRIPT: &str = "text/javascript; charset=utf-8";
/// Content-Type of a style sheet.
pub(crate) const STYLE: &str = "text/css; charset=utf-8";

/// Headers of each response.
const HEADERS: [(HeaderName, &str); 5] = [
    // A new version of the server must not meet modules of the old one, and the rules of a user are nobody else's.
    (CACHE_CONTROL, "no-store"),
    (SERVER, "frontdesk"),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("x-frame-options"), "DENY"),
    (HeaderName::from_static("referrer-policy"), "no-referrer"),
];

/// Adds the headers that each response has.
pub(crate) fn add_headers(headers: &mut HeaderMap) {
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
}

/// A Content-Security-Policy: nothing of another origin is loaded, and no text can become HTML or a script. `connect`: what
/// follows `connect-src 'self'`.
pub(crate) fn policy(connect: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{connect}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'"
    )
}

#[cfg(test)]
pub(crate) mod checks {
    use super::*;

    /// The text of a file.
    pub(crate) fn text(file: &File) -> &'static str {
        str::from_utf8(file.content).expect("UTF-8")
    }

    /// Each module that one of the files imports is one of them, below `folder`.
    pub(crate) fn imports_are_served(files: &[File], folder: &str) {
        for file in files.iter().filter(|file| file.content_type == SCRIPT) {
            for line in text(file).lines().filter(|line| line.contains(" from \"")) {
                let (_, name) = line.split_once("\"./").expect("a path relative to the module");
                let path = format!("{folder}/{}", name.trim_end_matches("\";"));
                assert!(files.iter().any(|file| file.path == path), "{}: {path}", file.path);
            }
        }
    }

    /// Nothing of another origin is loaded, no text becomes HTML, and no file has more than 400 lines.
    pub(crate) fn files_are_harmless(files: &[File]) {
        let forbidden = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "style=",
            "onclick",
            "src=\"http",
            "href=\"http",
            "url(",
            "@import",
            "localStorage",
            "console.",
        ];
        for file in files {
            for word in forbidden {
                assert!(!text(file).contains(word), "{} has {word}", file.path);
            }
            assert!(text(file).lines().count() <= 400, "{}", file.path);
        }
    }
}
