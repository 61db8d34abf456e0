//! A phone that registers shortly after the ring time of calls to its user, which must not ring it any more.

use super::population::Population;
use crate::judge::GIVE_UP;

const SECOND: u64 = 1_000_000;

/// The user of the phone. It has several others, so that its calls have a ring time.
pub(super) const LATE_USER: &str = "bob";

/// A phone that does not respond to its CANCEL leaves the call open for 64·T1; the others do for a moment only.
const DELAYS: [u64; 4] = [SECOND / 4, SECOND, 4 * SECOND, GIVE_UP / 2];

/// How long it stays registered.
const STAY: u64 = 2 * SECOND;

impl Population<'_> {
    /// Adds the phone. `calls`: when calls to its user begin.
    pub(super) fn add_late_phone(&mut self, calls: &[u64]) {
        let phone = self.agent(&format!("{LATE_USER}/late"));
        let credentials = self.security.credentials(phone.user());
        let mut behaviour = self.phone(&phone, 0, "", credentials);
        let mut times = Vec::new();
        for call in calls {
            let delay = DELAYS[self.random.index(DELAYS.len())];
            let at = call + self.ring_time + self.random.below(delay);
            times.extend([(at, true), (at + STAY, false)]);
        }
        times.sort_unstable();
        for (at, registers) in times {
            let params = if registers { "" } else { ";expires=0" };
            let register = phone.register().set("Contact", format_args!("<{}>{params}", phone.contact()));
            phone.set_timer(at, behaviour.plan(register));
        }
        phone.acts_as(behaviour);
    }
}
