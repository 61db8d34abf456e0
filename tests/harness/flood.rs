//! Tens of thousands of requests: the octets are prepared once and the digits are written in place. Of a response, only
//! what identifies its request is read. The time that a generator takes is missing for the server under test.
//!
//! It only handles its own requests and reads no SIP but its own branch.

/// Marks the user's place in a text; seven digits go there.
const USER: &str = "UUUUUUU";
/// Marks the turn's place; ten digits.
const TURN: &str = "NNNNNNNNNN";
/// Precedes both in the branch that each text must have.
const BRANCH: &[u8] = b"branch=z9hG4bK";

/// A request in which only the user and the turn change.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    octets: Vec<u8>,
    users: Vec<usize>,
    turns: Vec<usize>,
}

impl Template {
    /// A text with `UUUUUUU` where the user's number goes, `NNNNNNNNNN` where the turn's goes, and a branch of
    /// `z9hG4bKUUUUUUU.NNNNNNNNNN`.
    pub(crate) fn new(text: &str) -> Self {
        let places = |mark| text.match_indices(mark).map(|(at, _)| at).collect();
        Self { octets: text.into(), users: places(USER), turns: places(TURN) }
    }

    /// The request of this user and turn.
    pub(crate) fn fill(&mut self, user: u32, turn: u32) -> &[u8] {
        let Self { octets, users, turns } = self;
        users.iter().for_each(|at| write(&mut octets[*at..*at + USER.len()], user));
        turns.iter().for_each(|at| write(&mut octets[*at..*at + TURN.len()], turn));
        octets
    }
}

/// A response to a filled template.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u32,
    pub(crate) user: u32,
    pub(crate) turn: u32,
    pub(crate) text: &'a [u8],
}

impl<'a> Answer<'a> {
    /// `None` if it is not a response to a template.
    pub(crate) fn read(text: &'a [u8]) -> Option<Self> {
        let status = digits(text.strip_prefix(b"SIP/2.0 ")?.get(..3)?)?;
        let branch = after(text, BRANCH)?;
        let (user, turn) = (branch.get(..USER.len())?, branch.get(USER.len() + 1..)?.get(..TURN.len())?);
        Some(Self { status, user: digits(user)?, turn: digits(turn)?, text })
    }
}

/// What follows `mark`, if it is there.
pub(crate) fn after<'a>(text: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    let at = text.windows(mark.len()).position(|window| window == mark)?;
    text.get(at + mark.len()..)
}

/// A number in decimal digits.
pub(crate) fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0_u32, |number, octet| {
        let digit = octet.is_ascii_digit().then(|| u32::from(octet - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

fn write(place: &mut [u8], mut number: u32) {
    for octet in place.iter_mut().rev() {
        *octet = b'0' + (number % 10) as u8;
        number /= 10;
    }
}
