//! What a phone does with one request. It is drawn at random for each request.

use crate::Random;

/// What a phone does with an INVITE. Times are in microseconds since it arrived.
#[derive(Clone, Debug)]
pub(super) struct CallPlan {
    /// Sends a 100 at once.
    pub(super) trying: bool,
    /// When it sends a provisional response, and which.
    pub(super) rings: Option<(u64, u16)>,
    /// Sends it again after this time.
    pub(super) rings_again: Option<u64>,
    /// When it sends a final response without a CANCEL, and which.
    pub(super) decides: Option<(u64, u16)>,
    pub(super) when_cancelled: WhenCancelled,
    /// Sends a second 2xx with another tag this long after the first.
    pub(super) answers_twice: Option<u64>,
    /// Ignores ACKs, and retransmits its final response until Timer H.
    pub(super) ignores_acks: bool,
    /// Sends a BYE this long after the 2xx.
    pub(super) hangs_up: Option<u64>,
}

/// What a phone does with a CANCEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenCancelled {
    /// Sends 200 and 487.
    Stops,
    /// Sends 200 to the CANCEL, and nothing to the INVITE.
    ForgetsInvite,
    /// Sends 487 to the INVITE, and nothing to the CANCEL.
    ForgetsCancel,
    /// Sends nothing.
    Ignores,
    /// Sends 200 to the CANCEL and 200 to the INVITE: it was answered at that moment.
    PickedUp,
    /// Sends 200 to the CANCEL and 603 to the INVITE: the user declined at that moment.
    Declines,
}

const SECOND: u64 = 1_000_000;

impl CallPlan {
    /// The plan for a call; the numbers are of a thousand.
    pub(super) fn for_call(random: &mut Random) -> Self {
        let mut call_plan = Self {
            trying: random.chance(150),
            rings: Some((random.below(SECOND / 2), if random.chance(100) { 183 } else { 180 })),
            rings_again: random.chance(250).then(|| (3 + random.below(50)) * SECOND),
            decides: None,
            when_cancelled: match random.below(1000) {
                0..40 => WhenCancelled::ForgetsInvite,
                40..70 => WhenCancelled::ForgetsCancel,
                70..100 => WhenCancelled::Ignores,
                100..150 => WhenCancelled::PickedUp,
                150..200 => WhenCancelled::Declines,
                _ => WhenCancelled::Stops,
            },
            answers_twice: random.chance(20).then(|| random.below(2 * SECOND)),
            ignores_acks: random.chance(15),
            hangs_up: random.chance(100).then(|| random.below(20 * SECOND)),
        };
        let soon = random.below(SECOND);
        let later = random.below(25 * SECOND);
        call_plan.decides = match random.below(1000) {
            0..300 => Some((later, 200)),
            300..340 => Some((soon, 200)),
            340..480 => Some((later, 486)),
            480..510 => Some((later, 603)),
            510..520 => Some((soon, 600)),
            520..560 => Some((soon, 302)),
            560..590 => Some((soon, 401)),
            590..620 => Some((soon, 407)),
            620..720 => Some((later, [503, 500, 408, 404, 480, 484, 415, 410][random.index(8)])),
            720..770 => call_plan.silent(None),
            770..820 => call_plan.silent(Some((random.below(45 * SECOND), 200))),
            820..840 => call_plan.silent(Some((random.below(45 * SECOND), 486))),
            840..900 => Some((random.below(240 * SECOND), 200)),
            // It gives up at last, otherwise the proxy has to cancel it.
            _ => Some(((60 + random.below(240)) * SECOND, 480)),
        };
        call_plan
    }

    /// The plan for an INVITE within a dialog: it is answered at once.
    pub(super) fn for_hold(random: &mut Random) -> Self {
        let mut call_plan = Self::for_call(random);
        call_plan.rings = None;
        call_plan.answers_twice = None;
        call_plan.hangs_up = None;
        call_plan.decides = Some((0, if random.chance(100) { 488 } else { 200 }));
        call_plan
    }

    fn silent(&mut self, in_the_end: Option<(u64, u16)>) -> Option<(u64, u16)> {
        self.trying = false;
        self.rings = None;
        in_the_end
    }
}

/// What a phone sends for a request other than INVITE, and when: the final response and a provisional one before it.
pub(super) fn of_a_request(random: &mut Random) -> (Option<(u64, u16)>, Option<u16>) {
    let announces = random.chance(100).then_some(if random.chance(500) { 183 } else { 100 });
    let answer = match random.below(1000) {
        0..560 => Some((random.below(SECOND / 5), 200)),
        560..680 => Some((random.below(40 * SECOND), 200)),
        680..800 => Some((random.below(SECOND), 408)),
        800..920 => {
            let statuses = [480, 404, 486, 500, 503, 430, 401, 603, 415, 302];
            Some((random.below(3 * SECOND), statuses[random.index(10)]))
        }
        _ => None,
    };
    (answer, announces)
}
