//! Calls by the thousand on a network that loses, doubles and reorders: each ends, once, and leaves nothing behind.

use crate::sim::{Ending, Habits, Storm, Weather, World, sequential};

const CALLS_PER_WORLD: u32 = 100;

/// Five thousand calls under each strategy, every hundred of them from another seed.
fn storm(seeds: std::ops::Range<u64>, qs: &[&str], in_sequence: bool) -> Vec<Ending> {
    let mut endings = Vec::new();
    for seed in seeds {
        let world = World::build(1, seed, |settings| {
            if in_sequence {
                settings.forking = sequential(15);
            }
        });
        let storm = Storm::new(&world, seed, CALLS_PER_WORLD, qs, Habits::OFFICE);
        world.weather(Weather::STORM);
        world.settle();
        endings.extend(storm.judge(&world));
    }
    endings
}

/// That the storm blew from all sides: every kind of ending is there, and often.
fn check_variety(endings: &[Ending], calls: usize) {
    assert_eq!(endings.len(), calls);
    let many = calls / 100;
    for status in [408, 486, 487, 603] {
        let count = endings.iter().filter(|ending| ending.failed.iter().any(|(code, _)| *code == status)).count();
        assert!(count > many, "{status}: {count} of {calls}");
    }
    assert!(endings.iter().filter(|ending| ending.answered.len() == 1).count() > calls / 4);
    assert!(endings.iter().any(|ending| ending.answered.len() > 1), "phones that tie");
    assert!(endings.iter().any(|ending| ending.hung_up && !ending.answered.is_empty()), "a 200 that crosses a CANCEL");
}

#[test]
fn parallel_forks_survive_the_storm() {
    // checklist 31, 65, 66, 75, 78, 79, 91, 92
    check_variety(&storm(0..50, &["1.0", "1.0", "0.5"], false), 5000);
}

#[test]
fn sequential_forks_survive_the_storm() {
    // checklist 31, 65, 66, 75, 78, 79, 91, 92
    check_variety(&storm(1000..1050, &["1.0", "0.5", "0.5"], true), 5000);
}
