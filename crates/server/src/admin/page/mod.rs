//! The status page at `/`: its files, embedded in the program. The page has no secrets: it reads the API, which asks for the
//! token.

use crate::web::{self, File};

static FILES: &[File] = web::files!("/", "/page/":
    "page.css" "api.js" "calls.js" "defence.js" "elements.js" "graphs.js" "log.js" "main.js" "office.js" "traces.js"
    "users.js" "words.js",
    "../../web/": "base.css" "icon.svg");

/// The file of this path.
pub(super) fn find(path: &str) -> Option<&'static File> {
    web::find(FILES, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::checks::{page_is_complete_and_harmless, text};

    #[test]
    fn the_page_is_complete_and_harmless() {
        page_is_complete_and_harmless(FILES, "admin/page", "/page/");
    }

    #[test]
    fn every_id_that_a_module_uses_is_in_the_page() {
        let page = text(find("/").expect("the page"));
        for file in FILES.iter().filter(|file| file.path.ends_with(".js")) {
            for part in text(file).split("at(\"").skip(1) {
                let (id, _) = part.split_once('"').expect("the end of an id");
                assert!(page.contains(&format!("id=\"{id}\"")), "{}: {id}", file.path);
            }
        }
    }
}
