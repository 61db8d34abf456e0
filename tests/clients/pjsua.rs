//! pjsua through its Python bindings (PyPI package `pjsua2-python`, in the virtual environment that `tests/run`
//! creates). `pjsua.py` beside this file is the phone. It responds to MD5, and asks for outbound (RFC 5626) over TCP.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::Server;
use crate::harness::server::fresh_ip;
use crate::softphone::{Client, Settings, Softphone};

pub(crate) const PJSUA: Client = Client {
    start,
    call: "call",
    answer: "answer",
    decline: "decline",
    hang_up: "hangup",
    unregister: "unregister",
    rings: "incoming",
    hears_ringing: "call EARLY",
    is_answered: "call CONFIRMED",
    has_answered: "call CONFIRMED",
    is_hung_up: "call DISCONNECTED",
    has_cancelled: "call DISCONNECTED 487",
    is_cancelled: "call DISCONNECTED",
    is_busy: "call DISCONNECTED 486",
    is_declined: "call DISCONNECTED 603",
    declines_with: 603,
};

fn start(_: &Server, settings: &Settings) -> Softphone {
    let folder = TempDir::with_prefix("frontdesk-pjsua-").expect("a temporary folder");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(python(&workspace));
    command.arg(workspace.join("tests/clients/pjsua.py"));
    command.args([&fresh_ip().to_string(), settings.over.name(), &settings.identity(), &registrar(settings)]);
    command.args(["alice", "wonderland"]);
    if settings.proxy {
        command.arg(format!("{};lr", settings.server));
    }
    Softphone::run(command, folder)
}

/// Without an outbound proxy the URI of the registrar leads to the server; with one it is the domain.
fn registrar(settings: &Settings) -> String {
    if settings.proxy { format!("sip:{}", settings.domain) } else { settings.server.clone() }
}

/// The Python that has the bindings.
fn python(workspace: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let python = workspace.join(target).join("pjsua/bin/python");
    assert!(python.exists(), "no {}: tests/run makes it, and says why it cannot", python.display());
    python
}
