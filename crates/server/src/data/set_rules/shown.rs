//! The rules of a user as the API, the pages and the command line show them.

use location::Aor;
use proxy::{Accounts, AlsoRing, Party};
use serde::{Deserialize, Serialize};

use super::rule::SetRule;
use crate::config::AlsoRingText;

/// The rules of a user as the API shows them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Forwarding {
    pub(crate) always: Option<String>,
    pub(crate) busy: Option<String>,
    pub(crate) no_answer: Option<String>,
    pub(crate) unavailable: Option<String>,
    pub(crate) after: String,
    /// Who rings beside the phones, in the order in which they begin.
    pub(crate) also_ring: Vec<AlsoRingText>,
    pub(crate) do_not_disturb: bool,
    /// What was set at run time.
    pub(crate) set: SetRule,
}

impl Forwarding {
    /// The rules in force, and which of them were set.
    pub(crate) fn new(user: &Aor, accounts: &Accounts, set: SetRule) -> Option<Self> {
        let rules = accounts.find(user)?.rules.as_deref().cloned().unwrap_or_default();
        let text = |party: &Option<Party>| party.as_ref().map(|party| party_text(party, user.domain()));
        let also_ring = |party: &AlsoRing| AlsoRingText::new(party_text(&party.to, user.domain()), party);
        let forward = &rules.forward;
        Some(Self {
            always: text(&forward.always),
            busy: text(&forward.busy),
            no_answer: text(&forward.no_answer),
            unavailable: text(&forward.unavailable),
            after: humantime::format_duration(forward.after).to_string(),
            also_ring: rules.also_ring.iter().map(also_ring).collect(),
            do_not_disturb: rules.do_not_disturb,
            set,
        })
    }
}

/// A party as it is written in the configuration of this domain.
pub(crate) fn party_text(party: &Party, domain: &[u8]) -> String {
    match party {
        Party::Name(name) if name.domain() == domain => String::from_utf8_lossy(name.user()).into_owned(),
        Party::Name(name) => String::from_utf8_lossy(name.as_bytes()).into_owned(),
        Party::Uri(uri) => uri.to_string(),
        Party::Voicemail => "voicemail".to_owned(),
    }
}
