//! `codes`: decides whether each feature code has one meaning. Two equal codes, or a code that is the name of somebody, would
//! only show up when a user dials them. Must not decide what a code does.

use proxy::Accounts;

use super::check::conflict;
use super::{CalledName, Codes};
use crate::config::Config;
use crate::config::error::{Conflict, PathStep};
use crate::config::scalar::Scalar as _;

/// Checks that each feature code has one meaning.
pub(super) fn check(config: &Config, accounts: &Accounts) -> Result<(), Conflict> {
    let Codes { forward_always, forward_off, dnd_on, dnd_off } = &config.codes;
    let all =
        [("forward_always", forward_always), ("forward_off", forward_off), ("dnd_on", dnd_on), ("dnd_off", dnd_off)];
    let codes = all.into_iter().filter_map(|(key, code)| Some((key, code.0.as_deref()?)));
    for (at, (key, code)) in codes.clone().enumerate() {
        let path = || vec![PathStep::Key("codes"), PathStep::Key(key)];
        if let Some((other, _)) = codes.clone().take(at).find(|(_, other)| *other == code) {
            return conflict(path(), format!("{code:?} is the code of `{other}` already"));
        }
        let name = CalledName::read(code).map(|name| (name.aor(config.first_domain()), name));
        let is_name = name.is_some_and(|(aor, name)| {
            let is_user = accounts.find(&aor).is_some() || accounts.has_number(&aor);
            let is_group = config.groups.iter().any(|group| group.user == name || group.numbers.contains(&name));
            is_user || is_group || config.numbers.contains_key(&name)
        });
        if is_name {
            return conflict(path(), format!("{code:?} is the name of a user, group or number already"));
        }
    }
    Ok(())
}
