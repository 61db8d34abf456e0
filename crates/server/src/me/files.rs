//! The files of the page, embedded in the program. It shares some with the phone in the browser.

use crate::web::{self, File};

static FILES: &[File] = web::files!("/me", "/me/":
    "me.css" "also_ring.js" "main.js" "server.js" "view.js",
    "../phone/": "digest.js" "grammar.js" "random.js" "text.js",
    "../web/": "base.css" "icon.svg");

/// The file of this path.
pub(super) fn find(path: &str) -> Option<&'static File> {
    web::find(FILES, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_complete_and_harmless() {
        web::checks::page_is_complete_and_harmless(FILES, "me", "/me/");
        // The password is kept nowhere.
        for file in FILES {
            assert!(!web::checks::text(file).contains("sessionStorage"), "{}", file.path);
        }
    }
}
