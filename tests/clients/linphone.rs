//! linphonec, the command line of Linphone (Debian package `linphone-cli`). It responds to SHA-256.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::Server;
use crate::softphone::{Client, Over, Settings, Softphone};

pub(crate) const LINPHONE: Client = Client {
    start,
    call: "call",
    answer: "answer",
    decline: "terminate",
    hang_up: "terminate",
    unregister: "unregister",
    rings: "Receiving new incoming call from",
    hears_ringing: "ringing.",
    is_answered: "connected.",
    has_answered: "connected.",
    is_hung_up: "ended",
    has_cancelled: "ended",
    is_cancelled: "ended",
    is_busy: "error.",
    is_declined: "Call declined",
    declines_with: 603,
};

fn start(_: &Server, settings: &Settings) -> Softphone {
    let folder = TempDir::with_prefix("frontdesk-linphone-").expect("a temporary folder");
    let config = folder.path().join("linphonerc");
    fs::write(&config, configuration(settings)).expect("a file");
    // The folder of its databases, which it does not create itself.
    fs::create_dir_all(folder.path().join(".local/share/linphone")).expect("a folder");
    let mut command = Command::new("linphonec");
    command.args(["-d", "6", "-l", "linphone.log", "-c"]).arg(config);
    Softphone::run(command, folder)
}

/// Port -1 is any free port. Unless it is configured not to check, it takes a machine without a route to the internet
/// for one without a network.
fn configuration(settings: &Settings) -> String {
    let (server, identity) = (&settings.server, settings.identity());
    let route = if settings.proxy { format!("reg_route=<{server};lr>\n") } else { String::new() };
    let (udp, tcp) = if settings.over == Over::Tcp { (0, -1) } else { (-1, 0) };
    format!(
        "[sip]\nsip_port={udp}\nsip_tcp_port={tcp}\nsip_tls_port=0\nauto_net_state_mon=0\nregister_only_when_network_is_up=0\nguess_hostname=0\n\
         contact=\"alice\" <sip:alice@127.0.0.1>\ndefault_proxy=0\n\
         [rtp]\naudio_rtp_port=-1\n[misc]\nmax_calls=1\n\
         [auth_info_0]\nusername=alice\npasswd=wonderland\nrealm=office.example\n\
         [proxy_0]\nreg_proxy=<{server}>\n{route}reg_identity={identity}\nreg_expires=600\nreg_sendregister=1\n"
    )
}
