//! Which final response the caller gets when nobody answered: RFC 3261 16.7 step 6, as people expect it.
//!
//! | place | responses | why there |
//! |---|---|---|
//! | 1 | 6xx | it speaks for the user, not for one phone (16.7 step 6: MUST) |
//! | 2 | 487 after the caller hung up | the caller waits for it |
//! | 3 | 401, 407 | the caller can repair it, and then reach every phone |
//! | 4 | 415, 420, 484 | the same, with another body, without an extension, with more digits |
//! | 5 | 3xx | another way to try |
//! | 6 | 486 | a person was there: more to say than a phone that is off |
//! | 7 | 480 | the user is known, later is better |
//! | 8 | other 4xx | one phone's trouble |
//! | 9 | 404, 410 | says nothing of the phones that did ring |
//! | 10 | 5xx | a broken phone |
//! | 11 | 430 | a flow that failed, not the phone; passed on as 480 (RFC 5626 11.5: no caller ever gets it) |
//! | 12 | 408 | a silent phone, or our own clock |
//! | 13 | 503 | passed on as 500 (16.7 step 6): the caller would leave *us* alone |
//!
//! Within a place the lower code wins.

use std::cmp::Reverse;

/// How good it is to pass this final on; the greatest wins.
pub(crate) fn rank(status: u16, caller_hung_up: bool) -> (Reverse<u8>, Reverse<u16>) {
    let place = match status {
        600.. => 1,
        487 if caller_hung_up => 2,
        401 | 407 => 3,
        415 | 420 | 484 => 4,
        300..=399 => 5,
        486 => 6,
        480 => 7,
        404 | 410 => 9,
        430 => 11,
        408 => 12,
        503 => 13,
        500..=599 => 10,
        _ => 8,
    };
    (Reverse(place), Reverse(status))
}

/// The status that the caller gets instead of one that is meant for this server.
pub(crate) const fn status_for_caller(status: u16) -> u16 {
    match status {
        // RFC 5626 11.5: a 430 is for the proxy that looked the flow up, which is this one; for the caller the phone is unavailable.
        430 => 480,
        503 => 500,
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        // checklist 69, 70
        let order = [603, 401, 407, 415, 420, 484, 300, 302, 486, 480, 403, 488, 404, 500, 504, 430, 408, 503];
        for pair in order.windows(2) {
            assert!(rank(pair[0], false) > rank(pair[1], false), "{} before {}", pair[0], pair[1]);
        }
        assert!(rank(487, true) > rank(486, true));
        assert!(rank(487, false) < rank(486, false));
    }
}
