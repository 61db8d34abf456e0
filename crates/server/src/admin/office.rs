//! Groups and trunks with their state, as docs/openapi.yaml defines them.
//!
//! Decides which state a member of a group has. What a group or trunk does with a call is decided by the core.

use std::borrow::Cow;
use std::time::Duration;

use hashbrown::HashSet;
use hyper::StatusCode;
use location::{Aor, Store as _};
use parser::reason_phrase;
use proxy::{GroupMember, GroupStrategy, Party, RingGroup, TaskState, Trunk, TrunkTask};
use serde::{Deserialize, Serialize};

use super::AdminState;
use super::calls::parties;
use super::reply::{self, Reply};
use crate::clock;
use crate::data::set_rules::party_text;
use crate::reload::ActiveConfig;

/// A ring group.
#[derive(Deserialize, Serialize)]
pub(crate) struct Group {
    pub(crate) group: String,
    pub(crate) name: Option<String>,
    pub(crate) numbers: Vec<String>,
    pub(crate) strategy: Cow<'static, str>,
    pub(crate) ring_time: String,
    pub(crate) otherwise: Option<String>,
    pub(crate) members: Vec<Member>,
}

/// A member of a group.
#[derive(Deserialize, Serialize)]
pub(crate) struct Member {
    pub(crate) member: String,
    pub(crate) name: Option<String>,
    pub(crate) follow: bool,
    pub(crate) state: MemberState,
}

/// What a member does now.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MemberState {
    /// A phone is registered, and rings at the next call.
    Free,
    /// A call from or to the user is being set up.
    Calling,
    /// The user does not want to be disturbed.
    DoNotDisturb,
    /// No phone is registered.
    Unregistered,
    /// It is not a user of this server.
    Unknown,
}

/// A trunk.
#[derive(Deserialize, Serialize)]
pub(crate) struct TrunkEntry {
    pub(crate) trunk: String,
    pub(crate) server: String,
    pub(crate) works: bool,
    pub(crate) registered: Option<bool>,
    pub(crate) registered_until: Option<String>,
    pub(crate) responds: Option<bool>,
    pub(crate) calls: Option<usize>,
    pub(crate) max_calls: Option<usize>,
    pub(crate) last_failure: Option<String>,
    pub(crate) last_failure_at: Option<String>,
}

/// GET /api/v1/groups
pub(crate) fn groups(state: &AdminState) -> Reply {
    let active_config = state.active_config.borrow().clone();
    let calling = parties(&state.call_table);
    let groups = active_config.settings.office.groups();
    let groups: Vec<_> = groups.map(|group| group_entry(group, &active_config, state, &calling)).collect();
    reply::json(StatusCode::OK, &groups)
}

fn group_entry(group: &RingGroup, active: &ActiveConfig, state: &AdminState, calling: &HashSet<Aor>) -> Group {
    let config = &active.loaded.config;
    let (domain, own) = (config.first_domain(), group.aor.domain());
    let entry = config.groups.iter().find(|entry| entry.user.aor(domain) == group.aor);
    let numbers = entry.into_iter().flat_map(|entry| &entry.numbers);
    Group {
        group: lossy(group.aor.user()),
        name: text(&group.label),
        numbers: numbers.map(|number| number.text().to_owned()).collect(),
        strategy: match group.strategy {
            GroupStrategy::Parallel => "parallel",
            GroupStrategy::Sequential => "sequential",
            GroupStrategy::Wave => "wave",
            GroupStrategy::Rotating => "rotating",
        }
        .into(),
        ring_time: period(group.ring_time),
        otherwise: group.otherwise.as_ref().map(|party| party_text(party, own)),
        members: group.members.iter().map(|member| member_entry(member, own, active, state, calling)).collect(),
    }
}

fn member_entry(
    member: &GroupMember,
    domain: &[u8],
    active: &ActiveConfig,
    state: &AdminState,
    calling: &HashSet<Aor>,
) -> Member {
    let accounts = &active.settings.accounts;
    let name = if let Party::Name(name) = &member.to { Some(name) } else { None };
    // The name of a user, or a further number.
    let user =
        name.and_then(|name| if accounts.find(name).is_some() { Some(name) } else { accounts.with_number(name) });
    let account = user.and_then(|user| accounts.find(user));
    let state = user.zip(account).map_or(MemberState::Unknown, |(user, account)| {
        let is_registered = || state.store.load(user).is_some_and(|record| record.live(clock::wall()).next().is_some());
        if account.rules.as_ref().is_some_and(|rules| rules.do_not_disturb) {
            MemberState::DoNotDisturb
        } else if calling.contains(user) {
            MemberState::Calling
        } else if account.contacts.is_some() || is_registered() {
            MemberState::Free
        } else {
            MemberState::Unregistered
        }
    });
    Member {
        member: party_text(&member.to, domain),
        name: account.and_then(|account| text(&account.label)),
        follow: member.follow,
        state,
    }
}

/// GET /api/v1/trunks
pub(crate) fn trunks(state: &AdminState) -> Reply {
    let active_config = state.active_config.borrow().clone();
    let trunks = &active_config.settings.trunks;
    let entry = |trunk: &Trunk| {
        let task = |task| trunks.health.state(&trunk.name, task);
        let (register, probe) = (task(TrunkTask::Register), task(TrunkTask::Probe));
        let failures = [register, probe].into_iter().flatten().filter_map(|task| task.last_failure);
        let last_failure = failures.max_by_key(|(_, at)| *at);
        let works = |task: TaskState| task.works;
        TrunkEntry {
            trunk: trunk.name.as_ref().to_owned(),
            server: trunk.server.as_ref().to_owned(),
            works: !trunks.health.is_down(&trunk.name),
            registered: register.map(works),
            registered_until: register.and_then(|task| task.registered_until).map(clock::rfc3339),
            responds: probe.map(works),
            calls: trunk.max_calls.map(|_| trunks.calls.count(&trunk.name)),
            max_calls: trunk.max_calls,
            last_failure: last_failure.map(|(status, _)| format!("{status} {}", reason_phrase(status))),
            last_failure_at: last_failure.map(|(_, at)| clock::rfc3339(at)),
        }
    };
    let trunks: Vec<_> = trunks.all.iter().map(|trunk| entry(trunk)).collect();
    reply::json(StatusCode::OK, &trunks)
}

fn period(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

fn text(label: &str) -> Option<String> {
    (!label.is_empty()).then(|| label.to_owned())
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
