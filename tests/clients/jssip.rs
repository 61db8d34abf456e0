//! JsSIP (npm package `jssip`, in the folder that `tests/run` makes): WebSocket as browsers use it, in Node. It knows MD5
//! only. `jssip/phone.mjs` beside this file is the phone.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::Server;
use crate::softphone::{Client, Settings, Softphone};

pub(crate) const JSSIP: Client = Client {
    start,
    call: "call",
    answer: "answer",
    decline: "decline",
    hang_up: "hangup",
    unregister: "unregister",
    rings: "rings",
    hears_ringing: "rings there",
    is_answered: "was answered",
    has_answered: "has answered",
    is_hung_up: "ended",
    has_cancelled: "failed",
    is_cancelled: "failed CANCEL",
    is_busy: "failed 486",
    is_declined: "failed 603",
    declines_with: 603,
};

fn start(server: &Server, settings: &Settings) -> Softphone {
    let folder = TempDir::with_prefix("frontdesk-jssip-").expect("a temporary folder");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let packages = workspace.join(target).join("jssip/node_modules");
    assert!(packages.exists(), "no {}: tests/run makes it", packages.display());
    let mut command = Command::new("node");
    command.arg(workspace.join("tests/clients/jssip/phone.mjs")).arg(packages);
    command.args([&format!("ws://{}", server.websocket()), &settings.identity(), "alice", "wonderland"]);
    Softphone::run(command, folder)
}
