//! Writes the 200 to a REGISTER: all bindings of the AoR, with their remaining time (RFC 3261 10.3 step 8).
//!
//! Must not change the record.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;
use location::{Aor, Binding, Record};
use parser::{HeaderName, Params, Reply, Uri, write_decimal};

use crate::amplification::{self, Fitted};
use crate::clock::Now;
use crate::request::Request;
use crate::route::{Gruus, last_issue};
use crate::settings::{Registrar, unregistered_fixed_bindings};

/// The content of a 200.
pub(super) struct Granted<'a> {
    pub(super) request: &'a Request,
    pub(super) aor: &'a Aor,
    pub(super) record: &'a Record,
    /// The configured bindings of the same AoR.
    pub(super) fixed: Option<&'a Record>,
    pub(super) settings: &'a Registrar,
    /// Whether to confirm that a flow was registered (RFC 5626 6).
    pub(super) outbound: bool,
    /// Flow-Timer, in seconds: the phone has to send something on its flow before this time has passed.
    pub(super) flow_timer: Option<u32>,
    /// For the GRUUs in the response; `None` if the phone does not support them.
    pub(super) gruus: Option<&'a Gruus>,
    /// The text of Date.
    pub(super) date: &'a [u8],
}

/// What the 200 says, for the log.
pub(super) struct Written {
    /// The number of registered bindings.
    pub(super) bindings: usize,
    /// The longest remaining time of these, in seconds.
    pub(super) expires: u32,
    pub(super) fitted: Fitted,
}

impl Granted<'_> {
    /// Writes the 200 in at most `limit` octets. `out` is empty.
    pub(super) fn write(&self, out: &mut Vec<u8>, to_tag: &[u8], limit: usize, now: Now) -> Written {
        let (own, mut written) = self.write_all(out, to_tag, false, now);
        if out.len() > limit {
            // Only an unauthenticated UDP phone has a limit. It looks for its own Contact, so that is written first,
            // and other Contacts may be removed, against RFC 3261 10.3 step 8.
            out.clear();
            self.write_all(out, to_tag, true, now);
            written.fitted = amplification::shorten(out, 0, own, limit);
        }
        written
    }

    /// Writes all of it. Returns where the headers begin that are not copied from the request.
    fn write_all(&self, out: &mut Vec<u8>, to_tag: &[u8], own_first: bool, now: Now) -> (usize, Written) {
        let message = &self.request.message;
        let mut reply = Reply::new(out, message, 200, b"OK", self.request.stamp, Some(to_tag));
        let own = reply.end();
        let mut written = Written { bindings: 0, expires: 0, fitted: Fitted::Whole };
        let is_own = |binding: &Binding<'_>| binding.transaction() == self.request.key.0;
        let first = own_first.then(|| self.record.live(now.wall).filter(is_own)).into_iter().flatten();
        let others = self.record.live(now.wall).filter(|binding| !(own_first && is_own(binding)));
        for binding in first.chain(others) {
            let expires = binding.remaining(now.wall);
            written.bindings += 1;
            written.expires = written.expires.max(expires);
            reply.header(HeaderName::Contact, |out| {
                write_contact(out, &binding, expires);
                self.write_gruus(out, &binding, now);
            });
        }
        // The configured bindings are current too, as if they were refreshed just now.
        let fixed =
            self.fixed.into_iter().flat_map(|fixed| unregistered_fixed_bindings(fixed, Some(self.record), now.wall));
        for (_, binding) in fixed {
            reply.header(HeaderName::Contact, |out| write_contact(out, &binding, self.settings.limits.max_expires));
        }
        self.write_routes(&mut reply);
        if self.outbound {
            reply.header(HeaderName::Require, |out| out.extend_from_slice(b"outbound"));
        }
        if let Some(seconds) = self.flow_timer {
            reply.header(HeaderName::FlowTimer, |out| write_decimal(out, seconds));
        }
        reply.header(HeaderName::Date, |out| out.extend_from_slice(self.date));
        reply.finish();
        (own, written)
    }

    /// A phone with an instance gets a public GRUU and its newest temporary GRUU (RFC 5627 5.2).
    fn write_gruus(&self, out: &mut Vec<u8>, binding: &Binding<'_>, now: Now) {
        let (Some(gruus), Some(instance)) = (self.gruus, binding.instance()) else { return };
        let Ok(Uri::Sip(to)) = self.request.uri_of_to() else { return };
        out.extend_from_slice(b";pub-gruu=\"");
        gruus.write_public(out, &to, self.aor, instance);
        out.push(b'"');
        let end = out.len();
        out.extend_from_slice(b";temp-gruu=\"");
        let issued = last_issue(self.record, instance, now.wall);
        if issued.is_some_and(|issued| gruus.write_temporary(out, &to, self.aor, instance, issued)) {
            out.push(b'"');
        } else {
            out.truncate(end);
        }
    }

    /// Writes the Path of the request (RFC 3327 5.3) and the configured Service-Route (RFC 3608 6.3).
    fn write_routes(&self, reply: &mut Reply<'_>) {
        let message = &self.request.message;
        if message.count(HeaderName::Path) > 0 {
            for path in message.values(HeaderName::Path) {
                reply.header(HeaderName::Path, |out| out.extend_from_slice(path));
            }
            reply.header(HeaderName::Supported, |out| out.extend_from_slice(b"path"));
        }
        for route in &self.settings.service_route {
            reply.header(HeaderName::ServiceRoute, |out| {
                out.push(b'<');
                out.extend_from_slice(route.as_bytes());
                out.push(b'>');
            });
        }
    }
}

/// The parameters of a Contact that are not copied from the REGISTER: their granted values are written instead (RFC
/// 3261 10.3, RFC 5627 5.1).
pub(crate) const GRANTED_PARAMS: [&[u8]; 4] = [b"expires", b"q", b"pub-gruu", b"temp-gruu"];

fn write_contact(out: &mut Vec<u8>, binding: &Binding<'_>, expires: u32) {
    out.push(b'<');
    out.extend_from_slice(binding.contact());
    out.push(b'>');
    Params::new(binding.params())
        .write_filtered(out, |name| !GRANTED_PARAMS.iter().any(|own| name.eq_ignore_ascii_case(own)));
    if let Some(q) = binding.q() {
        out.extend_from_slice(b";q=");
        write_q(out, q);
    }
    out.extend_from_slice(b";expires=");
    write_decimal(out, expires);
}

/// Writes thousandths as a `qvalue` (RFC 3261 25.1).
pub(crate) fn write_q(out: &mut Vec<u8>, q: u16) {
    if q >= 1000 {
        out.push(b'1');
        return;
    }
    out.push(b'0');
    if q > 0 {
        out.push(b'.');
        let mut rest = q;
        for place in [100, 10, 1] {
            write_decimal(out, rest / place);
            rest %= place;
            if rest == 0 {
                break;
            }
        }
    }
}

/// The text of Date. It is written once in a second, because that takes longer than the other headers of a 200 together.
#[derive(Debug, Default)]
pub(crate) struct DateText {
    seconds: u64,
    text: Vec<u8>,
}

impl DateText {
    /// The text for seconds since the Unix epoch.
    pub(crate) fn at(&mut self, seconds: u64) -> &[u8] {
        if self.seconds != seconds || self.text.is_empty() {
            self.seconds = seconds;
            self.text.clear();
            write_date(&mut self.text, seconds);
        }
        &self.text
    }
}

/// Writes seconds since the Unix epoch as `Sat, 13 Nov 2010 23:29:00 GMT` (RFC 3261 20.17). The format ends with the
/// year 9999, so a later time is written as its last second.
fn write_date(out: &mut Vec<u8>, seconds: u64) {
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_SECOND));
    // Writing into a Vec cannot fail.
    let _ = write!(out, "{}", HttpDate::from(time));
}

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_in_gmt() {
        let mut date = DateText::default();
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_289_690_940, "Sat, 13 Nov 2010 23:29:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(date.at(seconds), expected.as_bytes());
            assert_eq!(date.at(seconds), expected.as_bytes());
        }
    }

    #[test]
    fn a_q_value_has_at_most_three_digits() {
        for (q, expected) in [(0, "0"), (1, "0.001"), (10, "0.01"), (500, "0.5"), (999, "0.999"), (1000, "1")] {
            let mut out = Vec::new();
            write_q(&mut out, q);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
