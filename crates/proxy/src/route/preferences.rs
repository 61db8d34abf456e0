//! The preferences of the caller (RFC 3841 7 and 9.1, with the feature sets of RFC 3840): how its request is treated
//! (Request-Disposition), and which phones it wants to reach or avoid (Accept-Contact, Reject-Contact).
//!
//! Must not change the headers. Two deviations from the RFC: `queue` has no effect, because there is no queue; and
//! features that a request only implies (its method, its event package) can exclude phones but do not order them.

use location::{Binding, Record};
use parser::headers::{AcceptContact, Event, Feature, Features, RejectContact, RequestDisposition, TagValue};
use parser::{HeaderName, Message, Method, Params};
use smallvec::SmallVec;

use crate::request::Request;
use crate::settings::{Settings, Strategy};

/// How a request is treated: as its caller asks, or else as configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disposition {
    /// Whether the response lists the addresses instead of trying them.
    pub(crate) redirect: bool,
    /// Whether more than one target is tried.
    pub(crate) fork: bool,
    /// Whether the other branches are cancelled when one is answered.
    pub(crate) cancel: bool,
    /// Whether redirections are followed.
    pub(crate) recurse: bool,
    /// How targets are put into groups.
    pub(crate) strategy: Strategy,
}

/// A binding that can be called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'r> {
    pub(super) record: &'r Record,
    /// The index of the binding in the record.
    pub(super) index: usize,
    pub(super) binding: Binding<'r>,
    /// The q value of the binding, in thousandths.
    pub(super) q: u16,
    /// How well it matches the preferences of the caller, in thousandths: `Qa` of RFC 3841 7.2.4.
    pub(super) score: u32,
}

impl<'r> Candidate<'r> {
    pub(super) fn new(record: &'r Record, (index, binding): (usize, Binding<'r>)) -> Self {
        Self { record, index, binding, q: binding.q().unwrap_or(DEFAULT_Q), score: MAX_SCORE }
    }

    /// The features that the phone announced in its Contact.
    fn features(&self) -> Features<'r> {
        Features::of(Params::new(self.binding.params()))
    }

    /// The order of RFC 3841 7.2.4: by the preference of the callee, then by that of the caller.
    pub(super) const fn rank(&self) -> (u16, u32) {
        (self.q, self.score)
    }
}

/// The bindings of a user that can be called.
pub(super) type Candidates<'r> = SmallVec<[Candidate<'r>; 2]>;

/// The q value of a binding that has none: the highest, because phones without a q value should ring first. RFC 3261
/// 16.6 does not define it.
const DEFAULT_Q: u16 = 1000;

/// The score of a perfect match.
const MAX_SCORE: u32 = 1000;

impl Default for Disposition {
    /// The treatment of a request with one target.
    fn default() -> Self {
        Self { redirect: false, fork: true, cancel: true, recurse: true, strategy: Strategy::Parallel }
    }
}

impl Disposition {
    /// What the request asks for (RFC 3841 9.1). If it has two directives of one type, which is not allowed, the last
    /// one counts.
    pub(crate) fn of(request: &Request, settings: &Settings) -> Self {
        let mut asked = Self { strategy: settings.forking.strategy, ..Self::default() };
        for directive in request.message.headers::<RequestDisposition<'_>>().flatten() {
            match directive {
                RequestDisposition::Proxy => asked.redirect = false,
                RequestDisposition::Redirect => asked.redirect = may_see_contacts(request, settings),
                RequestDisposition::Fork => asked.fork = true,
                RequestDisposition::NoFork => asked.fork = false,
                RequestDisposition::Cancel => asked.cancel = true,
                RequestDisposition::NoCancel => asked.cancel = false,
                RequestDisposition::Recurse => asked.recurse = true,
                RequestDisposition::NoRecurse => asked.recurse = false,
                RequestDisposition::Parallel => asked.strategy = Strategy::Parallel,
                RequestDisposition::Sequential => asked.strategy = Strategy::Sequential,
                _ => {}
            }
        }
        asked
    }
}

/// Whether this caller may see the addresses of a user's phones: it is a local user or trusted, and does not call one
/// phone by its GRUU (RFC 5627 6.1).
fn may_see_contacts(request: &Request, settings: &Settings) -> bool {
    let ours = request.uri_of_from().is_some_and(|caller| settings.domain_named_by(&caller).is_some());
    let begins = request.method() != Method::Cancel && !request.in_dialog && !names_one_phone(request);
    begins && (ours || settings.trusts(request.flow.remote.ip()))
}

/// Whether the Request-URI is a GRUU.
fn names_one_phone(request: &Request) -> bool {
    matches!(parser::Uri::parse(request.uri()), Ok(parser::Uri::Sip(uri)) if uri.param("gr").is_some())
}

/// Removes the phones that the caller does not want, and computes the score of the others (RFC 3841 7.2).
pub(super) fn apply_preferences(message: &Message, candidates: &mut Candidates<'_>) {
    if [HeaderName::AcceptContact, HeaderName::RejectContact].iter().any(|name| message.count(*name) > 0) {
        candidates.retain(|candidate| match score(message, candidate.features()) {
            Some(score) => {
                candidate.score = score;
                true
            }
            None => false,
        });
    } else if candidates.len() > 1 {
        let is_suitable = |candidate: &Candidate<'_>| is_suitable(message, candidate.features());
        // 7.2.4: if no phone is suitable, all are tried, and the response of one tells the caller why.
        if !candidates.iter().all(is_suitable) && candidates.iter().any(is_suitable) {
            candidates.retain(|candidate| is_suitable(candidate));
        }
    }
}

/// The score (`Qa`, 7.2.4) of a phone with these features; `None` if it must not be called.
fn score(message: &Message, phone: Features<'_>) -> Option<u32> {
    // 7.2.3: a phone that announces no features is never excluded.
    if phone.clone().next().is_none() {
        return Some(MAX_SCORE);
    }
    let unwanted = |unwanted: RejectContact<'_>| {
        let has = |term| same_tag(phone.clone(), term).is_some_and(|own| have_common_value(own, term));
        unwanted.features().next().is_some() && unwanted.features().all(has)
    };
    if message.headers::<RejectContact<'_>>().flatten().any(unwanted) {
        return None;
    }
    let (mut sum, mut matching, mut asked) = (0, 0, 0);
    for wanted in message.headers::<AcceptContact<'_>>().flatten() {
        asked += 1;
        let (mut terms, mut present, mut matches) = (0, 0, true);
        for term in wanted.features() {
            terms += 1;
            if let Some(own) = same_tag(phone.clone(), term) {
                present += 1;
                matches &= have_common_value(own, term);
            }
        }
        let explicit = !wanted.is_explicit() || present == terms;
        match (matches && explicit, wanted.is_required()) {
            (true, _) => {
                sum += (MAX_SCORE * present).checked_div(terms).unwrap_or(MAX_SCORE);
                matching += 1;
            }
            (false, true) => return None,
            // Figure 1: it matches, but does not announce all features that `explicit` asks for.
            (false, false) => matching += u32::from(matches),
        }
    }
    Some(if asked == 0 { MAX_SCORE } else { sum / matching.max(1) })
}

/// Whether a phone accepts the method and the event package of the request, according to its features (7.2.2).
fn is_suitable(message: &Message, mut phone: Features<'_>) -> bool {
    let method = match message.method() {
        // These follow their INVITE.
        Method::Ack | Method::Cancel => b"INVITE",
        ref method => method.as_bytes(),
    };
    let package = match message.method() {
        Method::Subscribe => message.header::<Event<'_>>().ok().flatten(),
        _ => None,
    };
    phone.all(|own| {
        let wanted = |text| Feature { tag: own.tag, value: Some(text) };
        if own.tag.eq_ignore_ascii_case(b"methods") {
            have_common_value(own, wanted(method))
        } else if let Some(event) = package.as_ref().filter(|_| own.tag.eq_ignore_ascii_case(b"events")) {
            have_common_value(own, wanted(event.package))
        } else {
            true
        }
    })
}

fn same_tag<'a>(mut phone: Features<'a>, term: Feature<'_>) -> Option<Feature<'a>> {
    phone.find(|own| own.tag.eq_ignore_ascii_case(term.tag))
}

/// Whether two features have a value in common (RFC 2533 matching).
fn have_common_value(own: Feature<'_>, wanted: Feature<'_>) -> bool {
    terms(own).any(|own| terms(wanted).any(|wanted| own.matches(wanted)))
}

/// The values of a feature. A feature without values is TRUE (RFC 3841 8).
fn terms(feature: Feature<'_>) -> impl Iterator<Item = Term<'_>> {
    let alone = feature.value.is_none().then_some(Term { negated: false, value: Value::Token(b"TRUE") });
    alone.into_iter().chain(feature.values().map(Term::of))
}

/// A value, or if `negated` all values but this one.
#[derive(Clone, Copy)]
struct Term<'a> {
    negated: bool,
    value: Value<'a>,
}

/// A value; its syntax determines how it is compared (RFC 3841 7.2.4).
#[derive(Clone, Copy)]
enum Value<'a> {
    /// A token or a boolean, compared without regard to case.
    Token(&'a [u8]),
    /// A string, compared octet by octet.
    Text(&'a [u8]),
    /// A range of numbers, from and to.
    Range(f64, f64),
}

impl<'a> Term<'a> {
    fn of(value: TagValue<'a>) -> Self {
        let number = value.text.strip_prefix(b"#").and_then(range);
        let value_of = match number {
            Some((from, to)) => Value::Range(from, to),
            None if value.text.starts_with(b"<") => Value::Text(value.text),
            None => Value::Token(value.text),
        };
        Self { negated: value.negated, value: value_of }
    }

    fn matches(self, other: Self) -> bool {
        match (self.negated, other.negated) {
            (false, false) => self.value.overlaps(other.value),
            (false, true) => !self.value.is_within(other.value),
            (true, false) => !other.value.is_within(self.value),
            (true, true) => true,
        }
    }
}

impl Value<'_> {
    fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Range(from, to), Self::Range(other_from, other_to)) => from <= other_to && other_from <= to,
            _ => self.is_within(other),
        }
    }

    fn is_within(self, other: Self) -> bool {
        match (self, other) {
            (Self::Token(own), Self::Token(other)) => own.eq_ignore_ascii_case(other),
            (Self::Text(own), Self::Text(other)) => own == other,
            (Self::Range(from, to), Self::Range(other_from, other_to)) => other_from <= from && to <= other_to,
            _ => false,
        }
    }
}

/// Reads `=5`, `>=5`, `<=5` or `5:10` (RFC 3840 9 `numeric`).
fn range(text: &[u8]) -> Option<(f64, f64)> {
    let (from, to) = if let Some(number) = text.strip_prefix(b">=") {
        (number, None)
    } else if let Some(number) = text.strip_prefix(b"<=") {
        return Some((f64::NEG_INFINITY, number_of(number)?));
    } else if let Some(number) = text.strip_prefix(b"=") {
        (number, Some(number))
    } else {
        let (from, to) = text.split_at_checked(text.iter().position(|&byte| byte == b':')?)?;
        (from, to.get(1..))
    };
    Some((number_of(from)?, to.map_or(Some(f64::INFINITY), number_of)?))
}

fn number_of(text: &[u8]) -> Option<f64> {
    let plain = text.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.'));
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &str) -> Message {
        let text = format!("INVITE sip:user@example.com SIP/2.0\r\n{lines}\r\n");
        Message::parse(text.into_bytes().into()).unwrap()
    }

    fn score_of(lines: &str, phone: &str) -> Option<u32> {
        score(&request(lines), Features::of(Params::new(phone.as_bytes())))
    }

    #[test]
    fn the_example_of_rfc_3841_gets_its_scores() {
        // checklist 159: RFC 3841 7.2.5
        let lines = "Reject-Contact: *;actor=\"msg-taker\";video\r\nAccept-Contact: *;audio;require\r\n\
                     Accept-Contact: *;video;explicit\r\nAccept-Contact: *;methods=\"BYE\";class=\"business\";q=1.0\r\n";
        let fits = [
            (";audio;video;methods=\"INVITE,BYE\"", Some(833)),
            (";audio=\"FALSE\";methods=\"INVITE\";actor=\"msg-taker\"", None),
            (";audio;actor=\"msg-taker\";methods=\"INVITE\";video", None),
            (";audio;methods=\"INVITE,OPTIONS\"", Some(500)),
            ("", Some(1000)),
        ];
        for (phone, expected) in fits {
            assert_eq!(score_of(lines, phone), expected, "{phone}");
        }
    }

    #[test]
    fn require_and_explicit_decide_which_phones_are_excluded() {
        // checklist 159: RFC 3841 figure 1
        let (silent, mobile, fixed) = (";audio", ";audio;mobility=\"mobile\"", ";audio;mobility=\"fixed\"");
        for (strength, expected) in [
            ("", [Some(0), Some(1000), Some(0)]),
            (";require", [Some(0), Some(1000), None]),
            (";explicit", [Some(0), Some(1000), Some(0)]),
            (";require;explicit", [None, Some(1000), None]),
        ] {
            let lines = format!("Accept-Contact: *;mobility=\"mobile\"{strength}\r\n");
            assert_eq!([silent, mobile, fixed].map(|phone| score_of(&lines, phone)), expected, "{strength}");
        }
    }

    #[test]
    fn features_that_are_not_announced_exclude_no_phone() {
        // checklist 159: RFC 3841 7.2.4
        for (phone, called) in [
            (";automata", false),
            (";automata=\"FALSE\"", true),
            (";audio", true),
            ("", true),
            (";+sip.instance=\"<urn:uuid:1>\"", true),
        ] {
            assert_eq!(score_of("Reject-Contact: *;automata\r\n", phone).is_some(), called, "{phone}");
        }
        assert_eq!(score_of("Reject-Contact: *\r\n", ";audio"), Some(MAX_SCORE), "it names nothing");
    }

    #[test]
    fn values_are_compared_by_their_syntax() {
        // checklist 159
        for (phone, wanted, met) in [
            ("language=\"en,de\"", "language=\"DE\"", true),
            ("language=\"en\"", "language=\"de\"", false),
            ("language=\"!en\"", "language=\"de\"", true),
            ("language=\"!en\"", "language=\"en\"", false),
            ("language=\"!en\"", "language=\"!de\"", true),
            ("+sip.x=\"<Ab>\"", "+sip.x=\"<Ab>\"", true),
            ("+sip.x=\"<Ab>\"", "+sip.x=\"<ab>\"", false),
            ("priority=\"#>=5\"", "priority=\"#3:5\"", true),
            ("priority=\"#>=5\"", "priority=\"#<=4.5\"", false),
            ("priority=\"#=5\"", "priority=\"!#1:10\"", false),
            ("priority=\"#1:10\"", "priority=\"!#=5\"", true),
            ("audio=\"true\"", "audio", true),
        ] {
            let lines = format!("Accept-Contact: *;{wanted};require\r\n");
            assert_eq!(score_of(&lines, &format!(";{phone}")).is_some(), met, "{phone} {wanted}");
        }
    }
}
