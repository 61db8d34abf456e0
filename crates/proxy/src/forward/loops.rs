//! Loop detection (RFC 3261 16.3 step 4, RFC 5393 4.2). Our Via branch contains a hash of all values that routing
//! depends on. If a request returns with the same hash in one of its Vias, it would be routed in the same way again.
//!
//! Must not refuse a request; that is done by `core`.

use parser::{HeaderName, Message};

use super::ViaBranch;
use crate::mac::{Mac, Purpose};
use crate::request::{Request, SentBy};
use crate::settings::Settings;

/// The hash in our branch: of all values that routing depends on (RFC 5393 4.2.1).
pub(crate) fn loop_mark(request: &Request, mac: &Mac) -> u64 {
    let message = &request.message;
    let from = message.value(HeaderName::From).unwrap_or_default();
    let routes: Vec<u8> = request.routes().collect::<Vec<_>>().join(&b',');
    let parts = [request.uri(), message.value(HeaderName::CallId).unwrap_or_default(), from, &routes];
    mac.sign(Purpose::Loop, &parts)
}

/// Whether the request has a Via of ours with this hash: then it is a loop. With another hash it is a spiral (RFC 5393
/// 4.2.2).
pub(crate) fn is_looped(message: &Message, mark: u64, settings: &Settings) -> bool {
    message.values(HeaderName::Via).filter_map(SentBy::of).any(|via| {
        let ours = matches!(ViaBranch::parse(via.branch),
            Some(ViaBranch::Transaction { loop_mark, .. }) if loop_mark == mark);
        ours && settings.is_own(&via.host, via.port)
    })
}
