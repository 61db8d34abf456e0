//! What the pages in a browser share: the status page (`admin/page`), the phone (`phone`) and the rules of a user (`me`).
//!
//! Decides which headers make browsers enforce the limits of a page, and the content type of a file. Must not decide which
//! files a page has.

use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, SERVER};

/// A file of a page, embedded in the program.
#[derive(Debug)]
pub(crate) struct File {
    /// Path of its URL.
    pub(crate) path: &'static str,
    /// The file itself.
    pub(crate) content: &'static [u8],
}

impl File {
    /// Value of Content-Type, by the ending of the path. The path of a page has none.
    pub(crate) fn content_type(&self) -> &'static str {
        match self.path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        }
    }
}

/// The files of a page: `index.html` at the path of the page, and below another path the files beside the source file that
/// lists them, and files of other folders. Only what is listed is served.
macro_rules! files {
    ($page:literal, $below:literal: $($name:literal)* $(, $folder:literal: $($shared:literal)*)*) => {
        &[
            $crate::web::File { path: $page, content: include_bytes!("index.html") },
            $($crate::web::File { path: concat!($below, $name), content: include_bytes!($name) },)*
            $($($crate::web::File {
                path: concat!($below, $shared),
                content: include_bytes!(concat!($folder, $shared)),
            },)*)*
        ]
    };
}
pub(crate) use files;

/// The file of this path.
pub(crate) fn find(files: &'static [File], path: &str) -> Option<&'static File> {
    files.iter().find(|file| file.path == path)
}

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
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The text of a file.
    pub(crate) fn text(file: &File) -> &'static str {
        str::from_utf8(file.content).expect("UTF-8")
    }

    /// Every file of the folder is served, and so is what the page and its modules name. Nothing of another origin is
    /// loaded, no text becomes HTML, and no file has more than 400 lines.
    pub(crate) fn page_is_complete_and_harmless(files: &'static [File], folder: &str, below: &str) {
        folder_is_served(files, folder, below);
        let is_served = |path: &str| assert!(find(files, path).is_some(), "{path}");
        let page = text(files.first().expect("the page"));
        for part in page.split(&format!("=\"{below}")).skip(1) {
            let (name, _) = part.split_once('"').expect("the end of a path");
            is_served(&format!("{below}{name}"));
        }
        for file in files.iter().filter(|file| file.path.ends_with(".js")) {
            for line in text(file).lines().filter(|line| line.contains(" from \"")) {
                let (_, name) = line.split_once("\"./").expect("a path relative to the module");
                is_served(&format!("{below}{}", name.trim_end_matches("\";")));
            }
        }
        files_are_harmless(files);
    }

    fn folder_is_served(files: &'static [File], folder: &str, below: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
        for entry in fs::read_dir(folder).expect("the folder") {
            let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
            // `package.json` is for the tests.
            if [".js", ".css", ".svg"].iter().any(|ending| name.ends_with(ending)) {
                assert!(find(files, &format!("{below}{name}")).is_some(), "{name}");
            }
        }
    }

    fn files_are_harmless(files: &[File]) {
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
