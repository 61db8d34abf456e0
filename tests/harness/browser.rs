//! A headless browser, controlled over its debugging pipe: opens a page, evaluates expressions, clicks.
//!
//! The protocol of Chromium (one JSON object for each message, ended by a NUL) over two FIFOs that a shell passes as
//! descriptors 3 and 4. It is ended by its own process id after the test.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Process;
use super::{PATIENCE, wait_for};

/// The option that lets two browsers of one machine without a network exchange sound.
pub(crate) const LOOPBACK: &str = "--allow-loopback-in-peer-connection";

/// A running browser with one page.
pub(crate) struct Browser {
    to: File,
    from: BufReader<File>,
    session: Value,
    number: u64,
    _process: Process,
    _folder: TempDir,
}

impl Browser {
    /// Opens a page. The browser ends after two minutes, which are enough for any test.
    pub(crate) fn open(url: &str) -> Self {
        Self::open_with(url, &[LOOPBACK], |_| {})
    }

    /// The same with other options, after `prepare` has put files into the home folder of the browser.
    pub(crate) fn open_with(url: &str, options: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = TempDir::with_prefix("frontdesk-browser-").expect("a temporary folder");
        let [to, from] = ["to", "from"].map(|name| folder.path().join(name));
        let made = Command::new("mkfifo").args([&to, &from]).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo (coreutils) is needed");
        prepare(folder.path());
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "exec timeout -k 5 120 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars \
            --use-fake-device-for-media-stream --use-fake-ui-for-media-stream --autoplay-policy=no-user-gesture-required \
            --remote-debugging-pipe --user-data-dir=\"$0/profile\" \"$@\" 3<\"$0/to\" 4>\"$0/from\" 2>\"$0/log\"",
        ]);
        let process = Process::spawn(shell.arg(folder.path()).args(options).env("HOME", folder.path()));
        // Opening a FIFO waits for the other end; the shell opens them in this order.
        let to = OpenOptions::new().write(true).open(to).expect("the way to the browser");
        let from = BufReader::new(File::open(from).expect("the way from the browser"));
        let mut browser = Self { to, from, session: Value::Null, number: 0, _process: process, _folder: folder };
        let target = browser.call("Target.createTarget", json!({ "url": url }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].clone();
        browser
    }

    /// The value of an expression in the page; a promise is awaited.
    #[track_caller]
    pub(crate) fn ask(&mut self, expression: &str) -> Value {
        self.evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.try_call("Runtime.evaluate", asked)?;
        if answer["exceptionDetails"].is_null() {
            Ok(answer["result"]["value"].clone())
        } else {
            Err(answer["exceptionDetails"].clone())
        }
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub(crate) fn shows(&mut self, expression: &str) {
        if !self.comes_to_show(expression) {
            panic!("{expression} is not so:\n{}", self.ask("document.body.innerText"));
        }
    }

    /// Waits until an expression is true. False if that takes too long.
    pub(crate) fn comes_to_show(&mut self, expression: &str) -> bool {
        // Before the page is loaded, its elements do not exist.
        let early = format!("(() => {{ try {{ return {expression} }} catch {{ return false }} }})()");
        let shown = wait_for(PATIENCE, || {
            // The page polls the server every two seconds.
            std::thread::sleep(Duration::from_millis(50));
            // While a page is being loaded, nothing can be evaluated.
            (self.evaluate(&early) == Ok(Value::Bool(true))).then_some(())
        });
        shown.is_some()
    }

    /// Presses and releases a key.
    pub(crate) fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key, "text": "\r", "windowsVirtualKeyCode": 13 });
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Sets the size of the page.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Makes the page as narrow as a phone: it does not scroll sideways, and nothing sticks out of its section.
    #[track_caller]
    pub(crate) fn fits_a_phone(&mut self, height: u32) {
        self.resize(390, height);
        assert_eq!(self.ask("document.documentElement.scrollWidth"), 390);
        let too_wide = self.ask(
            "[...document.querySelectorAll('section *')].filter(element => element.getClientRects().length && \
             element.getBoundingClientRect().right > element.closest('section').getBoundingClientRect().right) \
             .map(element => element.outerHTML.slice(0, 100)).join('\\n')",
        );
        assert_eq!(too_wide, "");
    }

    /// Saves a picture of the page for a person to look at.
    pub(crate) fn picture(&mut self, path: &Path) {
        let data = self.call("Page.captureScreenshot", json!({ "format": "png" }))["data"].clone();
        let mut decode = Command::new("base64");
        decode.arg("--decode").stdin(std::process::Stdio::piped()).stdout(File::create(path).expect("a file"));
        let mut decode = decode.spawn().expect("base64 (coreutils) is needed");
        let text = data.as_str().expect("a picture").to_owned();
        decode.stdin.take().expect("its input").write_all(text.as_bytes()).expect("it reads");
        assert!(decode.wait().expect("it ends").success());
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": params });
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser reads");
        loop {
            let mut text = Vec::new();
            self.from.read_until(0, &mut text).expect("the browser answers");
            assert!(text.pop().is_some(), "the browser has ended");
            let answer: Value = serde_json::from_slice(&text).expect("JSON");
            if answer["id"] == self.number {
                let error = &answer["error"];
                return if error.is_null() { Ok(answer["result"].clone()) } else { Err(error.clone()) };
            }
        }
    }
}
