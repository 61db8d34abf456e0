//! What a phone does with one request: drawn anew for each.

use crate::Dice;

/// What a phone does with an INVITE. Times are in microseconds since it came.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    /// Says 100 at once.
    pub(super) trying: bool,
    /// When it says that it rings, and with which code.
    pub(super) rings: Option<(u64, u16)>,
    /// Says so again, after so long.
    pub(super) rings_again: Option<u64>,
    /// What it answers of its own accord, and when.
    pub(super) decides: Option<(u64, u16)>,
    pub(super) when_cancelled: WhenCancelled,
    /// Sends a second 2xx with another tag, so long after the first.
    pub(super) answers_twice: Option<u64>,
    /// Does not hear ACKs, and repeats its final for as long as it may.
    pub(super) deaf_to_acks: bool,
    /// Says BYE so long after it was answered.
    pub(super) hangs_up: Option<u64>,
}

/// What a phone does with a CANCEL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenCancelled {
    /// 200 and 487.
    Stops,
    /// 200, and nothing more.
    ForgetsInvite,
    /// 487, and no word about the CANCEL.
    ForgetsCancel,
    /// Nothing at all.
    Deaf,
    /// 200, and 200 to the INVITE: it was picked up.
    PickedUp,
}

const SECOND: u64 = 1_000_000;

impl Manner {
    /// How phones are: out of a thousand.
    pub(super) fn of_a_call(dice: &mut Dice) -> Self {
        let mut manner = Self {
            trying: dice.happens(150),
            rings: Some((dice.roll(SECOND / 2), if dice.happens(100) { 183 } else { 180 })),
            rings_again: dice.happens(250).then(|| (3 + dice.roll(50)) * SECOND),
            decides: None,
            when_cancelled: match dice.roll(1000) {
                0..40 => WhenCancelled::ForgetsInvite,
                40..70 => WhenCancelled::ForgetsCancel,
                70..100 => WhenCancelled::Deaf,
                100..150 => WhenCancelled::PickedUp,
                _ => WhenCancelled::Stops,
            },
            answers_twice: dice.happens(20).then(|| dice.roll(2 * SECOND)),
            deaf_to_acks: dice.happens(15),
            hangs_up: dice.happens(100).then(|| dice.roll(20 * SECOND)),
        };
        let soon = dice.roll(SECOND);
        let later = dice.roll(25 * SECOND);
        manner.decides = match dice.roll(1000) {
            0..300 => Some((later, 200)),
            300..340 => Some((soon, 200)),
            340..480 => Some((later, 486)),
            480..510 => Some((later, 603)),
            510..520 => Some((soon, 600)),
            520..560 => Some((soon, 302)),
            560..590 => Some((soon, 401)),
            590..620 => Some((soon, 407)),
            620..720 => Some((later, [503, 500, 408, 404, 480, 484, 415, 410][dice.below(8)])),
            720..770 => manner.mute(None),
            770..820 => manner.mute(Some((dice.roll(45 * SECOND), 200))),
            820..840 => manner.mute(Some((dice.roll(45 * SECOND), 486))),
            840..900 => Some((dice.roll(240 * SECOND), 200)),
            // It gives up in the end, or its proxy would have to ask it to.
            _ => Some(((60 + dice.roll(240)) * SECOND, 480)),
        };
        manner
    }

    /// In a dialog: at once.
    pub(super) fn of_a_hold(dice: &mut Dice) -> Self {
        let mut manner = Self::of_a_call(dice);
        manner.rings = None;
        manner.answers_twice = None;
        manner.hangs_up = None;
        manner.decides = Some((0, if dice.happens(100) { 488 } else { 200 }));
        manner
    }

    fn mute(&mut self, in_the_end: Option<(u64, u16)>) -> Option<(u64, u16)> {
        self.trying = false;
        self.rings = None;
        in_the_end
    }
}

/// What a phone answers to a request other than INVITE, and when; it may say that it will.
pub(super) fn of_a_request(dice: &mut Dice) -> (Option<(u64, u16)>, Option<u16>) {
    let announces = dice.happens(100).then_some(if dice.happens(500) { 183 } else { 100 });
    let answer = match dice.roll(1000) {
        0..560 => Some((dice.roll(SECOND / 5), 200)),
        560..680 => Some((dice.roll(40 * SECOND), 200)),
        680..800 => Some((dice.roll(SECOND), 408)),
        800..920 => {
            let statuses = [480, 404, 486, 500, 503, 430, 401, 603, 415, 302];
            Some((dice.roll(3 * SECOND), statuses[dice.below(10)]))
        }
        _ => None,
    };
    (answer, announces)
}
