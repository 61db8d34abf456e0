//! The text of the requests to trunks: REGISTER (RFC 3261 10.2) and OPTIONS (RFC 3261 11.1).

use parser::{HeaderName, Method, Transport, escape_user, write_decimal, write_hex};

use crate::auth::Answerable;
use crate::event::TrunkTask;
use crate::forward::{NotifyId, ViaBranch, write_own_address, write_via_value};
use crate::hop::Hop;
use crate::settings::{Settings, Trunk};
use crate::target::ToTrunk;

/// What a request consists of.
pub(super) struct Parts<'a> {
    pub(super) trunk: &'a Trunk,
    pub(super) task: TrunkTask,
    pub(super) call_id: u64,
    pub(super) sequence: u32,
    pub(super) expires: u32,
    pub(super) hop: &'a Hop,
    /// The worker that gets the response, and the request.
    pub(super) branch: (u8, NotifyId),
    pub(super) cnonce: u64,
}

/// Writes the request, with credentials if there is a challenge.
pub(super) fn write(parts: &Parts<'_>, challenge: Option<&mut Answerable>, settings: &Settings, out: &mut Vec<u8>) {
    let Parts { trunk, task, call_id, sequence, expires, hop, branch: (worker, id), cnonce } = parts;
    let method = method(*task);
    let mut uri = b"sip:".to_vec();
    uri.extend_from_slice(&ToTrunk::host(trunk));
    let aor = aor(trunk);
    let line = |name: HeaderName, out: &mut Vec<u8>| {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
    };
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(&uri);
    out.extend_from_slice(b" SIP/2.0\r\n");
    line(HeaderName::Via, out);
    write_via_value(out, hop, &ViaBranch::Trunk { worker: *worker, id: *id }, settings);
    out.extend_from_slice(b"\r\nMax-Forwards: 70\r\nFrom: <");
    out.extend_from_slice(&aor);
    out.extend_from_slice(b">;tag=");
    write_hex(out, id.subscription >> 32, 8);
    out.extend_from_slice(b"\r\nTo: <");
    out.extend_from_slice(&aor);
    out.extend_from_slice(b">\r\nCall-ID: ");
    write_hex(out, *call_id, 16);
    out.extend_from_slice(b"\r\nCSeq: ");
    write_decimal(out, *sequence);
    out.push(b' ');
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(b"\r\nContact: <");
    out.extend_from_slice(&contact(trunk, hop, settings));
    out.extend_from_slice(b">\r\n");
    if *task == TrunkTask::Register {
        line(HeaderName::Expires, out);
        write_decimal(out, *expires);
        out.extend_from_slice(b"\r\n");
    }
    if let (Some(challenge), Some(login)) = (challenge, &trunk.login) {
        challenge.write(login, method, &uri, *cnonce, out);
    }
    out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}

/// The method of the requests of a task.
pub(super) const fn method(task: TrunkTask) -> Method<'static> {
    match task {
        TrunkTask::Register => Method::Register,
        TrunkTask::Probe => Method::Options,
    }
}

/// The address of record at the trunk.
fn aor(trunk: &Trunk) -> Vec<u8> {
    let mut aor = b"sip:".to_vec();
    if let Some(login) = &trunk.login {
        escape_user(login.user.as_bytes(), &mut aor);
        aor.push(b'@');
    }
    aor.extend_from_slice(&ToTrunk::host(trunk));
    aor
}

/// The Contact that the trunk sends calls to: our address, as seen by this hop.
pub(super) fn contact(trunk: &Trunk, hop: &Hop, settings: &Settings) -> Vec<u8> {
    let mut contact = b"sip:".to_vec();
    if let Some(login) = &trunk.login {
        escape_user(login.user.as_bytes(), &mut contact);
        contact.push(b'@');
    }
    write_own_address(&mut contact, hop, settings);
    if hop.transport != Transport::Udp {
        contact.extend_from_slice(b";transport=");
        contact.extend_from_slice(hop.transport.param().as_bytes());
    }
    contact
}
