//! The senders that were refused last, for the status page: who, from where, why, how often and when.
//!
//! Decides how many are kept: a few of each kind, so that a flood of one kind does not suppress another. Everything is in
//! memory. Refused calls are not among them, since the list of calls has them.

use std::net::IpAddr;

use location::{Aor, Wall};
use proxy::ConfigKey;

use super::rate_limit::{REFUSAL_KINDS, RefusalKind};

/// Entries of each kind.
const MAX_OF_KIND: usize = 20;

/// The refusals of one sender for one reason.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// What was refused.
    pub(crate) kind: RefusalKind,
    /// The user that the sender names; none for a message that cannot be read.
    pub(crate) user: Option<Aor>,
    /// The source address.
    pub(crate) source: IpAddr,
    /// Why, in words.
    pub(crate) why: String,
    /// The key that decided.
    pub(crate) key: Option<ConfigKey>,
    /// How often since `first`.
    pub(crate) count: u64,
    /// When it was refused first.
    pub(crate) first: Wall,
    /// When it was refused last.
    pub(crate) last: Wall,
}

/// The last refusals of each kind.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    kinds: [Vec<Refusal>; REFUSAL_KINDS],
}

impl Refusals {
    /// Counts a refusal. `refusal.count` is 1.
    pub(crate) fn add(&mut self, refusal: Refusal) {
        let Some(of_kind) = self.kinds.get_mut(refusal.kind as usize) else { return };
        let is_same = |known: &&mut Refusal| {
            known.source == refusal.source && known.user == refusal.user && known.why == refusal.why
        };
        if let Some(known) = of_kind.iter_mut().find(is_same) {
            known.count += 1;
            known.last = refusal.last;
            return;
        }
        if of_kind.len() >= MAX_OF_KIND {
            let oldest = of_kind.iter().enumerate().min_by_key(|(_, known)| known.last).map(|(at, _)| at);
            oldest.map(|at| of_kind.swap_remove(at));
        }
        of_kind.push(refusal);
    }

    /// All of them, the last one first.
    pub(crate) fn list(&self) -> Vec<Refusal> {
        let mut all: Vec<_> = self.kinds.iter().flatten().cloned().collect();
        all.sort_by_key(|refusal| std::cmp::Reverse(refusal.last));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(kind: RefusalKind, host: u8, at: u64) -> Refusal {
        let (user, source) = (Some(Aor::new(b"105", b"office.example")), IpAddr::from([192, 0, 2, host]));
        let why = "wrong password".to_owned();
        Refusal { kind, user, source, why, key: None, count: 1, first: Wall(at), last: Wall(at) }
    }

    #[test]
    fn refusals_of_one_sender_are_one_entry() {
        let mut refusals = Refusals::default();
        for at in 0..2631 {
            refusals.add(refusal(RefusalKind::Credentials, 7, at));
        }
        let [only] = &refusals.list()[..] else { panic!("one entry") };
        assert_eq!((only.count, only.first, only.last), (2631, Wall(0), Wall(2630)));
    }

    #[test]
    fn a_flood_of_one_kind_keeps_the_other_kinds() {
        let mut refusals = Refusals::default();
        refusals.add(refusal(RefusalKind::Registration, 1, 0));
        for host in 0..=255 {
            refusals.add(refusal(RefusalKind::Credentials, host, 1000 + u64::from(host)));
        }
        let list = refusals.list();
        assert_eq!(list.len(), MAX_OF_KIND + 1);
        assert_eq!(list[0].source, IpAddr::from([192, 0, 2, 255]));
        assert!(list.iter().any(|refusal| refusal.kind == RefusalKind::Registration));
    }
}
