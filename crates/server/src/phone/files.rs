//! The files of the page, embedded in the program.
//!
//! Decides the content type of each file. Only what is listed here is served.

/// A file of the page.
#[derive(Debug)]
pub(super) struct File {
    /// Path of its URL.
    pub(super) path: &'static str,
    /// Value of Content-Type.
    pub(super) content_type: &'static str,
    /// The file itself.
    pub(super) content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($name:literal, $content_type:expr) => {
        File { path: concat!("/phone/", $name), content_type: $content_type, content: include_bytes!($name) }
    };
}

/// Every file that is served. `package.json` is for the tests.
static FILES: &[File] = &[
    File { path: "/phone", content_type: HTML, content: include_bytes!("index.html") },
    file!("phone.css", "text/css; charset=utf-8"),
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

    fn text(file: &File) -> &'static str {
        str::from_utf8(file.content).expect("UTF-8")
    }

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
        for file in FILES.iter().filter(|file| file.content_type == SCRIPT) {
            for line in text(file).lines().filter(|line| line.contains(" from \"")) {
                let (_, name) = line.split_once("\"./").expect("a path relative to the module");
                let name = name.trim_end_matches("\";");
                assert!(find(&format!("/phone/{name}")).is_some(), "{}: {name}", file.path);
            }
        }
    }

    #[test]
    fn nothing_of_another_origin_is_loaded_and_no_text_becomes_html() {
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
        for file in FILES {
            for word in forbidden {
                assert!(!text(file).contains(word), "{} has {word}", file.path);
            }
        }
    }

    #[test]
    fn a_file_has_at_most_400_lines() {
        for file in FILES {
            assert!(text(file).lines().count() <= 400, "{}", file.path);
        }
    }
}
