//! The challenges of a trunk (RFC 3261 22, RFC 7616): it accepts the right credentials for its newest nonce.

use crate::judge::{CHALLENGES_IN_DIALOGS, TRUNK_REALM};
use crate::{Login, Random, Sip, quoted};

/// The user of the server at all trunks.
pub(super) const LOGIN: Login<'static> = Login { user: "4989100", password: "secret" };

/// How a trunk challenges.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    /// 401 or 407.
    status: u16,
    /// So many nonces of a call are stale.
    stale: u64,
    /// Whether it takes long for the challenge of a call, so that the next trunk may be tried before.
    is_slow: bool,
}

/// More than the server answers.
const FOR_EVER: u64 = 100;

/// The longest time until the challenge of a slow trunk, in microseconds: the next trunk is tried after 16 s.
const SLOWEST: u64 = 30_000_000;

impl Gate {
    /// A trunk that challenges every call: once, twice because the first nonce was stale, or for ever. `None` if it does not.
    pub(super) fn draw(random: &mut Random) -> Option<Self> {
        let status = if random.chance(500) { 401 } else { 407 };
        let stale = match random.below(100) {
            0..30 => return None,
            30..65 => 0,
            65..90 => 1,
            _ => FOR_EVER,
        };
        Some(Self { status, stale, is_slow: random.chance(300) })
    }

    /// How long a challenge takes, in microseconds.
    pub(super) fn delay(&self, request: &Sip, random: &mut Random) -> u64 {
        let is_slow = self.is_slow && request.what() == "INVITE" && request.to_tag().is_empty();
        if is_slow { random.below(SLOWEST) } else { 0 }
    }

    /// The status and the challenge for a request without the right credentials.
    pub(super) fn challenge(&self, request: &Sip) -> Option<(u16, String)> {
        let applies = match request.what() {
            "ACK" | "CANCEL" => false,
            "INVITE" if request.to_tag().is_empty() => true,
            _ => CHALLENGES_IN_DIALOGS,
        };
        let header = if self.status == 401 { "Authorization" } else { "Proxy-Authorization" };
        let realm = format!("realm=\"{TRUNK_REALM}\"");
        let credentials = request.values(header).find(|value| value.contains(&realm));
        let nonce = credentials.map(|value| quoted(value, "nonce"));
        let used: Option<u64> = nonce.and_then(|nonce| nonce.strip_prefix('n')?.parse().ok());
        if let (Some(credentials), Some(used)) = (credentials, used) {
            let right = LOGIN.response(&challenge_with(used), request, 1, quoted(credentials, "cnonce"));
            assert_eq!(quoted(credentials, "response"), right, "{} has wrong credentials", request.value("Call-ID"));
        }
        let next = used.map_or(0, |used| used + 1);
        (applies && next <= self.stale).then(|| (self.status, challenge_with(next)))
    }
}

fn challenge_with(nonce: u64) -> String {
    let stale = if nonce > 0 { ", stale=true" } else { "" };
    format!("Digest realm=\"{TRUNK_REALM}\", nonce=\"n{nonce}\", algorithm=SHA-256, qop=\"auth\"{stale}")
}
