//! Privacy that is critical: what to do with a request that asks for more of it than there is (RFC 3323 4.2, 5).
//!
//! This server is no privacy service: it keeps identities (`id`) and the history of a call within `trusted`, and leaves From,
//! Via, Contact and the session as they are. A request whose Privacy is `critical` fails rather than show its sender. The
//! next hop may still be a privacy service if it is trusted; beyond a hop that is not trusted nobody is, so the request fails
//! here. Without `critical` a wish that cannot be met is no reason to refuse (RFC 3323 4.2).

use parser::headers::Privacy;
use parser::{HeaderName, Method};

use crate::reject::{MissingPrivacy, Reject};
use crate::request::Request;
use crate::settings::Settings;

use super::{NextHop, Plan};

/// Refuses a request that begins something, if it would reach a place where its privacy ends.
pub(crate) fn keeps_privacy(request: &Request, plan: &Plan, settings: &Settings) -> Result<(), Reject> {
    // What ends a call, or belongs to one, goes on: it tells nothing that is not known.
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
