//! The order of final responses: the caller gets the best one if there is no 2xx (RFC 3261 16.7 step 6).
//!
//! | place | responses | reason |
//! |---|---|---|
//! | 1 | 6xx | it is about the user, not about one phone (16.7 step 6: MUST) |
//! | 2 | 487 after a CANCEL of the caller | the caller waits for it |
//! | 3 | 401, 407 | the caller can send credentials, and then reach every phone |
//! | 4 | 415, 420, 484 | the caller can try again with another body, without an extension, with more digits |
//! | 5 | 3xx | the caller can try other targets |
//! | 6 | 486 | the user is there, which says more than a phone that is off |
//! | 7 | 480 | the user exists; a later call may succeed |
//! | 8 | other 4xx | concerns one phone |
//! | 9 | 404, 410 | says nothing about the phones that rang |
//! | 10 | 5xx | concerns one phone that does not work |
//! | 11 | 430 | concerns a flow, not a phone; forwarded as 480 (RFC 5626 11.5: a caller never gets a 430) |
//! | 12 | 408 | a phone that did not respond, or a timer of this server |
//! | 13 | 503 | forwarded as 500 (16.7 step 6): the caller would stop sending requests to this server |
//!
//! Within a place the lower status wins. Must not know branches.

use std::cmp::Reverse;

/// The rank of a final response; the greatest wins.
pub(crate) fn rank(status: u16, caller_cancelled: bool) -> (Reverse<u8>, Reverse<u16>) {
    let place = match status {
        600.. => 1,
        487 if caller_cancelled => 2,
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

/// The status that the caller gets for this one: some are meant for this server only.
pub(crate) const fn status_for_caller(status: u16) -> u16 {
    match status {
        // RFC 5626 11.5: a 430 is for the proxy that chose the flow, which is this one.
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
