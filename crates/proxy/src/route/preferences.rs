//! The caller's preferences: how its request is to be treated (Request-Disposition), and which phones it would like to
//! reach or not (Accept-Contact, Reject-Contact). RFC 3841 7 and 9.1, with the feature sets of RFC 3840.
//!
//! Decides only; the headers stay as they came, and no feature has a meaning here. Two places where the house knows
//! better: there is no queue, so `queue` changes nothing, and what a request only implies (its method, its event package)
//! leaves phones out but does not order those that stay.

use location::{Binding, Record};
use parser::headers::{AcceptContact, Event, Feature, Features, RejectContact, RequestDisposition, TagValue};
use parser::{HeaderName, Message, Method, Params};
use smallvec::SmallVec;

use crate::request::Request;
use crate::settings::{Settings, Strategy};

/// How a request is treated: as its caller asked, else as configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disposition {
    /// Answer with the addresses instead of trying them.
    pub(crate) redirect: bool,
    /// Try more than one.
    pub(crate) fork: bool,
    /// Stop the others when one has answered.
    pub(crate) cancel: bool,
    /// Follow redirections.
    pub(crate) recurse: bool,
    /// In which groups.
    pub(crate) strategy: Strategy,
}

/// A live binding that may be tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'r> {
    pub(super) record: &'r Record,
    /// Its index there.
    pub(super) index: usize,
    pub(super) binding: Binding<'r>,
    /// What its user thinks of it, in thousandths.
    pub(super) q: u16,
    /// How well it fits what the caller wants, in thousandths: `Qa` of RFC 3841 7.2.4.
    pub(super) fit: u32,
}

impl<'r> Candidate<'r> {
    pub(super) fn new(record: &'r Record, (index, binding): (usize, Binding<'r>)) -> Self {
        Self { record, index, binding, q: binding.q().unwrap_or(DEFAULT_Q), fit: PERFECT }
    }

    /// What the phone says of itself.
    fn features(&self) -> Features<'r> {
        Features::of(Params::new(self.binding.params()))
    }

    /// RFC 3841 7.2.4: by what the user prefers, then by what the caller does.
    pub(super) const fn rank(self) -> (u16, u32) {
        (self.q, self.fit)
    }
}

/// The bindings of a user that may be tried.
pub(super) type Candidates<'r> = SmallVec<[Candidate<'r>; 2]>;

/// q of a binding that has none: as if it were the highest (RFC 3261 16.6 leaves it open; phones that say nothing
/// should ring first).
const DEFAULT_Q: u16 = 1000;

/// A perfect fit.
const PERFECT: u32 = 1000;

impl Default for Disposition {
    /// Of a request with one target.
    fn default() -> Self {
        Self { redirect: false, fork: true, cancel: true, recurse: true, strategy: Strategy::Parallel }
    }
}

impl Disposition {
    /// RFC 3841 9.1. Of two directives of one type, which nobody may send, the last one counts.
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

/// Whether this caller may learn the addresses of our users' phones: it is one of them or trusted, and does not call one
/// phone by its GRUU (RFC 5627 6.1).
fn may_see_contacts(request: &Request, settings: &Settings) -> bool {
    let ours = request.from_uri().is_some_and(|caller| settings.domain_named_by(&caller).is_some());
    let begins = request.method() != Method::Cancel && !request.in_dialog && !names_one_phone(request);
    begins && (ours || settings.trusts(request.flow.remote.ip()))
}

/// Whether the Request-URI is a GRUU.
fn names_one_phone(request: &Request) -> bool {
    matches!(parser::Uri::parse(request.uri()), Ok(parser::Uri::Sip(uri)) if uri.param("gr").is_some())
}

/// RFC 3841 7.2: leaves out the phones that the caller does not want, and says how well the others fit.
pub(super) fn apply(message: &Message, candidates: &mut Candidates<'_>) {
    if [HeaderName::AcceptContact, HeaderName::RejectContact].iter().any(|name| message.count(*name) > 0) {
        candidates.retain(|candidate| match fit(message, candidate.features()) {
            Some(fit) => {
                candidate.fit = fit;
                true
            }
            None => false,
        });
    } else if candidates.len() > 1 {
        let suits = |candidate: &Candidate<'_>| suits(message, candidate.features());
        // 7.2.4: if none suits, all are tried, so that the caller hears what is wrong from one of them.
        if candidates.iter().any(suits) {
            candidates.retain(|candidate| suits(candidate));
        }
    }
}

/// `Qa` of a phone with these features (7.2.4); none if it is not to be tried.
fn fit(message: &Message, phone: Features<'_>) -> Option<u32> {
    // 7.2.3: a phone that says nothing of itself is immune.
    if phone.clone().next().is_none() {
        return Some(PERFECT);
    }
    let unwanted = |unwanted: RejectContact<'_>| {
        let has = |term| same_tag(phone.clone(), term).is_some_and(|own| meet(own, term));
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
                matches &= meet(own, term);
            }
        }
        let explicit = !wanted.is_explicit() || present == terms;
        match (matches && explicit, wanted.is_required()) {
            (true, _) => {
                sum += (PERFECT * present).checked_div(terms).unwrap_or(PERFECT);
                matching += 1;
            }
            (false, true) => return None,
            // Figure 1: it matches, but says too little.
            (false, false) => matching += u32::from(matches),
        }
    }
    Some(if asked == 0 { PERFECT } else { sum / matching.max(1) })
}

/// 7.2.2: whether a phone takes the method and the event package, as far as it says.
fn suits(message: &Message, mut phone: Features<'_>) -> bool {
    let method = match message.method() {
        // They go the way of an INVITE.
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
            meet(own, wanted(method))
        } else if let Some(event) = package.as_ref().filter(|_| own.tag.eq_ignore_ascii_case(b"events")) {
            meet(own, wanted(event.package))
        } else {
            true
        }
    })
}

fn same_tag<'a>(mut phone: Features<'a>, term: Feature<'_>) -> Option<Feature<'a>> {
    phone.find(|own| own.tag.eq_ignore_ascii_case(term.tag))
}

/// Whether one value can be both what the phone says and what is wanted: RFC 2533 matching of one term each.
fn meet(own: Feature<'_>, wanted: Feature<'_>) -> bool {
    terms(own).any(|own| terms(wanted).any(|wanted| own.meets(wanted)))
}

/// The values of a feature; one without any is TRUE (RFC 3841 8).
fn terms(feature: Feature<'_>) -> impl Iterator<Item = Term<'_>> {
    let alone = feature.value.is_none().then_some(Term { negated: false, value: Value::Token(b"TRUE") });
    alone.into_iter().chain(feature.values().map(Term::of))
}

/// One value, or all but one.
#[derive(Clone, Copy)]
struct Term<'a> {
    negated: bool,
    value: Value<'a>,
}

/// RFC 3841 7.2.4: the shape of a value says how it is compared.
#[derive(Clone, Copy)]
enum Value<'a> {
    /// In any case; booleans too.
    Token(&'a [u8]),
    /// Octet by octet.
    Text(&'a [u8]),
    /// Numbers, from and to.
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

    fn meets(self, other: Self) -> bool {
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

/// `=5`, `>=5`, `<=5` or `5:10` (RFC 3840 9 `numeric`).
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

    fn fit_of(lines: &str, phone: &str) -> Option<u32> {
        fit(&request(lines), Features::of(Params::new(phone.as_bytes())))
    }

    #[test]
    fn the_example_of_the_rfc() {
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
            assert_eq!(fit_of(lines, phone), expected, "{phone}");
        }
    }

    #[test]
    fn how_strong_a_wish_is() {
        // checklist 159: RFC 3841 figure 1
        let (silent, mobile, fixed) = (";audio", ";audio;mobility=\"mobile\"", ";audio;mobility=\"fixed\"");
        for (strength, expected) in [
            ("", [Some(0), Some(1000), Some(0)]),
            (";require", [Some(0), Some(1000), None]),
            (";explicit", [Some(0), Some(1000), Some(0)]),
            (";require;explicit", [None, Some(1000), None]),
        ] {
            let lines = format!("Accept-Contact: *;mobility=\"mobile\"{strength}\r\n");
            assert_eq!([silent, mobile, fixed].map(|phone| fit_of(&lines, phone)), expected, "{strength}");
        }
    }

    #[test]
    fn what_is_not_said_is_not_refused() {
        // checklist 159: RFC 3841 7.2.4
        for (phone, called) in [
            (";automata", false),
            (";automata=\"FALSE\"", true),
            (";audio", true),
            ("", true),
            (";+sip.instance=\"<urn:uuid:1>\"", true),
        ] {
            assert_eq!(fit_of("Reject-Contact: *;automata\r\n", phone).is_some(), called, "{phone}");
        }
        assert_eq!(fit_of("Reject-Contact: *\r\n", ";audio"), Some(PERFECT), "it names nothing");
    }

    #[test]
    fn values_are_compared_by_their_shape() {
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
            assert_eq!(fit_of(&lines, &format!(";{phone}")).is_some(), met, "{phone} {wanted}");
        }
    }
}
