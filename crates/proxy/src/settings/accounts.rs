//! The accounts: the users who may register and call, with their secrets and permissions.
//!
//! Values only; `auth` decides whether credentials are valid.

use hashbrown::{HashMap, HashSet};
use location::{Aor, Record};

use super::callers::{Caller, Named, is_among};
use super::office::{UserRules, plain};
use super::{Algorithm, Algorithms};

/// The accounts by AoR.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    by_aor: HashMap<Aor, Account>,
    /// Number of accounts with secrets for exactly this set of algorithms, by [`Algorithms::index`].
    sets: [u32; Algorithms::SETS],
    /// For each AoR that other accounts may register for: the algorithms of these accounts.
    others: HashMap<Aor, Algorithms>,
    /// All names in `may_call_as` of any account.
    callers: HashSet<Caller>,
    /// The users by their further numbers, which are without visual separators.
    numbers: HashMap<Aor, Aor>,
    /// Whether an account has rules.
    have_rules: bool,
}

impl Accounts {
    /// Adds an account; returns the one that it replaces.
    pub fn insert(&mut self, aor: Aor, account: Account) -> Option<Account> {
        let algorithms = account.secrets.algorithms();
        for other in &account.may_register {
            let others = self.others.entry_ref(other).or_default();
            *others = others.union(algorithms);
        }
        self.callers.extend(account.may_call_as.iter().cloned());
        self.have_rules |= account.rules.is_some();
        self.count(algorithms, 1);
        let replaced = self.by_aor.insert(aor, account);
        if let Some(replaced) = &replaced {
            self.count(replaced.secrets.algorithms(), -1);
        }
        replaced
    }

    /// The algorithms for which a client can respond to a challenge for this AoR: those of its account, and of the
    /// accounts that may register for it.
    ///
    /// An AoR without such secrets gets the algorithms of some existing account, so that a challenge does not reveal
    /// which users have an account: each set of algorithms is as frequent among these AoRs as among the accounts.
    /// `stand_in` selects the account: a keyed hash of the AoR, which stays the same after a restart.
    pub(crate) fn answerable(&self, aor: &Aor, stand_in: u64) -> Algorithms {
        // Computed in any case: the response time must not reveal it either.
        let model = self.model(stand_in);
        let own = self.find(aor).map(|account| account.secrets.algorithms()).unwrap_or_default();
        let others = if self.others.is_empty() { None } else { self.others.get(aor) };
        let all = own.union(others.copied().unwrap_or_default());
        if all.is_empty() { model } else { all }
    }

    fn model(&self, stand_in: u64) -> Algorithms {
        let with_secrets = self.sets.iter().skip(1).map(|count| u64::from(*count));
        let mut place = ((stand_in >> 32) * with_secrets.sum::<u64>()) >> 32;
        for (index, count) in (0..).zip(self.sets).skip(1) {
            match place.checked_sub(u64::from(count)) {
                Some(rest) => place = rest,
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

    /// Number of accounts.
    pub fn len(&self) -> usize {
        self.by_aor.len()
    }

    /// Whether this user may change the bindings of an AoR: its own, or one that its account lists (RFC 3261 10.3 step
    /// 4).
    pub fn may_register(&self, user: &Aor, aor: &Aor) -> bool {
        user == aor || self.find(user).is_some_and(|account| account.may_register.contains(aor))
    }

    /// Whether this user may see the state of an AoR, its bindings, calls and messages: its own, or one that its account
    /// lists (RFC 3680 4.6, RFC 4235 3.6).
    pub(crate) fn may_watch(&self, user: &Aor, aor: &Aor) -> bool {
        user == aor
            || self.find(user).is_some_and(|account| {
                self.is_among_others(&account.may_watch, user, aor)
                    || self.is_among_others(&account.may_pick_up, user, aor)
            })
    }

    /// Whether this user may accept a call that rings at the phones of an AoR: its own, or one that its account lists.
    pub(crate) fn may_pick_up(&self, user: &Aor, aor: &Aor) -> bool {
        user == aor || self.find(user).is_some_and(|account| self.is_among_others(&account.may_pick_up, user, aor))
    }

    /// Whether `aor` is one of these `others` of `user`.
    fn is_among_others(&self, others: &Others, user: &Aor, aor: &Aor) -> bool {
        match others {
            Others::Listed(listed) => listed.contains(aor),
            Others::All => aor.domain() == user.domain() && self.find(aor).is_some(),
        }
    }

    /// Whether this user may have this name in From: an anonymous one, or one that its account lists. Its own AoR is
    /// not checked here.
    pub(crate) fn may_call_as(&self, user: &Aor, named: &Named) -> bool {
        let lists = |account: &Account| account.may_call_as.iter().any(|caller| caller.is(named, user.domain()));
        named.is_anonymous() || self.find(user).is_some_and(lists)
    }

    /// Whether a From of another domain is allowed for any user.
    pub(crate) fn is_caller(&self, named: &Named) -> bool {
        named.is_anonymous() || is_among(&self.callers, named)
    }

    /// The name of this account, as it is stored; `None` if there is no such account.
    pub(crate) fn name_of(&self, user: &Aor) -> Option<&Aor> {
        self.by_aor.get_key_value(user).map(|(name, _)| name)
    }

    /// The fixed bindings of this user.
    pub(crate) fn contacts(&self, aor: &Aor) -> Option<&Record> {
        self.find(aor)?.contacts.as_ref()
    }

    /// Replaces the rules of a user. Without such an account nothing happens.
    pub fn set_rules(&mut self, user: &Aor, rules: Option<Box<UserRules>>) {
        if let Some(account) = self.by_aor.get_mut(user) {
            self.have_rules |= rules.is_some();
            account.rules = rules;
        }
    }

    /// Makes `number` a further number of `user`; false if it is a number of another user already.
    pub fn add_number(&mut self, number: &Aor, user: &Aor) -> bool {
        let number = plain(number).unwrap_or_else(|| number.clone());
        self.numbers.entry(number).or_insert_with(|| user.clone()) == user
    }

    /// Whether this is a further number of a user.
    pub fn has_number(&self, number: &Aor) -> bool {
        self.with_number(number).is_some() || plain(number).is_some_and(|number| self.with_number(&number).is_some())
    }

    /// The user that this is a further number of.
    pub fn with_number(&self, number: &Aor) -> Option<&Aor> {
        if self.numbers.is_empty() { None } else { self.numbers.get(number) }
    }

    /// Whether a user has rules or a further number.
    pub(crate) fn have_rules(&self) -> bool {
        self.have_rules || !self.numbers.is_empty()
    }

    /// The account of an AoR.
    pub fn find(&self, aor: &Aor) -> Option<&Account> {
        self.by_aor.get(aor)
    }
}

/// Other users that an account has a permission for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Others {
    /// These.
    Listed(Vec<Aor>),
    /// All accounts of its domain.
    All,
}

impl Default for Others {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// One user.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The secrets that authenticate it; none for a user that only has `contacts`.
    pub secrets: Secrets,
    /// Its fixed bindings, see [`fixed_bindings`](crate::fixed_bindings).
    pub contacts: Option<Record>,
    /// Other AoRs that it may register for (RFC 3261 10.3 step 4).
    pub may_register: Vec<Aor>,
    /// Other AoRs whose registrations, calls and messages it may subscribe to (RFC 3680 4.6, RFC 4235 3.6).
    pub may_watch: Others,
    /// Other AoRs whose calls it may pick up while they ring (RFC 3891 8). It may watch them, too.
    pub may_pick_up: Others,
    /// Other names that are allowed in From of its requests.
    pub may_call_as: Vec<Caller>,
    /// What happens to its calls, if it is not only that its phones ring.
    pub rules: Option<Box<UserRules>>,
    /// What it may dial, and how it is shown there; without, everything and as the trunk says.
    pub dialling: Option<Box<Dialling>>,
    /// The name of the user for people; may be empty.
    pub label: Box<str>,
}

/// What a user may dial outside of the office.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialling {
    /// The classes of outgoing lines; all of them if `None`.
    pub classes: Option<Vec<Box<str>>>,
    /// The number that the called see.
    pub caller_id: Option<Box<str>>,
}

/// The secrets of one user: H(user:realm:password) by algorithm (RFC 7616 3.4.2), realm = the domain of the user.
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
    fn an_aor_without_an_account_looks_like_one_with_an_account() {
        let mut accounts = Accounts::default();
        assert_eq!(accounts.answerable(&aor(1), 0), Algorithms::ALL);
        // One account of four has SHA-256 alone, after one was replaced.
        for number in 0..4 {
            accounts.insert(aor(number), with(true, true).into());
        }
        accounts.insert(aor(0), with(false, true).into());
        accounts.insert(aor(9), Account::default());
        let shas = Algorithms::of(Algorithm::Sha256, true);
        assert_eq!(accounts.answerable(&aor(0), u64::MAX), shas);
        let unknown = (0..1000_u64).map(|at| accounts.answerable(&aor(100), at << 54));
        assert_eq!(unknown.filter(|set| *set == shas).count(), 256);
        assert!(!accounts.answerable(&aor(9), 0).is_empty(), "an account without secrets looks like one with secrets");
    }

    #[test]
    fn an_account_that_registers_for_others_can_respond_for_them() {
        let mut accounts = Accounts::default();
        accounts.insert(aor(1), with(true, false).into());
        accounts.insert(aor(2), Account { may_register: vec![aor(1)], ..with(false, true).into() });
        assert!(accounts.answerable(&aor(1), 0).contains(Algorithm::Sha256));
        assert!(!accounts.answerable(&aor(2), 0).contains(Algorithm::Md5));
    }
}
