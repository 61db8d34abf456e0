//! Calls to numbers outside of the office: who may dial them, and which trunks they take.
//!
//! Only a user who has authenticated dials, or a user whose calls are forwarded there. So nothing that comes from outside
//! leads to a trunk. An emergency number needs no permission; `core` has checked that a phone of the office dials it. No
//! rule leads to one: otherwise everybody who calls a user who has calls forwarded there would call for help.

use std::sync::Arc;

use location::Aor;
use smallvec::SmallVec;

use super::{Call, Member, Rule};
use crate::reject::Reject;
use crate::settings::Dialled;
use crate::target::ToTrunk;

/// The trunks for a name that nobody here has, each with its turn; `None` if no outgoing line is for it. `by`: the user
/// who dials. Appends the rule to `trail`.
pub(super) fn dial(
    name: &Aor,
    by: Option<&Aor>,
    call: Call<'_>,
    trail: &mut Vec<Rule>,
) -> Option<Result<Vec<(u16, Member)>, Reject>> {
    let dialled = call.settings.dialled(name)?;
    Some(members_for(&dialled, by, call, trail))
}

/// The same for a name to which a rule leads. `by`: the user whose rule it is.
pub(super) fn dial_by_rule(
    name: &Aor,
    by: Option<&Aor>,
    call: Call<'_>,
    trail: &mut Vec<Rule>,
) -> Option<Result<Vec<(u16, Member)>, Reject>> {
    let dialled = call.settings.dialled(name)?;
    let refused = dialled.line.is_emergency.then_some(Err(Reject::DialledByStranger));
    Some(refused.unwrap_or_else(|| members_for(&dialled, by, call, trail)))
}

fn members_for(
    Dialled { line, number }: &Dialled<'_>,
    by: Option<&Aor>,
    call: Call<'_>,
    trail: &mut Vec<Rule>,
) -> Result<Vec<(u16, Member)>, Reject> {
    if !call.is_invite {
        return Err(Reject::NotFound);
    }
    let number = line.number(number);
    let account = by.and_then(|user| call.settings.accounts.find(user));
    trail.push(Rule::Outgoing { number: number.as_str().into(), class: line.class.clone() });
    let dialling = account.and_then(|account| account.dialling.as_deref());
    if !line.is_emergency {
        account.ok_or(Reject::DialledByStranger)?;
        let classes = dialling.and_then(|dialling| dialling.classes.as_ref());
        if let (Some(classes), Some(class)) = (classes, &line.class)
            && !classes.contains(class)
        {
            return Err(Reject::Class);
        }
    }
    let own = dialling.and_then(|dialling| dialling.caller_id.as_deref());
    let member = |trunk| {
        let to = ToTrunk::new(Arc::clone(trunk), &number, own, line.is_emergency);
        Member::Trunk(Arc::new(to))
    };
    // A trunk that does not work is tried after the others. The sort is stable.
    let mut trunks: SmallVec<[_; 4]> = line.trunks.iter().collect();
    trunks.sort_by_key(|trunk| call.settings.trunks.health.is_down(&trunk.name));
    Ok((0..).zip(trunks.into_iter().map(member)).collect())
}
