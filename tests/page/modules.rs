//! The JavaScript modules of the phone in the browser, by the test runner of Node.js.

use std::path::Path;
use std::process::Command;

#[test]
fn the_modules_of_the_phone_pass_their_tests() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/phone");
    let mut files: Vec<_> = folder
        .read_dir()
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    let output = Command::new("timeout").args(["120", "node", "--test"]).args(files).output();
    let output = output.expect("timeout (coreutils) is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
