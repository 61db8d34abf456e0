//! The order of SRV records (RFC 2782, "Usage rules"), the same for all messages of a call (RFC 3263 4.4).

use super::records::Srv;

/// The largest number of records that an order is drawn from. The time for it grows with the square of this number, and
/// an answer over TCP can have thousands of records.
const MAX_RECORDS: usize = 64;

/// The records by priority; those with equal priority in an order drawn by weight. Of very many records only the first
/// ones.
pub(super) fn by_priority_and_weight(records: &[Srv], seed: u64) -> Vec<&Srv> {
    // The order of the answer must not matter: resolvers rotate it. Records with weight 0 come first (RFC 2782).
    let mut left: Vec<&Srv> = records.iter().collect();
    left.sort_by_key(|srv| (srv.priority, srv.weight, &srv.target, srv.port));
    left.truncate(MAX_RECORDS);
    let mut ordered = Vec::with_capacity(left.len());
    let mut state = seed;
    while let Some(priority) = left.first().map(|srv| srv.priority) {
        let group = left.iter().take_while(|srv| srv.priority == priority);
        let sum: u64 = group.map(|srv| u64::from(srv.weight)).sum();
        let drawn = next_random(&mut state) % (sum + 1);
        let mut running = 0;
        let position = left.iter().position(|srv| {
            running += u64::from(srv.weight);
            running >= drawn
        });
        ordered.push(left.remove(position.unwrap_or_default()));
    }
    ordered
}

/// SplitMix64: each seed gives a sequence of its own.
const fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 5060, target: target.into() }
    }

    fn first_of(records: &[Srv], seed: u64) -> &str {
        by_priority_and_weight(records, seed).first().map(|srv| &*srv.target).expect("a record")
    }

    #[test]
    fn priority_decides_before_weight() {
        let records = [srv(2, 65535, "c"), srv(1, 0, "b"), srv(1, 0, "a"), srv(0, 1, "z")];
        for seed in 0..100 {
            let ordered = by_priority_and_weight(&records, seed);
            let priorities: Vec<_> = ordered.iter().map(|srv| srv.priority).collect();
            assert_eq!(priorities, [0, 1, 1, 2]);
        }
    }

    #[test]
    fn the_share_of_a_record_is_its_weight() {
        // checklist 119
        let records = [srv(1, 10, "small"), srv(1, 90, "big"), srv(1, 0, "spare")];
        let count = |target| (0..10_000).filter(|seed| first_of(&records, *seed) == target).count();
        assert!((800..1200).contains(&count("small")), "{}", count("small"));
        assert!((8600..9200).contains(&count("big")), "{}", count("big"));
        assert!((1..300).contains(&count("spare")), "{}", count("spare"));
    }

    #[test]
    fn of_very_many_records_those_with_the_best_priority_are_ordered() {
        let records: Vec<_> = (0..4000).rev().map(|priority| srv(priority, 1, "a")).collect();
        let ordered = by_priority_and_weight(&records, 1);
        assert_eq!((ordered.len(), ordered.last().map(|srv| srv.priority)), (MAX_RECORDS, Some(63)));
    }

    #[test]
    fn the_order_of_the_answer_does_not_matter() {
        // checklist 121
        let mut records = vec![srv(1, 5, "a"), srv(1, 5, "b"), srv(1, 5, "c"), srv(1, 7, "d")];
        for seed in 0..50 {
            let one = by_priority_and_weight(&records, seed).into_iter().cloned().collect::<Vec<_>>();
            records.rotate_left(1);
            let other = by_priority_and_weight(&records, seed).into_iter().cloned().collect::<Vec<_>>();
            assert_eq!(one, other);
        }
    }
}
