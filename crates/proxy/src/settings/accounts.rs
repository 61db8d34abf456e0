//! The accounts: who may register and call, and what proves it.
//!
//! Values only; whether credentials are good is `auth`'s to say.

use hashbrown::HashMap;
use location::{Aor, Record};

/// The accounts by AoR.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    by_aor: HashMap<Aor, Account>,
}

impl Accounts {
    /// Adds an account; returns the one that had this AoR before.
    pub fn insert(&mut self, aor: Aor, account: Account) -> Option<Account> {
        self.by_aor.insert(aor, account)
    }

    /// Whether nobody is listed.
    pub fn is_empty(&self) -> bool {
        self.by_aor.is_empty()
    }

    /// Who is listed, in no order.
    pub fn aors(&self) -> impl Iterator<Item = &Aor> {
        self.by_aor.keys()
    }

    /// How many are listed.
    pub fn len(&self) -> usize {
        self.by_aor.len()
    }

    /// Whether this user may change the bindings of an AoR: they are his own, or his account says so.
    pub fn may_register(&self, user: &Aor, aor: &Aor) -> bool {
        user == aor || self.find(user).is_some_and(|account| account.may_register.contains(aor))
    }

    /// Whether this user may see the bindings of an AoR: they are his own, or his account says so (RFC 3680 4.6).
    pub(crate) fn may_watch(&self, user: &Aor, aor: &Aor) -> bool {
        user == aor || self.find(user).is_some_and(|account| account.may_watch.contains(aor))
    }

    /// Where this user is reached whether he registers or not.
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
    /// What proves that it is he; none of them for one who never has to.
    pub secrets: Secrets,
    /// Where he is reached whether he registers or not, see [`fixed_bindings`](crate::fixed_bindings); none for most.
    pub contacts: Option<Record>,
    /// For whom he may register besides himself (RFC 3261 10.3 step 4).
    pub may_register: Vec<Aor>,
    /// Whose registrations he may watch besides his own (RFC 3680 4.6).
    pub may_watch: Vec<Aor>,
}

/// The secrets of one user: H(user:realm:password) by algorithm (RFC 7616 3.4.2), realm = his domain.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// MD5.
    pub md5: Option<[u8; 16]>,
    /// SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// SHA-512/256.
    pub sha512t256: Option<[u8; 32]>,
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
