//! Whether a request with `Privacy: critical` may be forwarded (RFC 3323 4.2, 5).
//!
//! This server keeps identities (`id`) and the call history (`history`) within `trusted`, but is no privacy service: it
//! does not change From, Via, Contact and the session. A request that marks its privacy as `critical` must fail rather
//! than reveal its sender. A trusted next hop may be a privacy service and gets the request. Any other next hop must
//! not get it if the request asks for more than this server does. Without `critical`, a request is never refused (RFC
//! 3323 4.2).

use parser::headers::Privacy;
use parser::{HeaderName, Method};

use crate::reject::{MissingPrivacy, Reject};
use crate::request::Request;
use crate::settings::Settings;

use super::{NextHop, Plan};

/// Refuses a request outside of a dialog that must not reach the targets of its plan.
pub(crate) fn check_privacy(request: &Request, plan: &Plan, settings: &Settings) -> Result<(), Reject> {
    // A later request of the call reveals nothing new.
    if !request.message.has_any(&[HeaderName::Privacy])
        || request.in_dialog
        || matches!(request.method(), Method::Ack | Method::Cancel)
    {
        return Ok(());
    }
    let asked = request.message.headers::<Privacy<'_>>().flatten();
    let (mut missing, mut critical) = (MissingPrivacy::default(), false);
    for value in asked.flat_map(|privacy| privacy.iter()) {
        match value.to_ascii_lowercase().as_slice() {
            b"critical" => critical = true,
            b"id" | b"history" | b"none" => {}
            b"header" => missing.header = true,
            b"session" => missing.session = true,
            b"user" => missing.user = true,
            _ => missing.others = true,
        }
    }
    let is_outside = |next_hop: &NextHop| !matches!(next_hop, NextHop::Hop(hop) if settings.trusts(hop.remote.ip()));
    let leaves = plan.targets().any(|target| is_outside(&target.next_hop));
    if critical && leaves && missing != MissingPrivacy::default() { Err(Reject::Privacy(missing)) } else { Ok(()) }
}
