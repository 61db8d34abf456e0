//! The status page at `/`: its files, embedded in the program.
//!
//! Decides the content type of each file. Only what is listed here is served. The page has no secrets: it reads the API,
//! which asks for the token.

use crate::web::{File, HTML, SCRIPT, STYLE};

macro_rules! file {
    ($name:literal, $content_type:expr) => {
        File { path: concat!("/page/", $name), content_type: $content_type, content: include_bytes!($name) }
    };
}

static FILES: &[File] = &[
    File { path: "/", content_type: HTML, content: include_bytes!("index.html") },
    file!("page.css", STYLE),
    file!("api.js", SCRIPT),
    file!("calls.js", SCRIPT),
    file!("defence.js", SCRIPT),
    file!("elements.js", SCRIPT),
    file!("graphs.js", SCRIPT),
    file!("log.js", SCRIPT),
    file!("main.js", SCRIPT),
    file!("office.js", SCRIPT),
    file!("traces.js", SCRIPT),
    file!("users.js", SCRIPT),
    file!("words.js", SCRIPT),
    File { path: "/page/icon.svg", content_type: "image/svg+xml", content: include_bytes!("../../phone/icon.svg") },
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
        imports_are_served(FILES, "/page");
        let page = text(find("/").expect("the page"));
        for part in page.split("=\"/page/").skip(1) {
            let (name, _) = part.split_once('"').expect("the end of a path");
            assert!(find(&format!("/page/{name}")).is_some(), "{name}");
        }
    }

    #[test]
    fn every_id_that_a_module_uses_is_in_the_page() {
        let page = text(find("/").expect("the page"));
        for file in FILES.iter().filter(|file| file.content_type == SCRIPT) {
            for part in text(file).split("at(\"").skip(1) {
                let (id, _) = part.split_once('"').expect("the end of an id");
                assert!(page.contains(&format!("id=\"{id}\"")), "{}: {id}", file.path);
            }
        }
    }

    #[test]
    fn nothing_of_another_origin_is_loaded_and_no_text_becomes_html() {
        files_are_harmless(FILES);
    }
}
