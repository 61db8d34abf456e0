//! twinkle-console, Twinkle without its window (Debian package `twinkle-console`). It knows only MD5 and cannot choose
//! among challenges. Its User-Agent identifies it, so it is offered only MD5. It publishes its presence and subscribes
//! to its voice mail unasked.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::Server;
use crate::softphone::{Client, Settings, Softphone, free_port};

pub(crate) const TWINKLE: Client = Client {
    start,
    call: "call",
    answer: "answer",
    decline: "reject",
    hang_up: "bye",
    unregister: "deregister",
    rings: "incoming call",
    hears_ringing: "received 180",
    is_answered: "far end answered call",
    has_answered: "call established",
    is_hung_up: "far end ended call",
    has_cancelled: "call ended.",
    is_cancelled: "far end cancelled call",
    is_busy: "486",
    is_declined: "603",
    declines_with: 486,
};

fn start(server: &Server, settings: &Settings) -> Softphone {
    let folder = TempDir::with_prefix("frontdesk-twinkle-").expect("a temporary folder");
    let home = folder.path().join(".twinkle");
    fs::create_dir(&home).expect("a folder");
    fs::write(home.join("twinkle.sys"), system()).expect("a file");
    fs::write(home.join("alice.cfg"), profile(server, settings)).expect("a file");
    Softphone::run(Command::new("twinkle-console"), folder)
}

fn system() -> String {
    let (sip, rtp) = (free_port(), free_port());
    format!(
        "dev_ringtone=alsa:null\ndev_speaker=alsa:null\ndev_mic=alsa:null\nplay_ringtone=no\nplay_ringback=no\n\
         validate_audio_dev=no\nsip_port={sip}\nrtp_port={rtp}\nstart_user_profile=alice\ncall_waiting=no\n"
    )
}

fn profile(server: &Server, settings: &Settings) -> String {
    let (ip, domain, over) = (server.ip(), &settings.domain, settings.over.name());
    let proxy = if settings.proxy {
        format!("outbound_proxy={ip};transport={over};lr\nall_requests_to_proxy=yes\n")
    } else {
        String::new()
    };
    format!(
        "user_name=alice\nuser_domain={domain}\nauth_name=alice\nauth_pass=wonderland\nauth_realm=\n\
         registrar={ip};transport={over}\nregister_at_startup=yes\nregistration_time=600\ncodecs=g711u\n\
         sip_transport={over}\n{proxy}"
    )
}
