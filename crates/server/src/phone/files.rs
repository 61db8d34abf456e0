//! The files of the page, embedded in the program.

use crate::web::{self, File};

static FILES: &[File] = web::files!("/phone", "/phone/":
    "phone.css" "address.js" "agent.js" "call.js" "capabilities.js" "clock.js" "connection.js" "dialog.js" "digest.js"
    "grammar.js" "incoming.js" "main.js" "media.js" "message.js" "outgoing.js" "random.js" "reasons.js" "register.js"
    "text.js" "tone.js" "transaction.js" "view.js",
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
        web::checks::page_is_complete_and_harmless(FILES, "phone", "/phone/");
    }
}
