//! Writes a request that another node handed over. That node has done the steps of RFC 3261 16.6; here only its Route value
//! is removed, and a Via added, so that the response comes back.
//!
//! Must not change anything else: Max-Forwards counts this server once, and the phone gets the same Record-Route as from the
//! node that it registered at.

use parser::{HeaderName, Rewrite};

use super::ViaBranch;
use super::request::write_via;
use crate::hop::Hop;
use crate::request::Request;
use crate::settings::Settings;

/// Writes the request. `rewrite` is scratch memory.
pub(crate) fn write_for_node(
    request: &Request,
    (hop, branch): (&Hop, ViaBranch),
    settings: &Settings,
    rewrite: &mut Rewrite,
    out: &mut Vec<u8>,
) {
    let message = &request.message;
    rewrite.clear();
    rewrite.remove_first(message, HeaderName::Route);
    rewrite.put_first(message, |out| write_via(out, hop, &branch, settings));
    rewrite.write(message, out);
}
