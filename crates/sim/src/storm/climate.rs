//! What a seed makes of a world: settings, weather and faults.

use std::time::Duration;

use proxy::{Settings, Strategy};

use super::security::Security;
use crate::judge::Terms;
use crate::{Dice, Fault, Mood, Weather, World};

/// Everything about a world that is not its people.
pub(super) struct Climate {
    pub(super) workers: u8,
    pub(super) security: Security,
    strategy: Strategy,
    ring_time: Duration,
    timer_c: Duration,
    joins: bool,
    weather: Weather,
    /// Out of a thousand, for each agent: how often it is cut off during the storm.
    cut_off: u64,
    disconnected: u64,
    clock_steps: u64,
    core_messages: Duration,
    /// How long a change takes to be safe.
    commits: Duration,
    /// How often the store refuses changes for a while.
    refusals: u64,
}

impl Climate {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let seconds = |dice: &mut Dice, choices: &[u64]| Duration::from_secs(choices[dice.below(choices.len())]);
        let calm = dice.happens(200);
        let weather = Weather {
            delay: (1, 1 + dice.roll(200)),
            lost: dice.roll(200),
            doubled: dice.roll(100),
            straggling: dice.roll(40),
            letters_lost: if dice.happens(300) { dice.roll(100) } else { 0 },
        };
        Self {
            workers: [1, 1, 2, 3][dice.below(4)],
            security: Security::draw(dice),
            strategy: [Strategy::Parallel, Strategy::Parallel, Strategy::Sequential, Strategy::Wave][dice.below(4)],
            ring_time: seconds(dice, &[5, 15, 30, 30, 60, 300]),
            timer_c: seconds(dice, &[181, 181, 181, 40]),
            joins: dice.happens(500),
            weather: if calm { Weather::FAIR } else { weather },
            cut_off: if dice.happens(300) { dice.roll(500) } else { 0 },
            disconnected: if dice.happens(300) { dice.roll(800) } else { 0 },
            clock_steps: if dice.happens(200) { 1 + dice.roll(3) } else { 0 },
            core_messages: Duration::from_micros(if dice.happens(500) { dice.roll(3000) } else { 0 }),
            commits: Duration::from_micros(if dice.happens(400) { dice.roll(5_000_000) } else { 0 }),
            refusals: if dice.happens(300) { 1 + dice.roll(3) } else { 0 },
        }
    }

    pub(super) fn settle_in(&self, settings: &mut Settings) {
        settings.forking.strategy = self.strategy;
        settings.forking.ring_time = self.ring_time;
        settings.forking.late_registration = self.joins;
        settings.timers.c = self.timer_c;
        self.security.settle_in(settings);
    }

    /// What the judge has to know of it.
    pub(super) fn terms(&self) -> Terms {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // A redirection lets new phones ring beside the others, and a wave is made of that.
        let rings_on = self.strategy != Strategy::Sequential;
        Terms {
            ring_time: micros(self.ring_time),
            timer_c: micros(self.timer_c),
            rings_on,
            joins: self.joins,
            core_messages: (self.weather.letters_lost == 0).then_some(micros(self.core_messages)),
            commits: micros(self.commits),
        }
    }

    pub(super) const fn loses_letters(&self) -> bool {
        self.weather.letters_lost > 0
    }

    /// Lets the storm begin, for these agents; it rages for a minute.
    pub(super) fn break_out(&self, world: &World, agents: impl Iterator<Item = usize>, dice: &mut Dice) {
        world.weather(self.weather);
        world.letters_take(self.core_messages);
        world.commits_take(self.commits);
        let mut soon = |most: u64| Duration::from_millis(dice.roll(most));
        for _ in 0..self.clock_steps {
            let step = i64::try_from(soon(8_000_000).as_millis()).unwrap_or(0) - 4_000_000;
            world.befalls(soon(90_000), Fault::StepClock(step));
        }
        for refusal in 0..self.refusals {
            let when = soon(90_000);
            world.befalls(when, Fault::Store(if refusal % 2 == 0 { Mood::ReadOnly } else { Mood::Full }));
            world.befalls(when + soon(20_000), Fault::Store(Mood::Good));
        }
        for agent in agents {
            if soon(1000).as_millis() < self.cut_off.into() {
                let when = soon(80_000);
                world.befalls(when, Fault::Unplug(agent));
                world.befalls(when + soon(40_000), Fault::Plug(agent));
            }
            if soon(1000).as_millis() < self.disconnected.into() {
                world.befalls(soon(90_000), Fault::Disconnect(agent));
            }
        }
    }
}
