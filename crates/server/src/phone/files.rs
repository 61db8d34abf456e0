//! The files of the page, embedded in the program.
//!
//! Decides the content type of each file. Only what is listed here is served.

use crate::web::{File, HTML, SCRIPT, STYLE};

macro_rules! file {
    ($name:literal, $content_type:expr) => {
        File { path: concat!("/phone/", $name), content_type: $content_type, content: include_bytes!($name) }
    };
}

/// Every file that is served. `package.json` is for the tests.
static FILES: &[File] = &[
    File { path: "/phone", content_type: HTML, content: include_bytes!("index.html") },
    file!("phone.css", STYLE),
    file!("icon.svg", "image/svg+xml"),
    file!("address.js", SCRIPT),
    file!("agent.js", SCRIPT),
    file!("call.js", SCRIPT),
    file!("capabilities.js", SCRIPT),
    file!("clock.js", SCRIPT),
    file!("connection.js", SCRIPT),
    file!("dialog.js", SCRIPT),
    file!("digest.js", SCRIPT),
    file!("grammar.js", SCRIPT),
    file!("incoming.js", SCRIPT),
    file!("main.js", SCRIPT),
    file!("media.js", SCRIPT),
    file!("message.js", SCRIPT),
    file!("outgoing.js", SCRIPT),
    file!("random.js", SCRIPT),
    file!("reasons.js", SCRIPT),
    file!("register.js", SCRIPT),
    file!("text.js", SCRIPT),
    file!("tone.js", SCRIPT),
    file!("transaction.js", SCRIPT),
    file!("view.js", SCRIPT),
];

/// The file of this path.
pub(super) fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::web::checks::{files_are_harmless, imports_are_served};

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/phone");
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .filter(|name| name != "index.html" && name != "package.json" && !name.ends_with(".rs"))
            .map(|name| format!("/phone/{name}"))
            .collect();
        names.push("/phone".to_owned());
        names.sort();
        let mut served: Vec<_> = FILES.iter().map(|file| file.path.to_owned()).collect();
        served.sort();
        assert_eq!(served, names);
    }

    #[test]
    fn every_module_that_is_imported_is_served() {
        imports_are_served(FILES, "/phone");
    }

    #[test]
    fn nothing_of_another_origin_is_loaded_and_no_text_becomes_html() {
        files_are_harmless(FILES);
    }
}
