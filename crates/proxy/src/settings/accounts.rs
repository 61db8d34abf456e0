//! The accounts: which users exist, their secrets, and what they may do.
//!
//! Only values. `auth` checks credentials.

use hashbrown::{HashMap, HashSet};
use location::{Aor, Record};

use super::callers::{Caller, Named, is_among};
use super::{Algorithm, Algorithms};

/// The accounts by AoR.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    by_aor: HashMap<Aor, Account>,
    /// The number of accounts for each set of algorithms that they have secrets for, by [`Algorithms::index`].
    sets: [u32; Algorithms::SETS],
    /// For each AoR, the algorithms of the other users that may register for it.
    others: HashMap<Aor, Algorithms>,
    /// All names in `may_call_as` of any account.
    callers: HashSet<Caller>,
}

impl Accounts {
    /// Adds an account; returns the one that had this AoR before.
    pub fn insert(&mut self, aor: Aor, account: Account) -> Option<Account> {
        let algorithms = account.secrets.algorithms();
        for other in &account.may_register {
            let others = self.others.entry_ref(other).or_default();
            *others = others.union(algorithms);
        }
        self.callers.extend(account.may_call_as.iter().cloned());
        self.count(algorithms, 1);
        let replaced = self.by_aor.insert(aor, account);
        if let Some(replaced) = &replaced {
            self.count(replaced.secrets.algorithms(), -1);
        }
        replaced
    }

    /// The algorithms to offer in a challenge for this AoR: those that its account, and the others that may register for
    /// it, have secrets for.
    ///
    /// If there is no account, it is the set of some other account, chosen by `decoy`, a keyed hash of the AoR. Each set is
    /// chosen as often as accounts have it, so the challenge does not tell an attacker whether an account exists.
    pub(crate) fn answerable(&self, aor: &Aor, decoy: u64) -> Algorithms {
        // Computed in any case, so that the time does not tell either.
        let decoy = self.decoy(decoy);
        let own = self.find(aor).map(|account| account.secrets.algorithms()).unwrap_or_default();
        let others = if self.others.is_empty() { None } else { self.others.get(aor) };
        let all = own.union(others.copied().unwrap_or_default());
        if all.is_empty() { decoy } else { all }
    }

    /// The set of algorithms for an AoR without an account.
    fn decoy(&self, hash: u64) -> Algorithms {
        let with_secrets = self.sets.iter().skip(1).map(|count| u64::from(*count));
        let mut position = ((hash >> 32) * with_secrets.sum::<u64>()) >> 32;
        for (index, count) in (0..).zip(self.sets).skip(1) {
            match position.checked_sub(u64::from(count)) {
                Some(rest) => position = rest,
                None => return Algorithms::from_index(index),
            }
        }
        Algorithms::ALL
    }

    fn count(&mut self, algorithms: Algorithms, change: i32) {
        if let Some(count) = self.sets.get_mut(algorithms.index()) {
            *count = count.saturating_add_signed(change);
        }
    }

    /// Whether there are no accounts.
    pub fn is_empty(&self) -> bool {
        self.by_aor.is_empty()
    }

    /// All accounts, in no order.
    pub fn aors(&self) -> impl Iterator<Item = &Aor> {
        self.by_aor.keys()
    }

    /// The number of accounts.
    pub fn len(&self) -> usize {
        self.by_aor.len()
    }

    /// Whether this user may change the bindings of an AoR: its own, or one that its account lists.
    pub fn may_register(&self, user: &Aor, aor: &Aor) -> bool {
        user == aor || self.find(user).is_some_and(|account| account.may_register.contains(aor))
    }

    /// Whether this user may see the bindings of an AoR: its own, or one that its account lists (RFC 3680 4.6).
    pub(crate) fn may_watch(&self, user: &Aor, aor: &Aor) -> bool {
        user == aor || self.find(user).is_some_and(|account| account.may_watch.contains(aor))
    }

    /// Whether this user may have this name in From: an anonymous one, or one that its account lists. Its own AoR is
    /// not checked here.
    pub(crate) fn may_call_as(&self, user: &Aor, named: &Named) -> bool {
        let lists = |account: &Account| account.may_call_as.iter().any(|caller| caller.is(named, user.domain()));
        named.is_anonymous() || self.find(user).is_some_and(lists)
    }

    /// Whether a foreign From can be a user's: it is anonymous, or some account lists it.
    pub(crate) fn is_caller(&self, named: &Named) -> bool {
        named.is_anonymous() || is_among(&self.callers, named)
    }

    /// The configured bindings of this user.
    pub(crate) fn contacts(&self, aor: &Aor) -> Option<&Record> {
        self.find(aor)?.contacts.as_ref()
    }

    /// The account of an AoR.
    pub fn find(&self, aor: &Aor) -> Option<&Account> {
        self.by_aor.get(aor)
    }
}

/// One user.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The secrets of its password; empty for a user that only has `contacts`.
    pub secrets: Secrets,
    /// Its configured bindings ([`fixed_bindings`](crate::fixed_bindings)).
    pub contacts: Option<Record>,
    /// Other AoRs that it may register for (RFC 3261 10.3 step 4).
    pub may_register: Vec<Aor>,
    /// Other AoRs whose registrations it may subscribe to (RFC 3680 4.6).
    pub may_watch: Vec<Aor>,
    /// Names other than its own that its requests may have in From.
    pub may_call_as: Vec<Caller>,
}

/// The secrets of a user: H(user:realm:password) by algorithm (RFC 7616 3.4.2). The realm is the domain of the user.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// MD5.
    pub md5: Option<[u8; 16]>,
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// SHA-512/256.
    pub sha512t256: Option<[u8; 32]>,
}

impl Secrets {
    /// The algorithms that there is a secret for.
    pub(crate) fn algorithms(&self) -> Algorithms {
        Algorithms::of(Algorithm::Md5, self.md5.is_some())
            .union(Algorithms::of(Algorithm::Sha256, self.sha256.is_some()))
            .union(Algorithms::of(Algorithm::Sha512t256, self.sha512t256.is_some()))
    }
}

impl From<Secrets> for Account {
    fn from(secrets: Secrets) -> Self {
        Self { secrets, ..Self::default() }
    }
}

impl std::fmt::Debug for Secrets {
    /// Secrets never reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aor(number: u32) -> Aor {
        Aor::new(number.to_string().as_bytes(), b"office.example")
    }

    fn with(md5: bool, sha256: bool) -> Secrets {
        Secrets { md5: md5.then_some([0; 16]), sha256: sha256.then_some([0; 32]), sha512t256: None }
    }

    #[test]
    fn challenges_do_not_tell_whether_an_account_exists() {
        let mut accounts = Accounts::default();
        assert_eq!(accounts.answerable(&aor(1), 0), Algorithms::ALL);
        // One of four can answer SHA-256 only.
        for number in 0..4 {
            accounts.insert(aor(number), with(true, true).into());
        }
        accounts.insert(aor(0), with(false, true).into());
        accounts.insert(aor(9), Account::default());
        let shas = Algorithms::of(Algorithm::Sha256, true);
        assert_eq!(accounts.answerable(&aor(0), u64::MAX), shas);
        let strangers = (0..1000_u64).map(|at| accounts.answerable(&aor(100), at << 54));
        assert_eq!(strangers.filter(|set| *set == shas).count(), 256);
        assert!(!accounts.answerable(&aor(9), 0).is_empty(), "an account without a password looks like any other");
    }

    #[test]
    fn a_user_that_may_register_for_another_can_answer_its_challenge() {
        let mut accounts = Accounts::default();
        accounts.insert(aor(1), with(true, false).into());
        accounts.insert(aor(2), Account { may_register: vec![aor(1)], ..with(false, true).into() });
        assert!(accounts.answerable(&aor(1), 0).contains(Algorithm::Sha256));
        assert!(!accounts.answerable(&aor(2), 0).contains(Algorithm::Md5));
    }
}
