//! The files of the page, embedded in the program. It shares some with the phone in the browser.
//!
//! Decides the content type of each file. Only what is listed here is served.

use crate::web::{File, HTML, SCRIPT, STYLE};

macro_rules! file {
    ($name:literal, $content_type:expr) => {
        File { path: concat!("/me/", $name), content_type: $content_type, content: include_bytes!($name) }
    };
    (phone $name:literal, $content_type:expr) => {
        File {
            path: concat!("/me/", $name),
            content_type: $content_type,
            content: include_bytes!(concat!("../phone/", $name)),
        }
    };
}

/// Every file that is served.
static FILES: &[File] = &[
    File { path: "/me", content_type: HTML, content: include_bytes!("index.html") },
    file!("me.css", STYLE),
    file!("also_ring.js", SCRIPT),
    file!("main.js", SCRIPT),
    file!("server.js", SCRIPT),
    file!("view.js", SCRIPT),
    file!(phone "phone.css", STYLE),
    file!(phone "icon.svg", "image/svg+xml"),
    file!(phone "digest.js", SCRIPT),
    file!(phone "grammar.js", SCRIPT),
    file!(phone "random.js", SCRIPT),
    file!(phone "text.js", SCRIPT),
];

/// The file of this path.
pub(super) fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::checks::{files_are_harmless, imports_are_served, text};

    #[test]
    fn every_file_that_is_named_is_served() {
        imports_are_served(FILES, "/me");
        let page = text(find("/me").expect("the page"));
        for part in page.split("=\"/me/").skip(1) {
            let (name, _) = part.split_once('"').expect("the end of a path");
            assert!(find(&format!("/me/{name}")).is_some(), "{name}");
        }
    }

    #[test]
    fn nothing_of_another_origin_is_loaded_and_no_text_becomes_html() {
        files_are_harmless(FILES);
        // The password is kept nowhere.
        for file in FILES {
            assert!(!text(file).contains("sessionStorage"), "{}", file.path);
        }
    }
}
