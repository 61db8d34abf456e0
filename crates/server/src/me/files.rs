//! The files of the page, embedded in the program. It shares some with the phone in the browser.
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

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

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
    File { path: "/me", content_type: "text/html; charset=utf-8", content: include_bytes!("index.html") },
    file!("me.css", STYLE),
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

    fn text(file: &File) -> &'static str {
        str::from_utf8(file.content).expect("UTF-8")
    }

    #[test]
    fn every_file_that_is_named_is_served() {
        for file in FILES.iter().filter(|file| file.content_type == SCRIPT) {
            for line in text(file).lines().filter(|line| line.contains(" from \"")) {
                let (_, name) = line.split_once("\"./").expect("a path relative to the module");
                let name = name.trim_end_matches("\";");
                assert!(find(&format!("/me/{name}")).is_some(), "{}: {name}", file.path);
            }
        }
        let page = text(find("/me").expect("the page"));
        for part in page.split("=\"/me/").skip(1) {
            let (name, _) = part.split_once('"').expect("the end of a path");
            assert!(find(&format!("/me/{name}")).is_some(), "{name}");
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
            "sessionStorage",
            "console.",
        ];
        for file in FILES {
            for word in forbidden {
                assert!(!text(file).contains(word), "{} has {word}", file.path);
            }
            assert!(text(file).lines().count() <= 400, "{}", file.path);
        }
    }
}
