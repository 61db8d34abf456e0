//! The commands that ask the running server: bindings, bans, explain, reload.
//!
//! Decides how the answers look on a terminal. The answers themselves are defined in docs/openapi.yaml.

use std::fmt::Write as _;
use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use super::arguments::{AccountCommand, BansCommand, BindingsCommand, ExplainedCall, ForwardCommand, RuleValue};
use super::client::{Client, percent_encoded};
use crate::admin::{
    BanEntry, Bans, Explanation, Group, Member, MemberState, NodeList, NodeState, Removed, RotationOutcome, TrunkEntry,
    User, Users,
};
use crate::config::{AlsoRingText, Loaded};
use crate::data::set_rules::Forwarding;
use crate::error::{CliError, ClientError};
use crate::phones::Phone;
use crate::reload::ReloadOutcome;
use crate::text::counted;
use crate::text::printable::escape_line;

/// Limit of listed users.
const MAX_USERS: usize = 1000;

/// `frontdesk bindings`
pub(crate) fn bindings(client: &Client, what: &BindingsCommand) -> Result<String, CliError> {
    match what {
        BindingsCommand::List(search) => {
            let search = percent_encoded(search.as_deref().unwrap_or_default());
            let Users { total, users } =
                client.request(Method::GET, &format!("users?limit={MAX_USERS}&search={search}"))?;
            let mut text: String = users.iter().map(format_user).collect();
            if total > users.len() {
                let _ = writeln!(text, "… {} of {total}: `frontdesk bindings list TEXT` finds the others", users.len());
            }
            Ok(text)
        }
        BindingsCommand::Show(name) => {
            let user: User = client.request(Method::GET, &format!("users/{}", percent_encoded(name)))?;
            let forwarding = user.forwarding.as_ref().map(format_forwarding).unwrap_or_default();
            Ok(format!("{}{forwarding}", format_user(&user)))
        }
        BindingsCommand::Remove(name, contact) => {
            let contact = contact.as_ref().map(|contact| format!("/{}", percent_encoded(contact))).unwrap_or_default();
            let path = format!("users/{}/phones{contact}", percent_encoded(name));
            let Removed { removed } = client.request(Method::DELETE, &path)?;
            Ok(format!("{} removed\n", counted::phones(removed)))
        }
    }
}

/// `frontdesk nodes`
pub(crate) fn nodes(client: &Client) -> Result<String, CliError> {
    let NodeList { is_current, nodes } = client.request(Method::GET, "nodes")?;
    if nodes.is_empty() {
        return Ok("this server shares its registrations with no other\n".to_owned());
    }
    let line = |NodeState { name, address, alive, own }: NodeState| {
        let address = address.unwrap_or_else(|| "at an unknown address".to_owned());
        let state = if alive { "alive" } else { "gone" };
        let own = if own { ", this server" } else { "" };
        format!("{}  {}  {state}{own}\n", escape_line(&name), escape_line(&address))
    };
    let old = "this server cannot use the database that the servers share: the list may be out of date\n";
    let lines = nodes.into_iter().map(line);
    Ok(lines.chain((!is_current).then(|| old.to_owned())).collect())
}

/// `frontdesk keys rotate`
pub(crate) fn rotate_keys(client: &Client) -> Result<String, CliError> {
    let RotationOutcome { .. } = client.request(Method::POST, "keys/rotate")?;
    Ok("the keys were replaced; what the old ones have signed is valid for another day\n".to_owned())
}

/// `frontdesk bans`
pub(crate) fn bans(client: &Client, what: &BansCommand) -> Result<String, CliError> {
    let address = match what {
        BansCommand::List => {
            let Bans { total, bans } = client.request(Method::GET, "bans")?;
            let mut text: String = bans.iter().map(format_ban).collect();
            if total > bans.len() {
                let _ = writeln!(text, "… {} of {total}", bans.len());
            }
            return Ok(text);
        }
        BansCommand::Remove(address) => address,
    };
    let Removed { .. } = client.request(Method::DELETE, &format!("bans/{}", percent_encoded(address)))?;
    Ok(format!("{address} is answered again\n"))
}

/// `frontdesk forward` and `frontdesk dnd`
pub(crate) fn forward(client: &Client, ForwardCommand { user, change }: &ForwardCommand) -> Result<String, CliError> {
    let path = format!("users/{}/forwarding", percent_encoded(user));
    let forwarding: Forwarding = match change {
        None => client.request(Method::GET, &path)?,
        Some((key, value)) => {
            let value = value.as_ref().map_or(Value::Null, |value| match value {
                RuleValue::Party(text) => text.as_str().into(),
                RuleValue::Flag(flag) => (*flag).into(),
                RuleValue::AlsoRing(parties) => serde_json::to_value(parties).unwrap_or_default(),
            });
            let body = Value::Object([((*key).to_owned(), value)].into_iter().collect());
            client.request_with(Method::PUT, &path, body.to_string().into())?
        }
    };
    Ok(format!("The calls of {}:\n{}", escape_line(user), format_forwarding(&forwarding)))
}

/// Where the calls of a user go, and who said so.
fn format_forwarding(forwarding: &Forwarding) -> String {
    let mut text = String::new();
    let set = serde_json::to_value(&forwarding.set).unwrap_or_default();
    let origin = |key: &str| if set.get(key).is_some() { "set while the server runs" } else { "as configured" };
    let after = format!("if nobody answers for {}", forwarding.after);
    for (key, label, party) in [
        ("always", "always", &forwarding.always),
        ("busy", "if busy", &forwarding.busy),
        ("no_answer", &after, &forwarding.no_answer),
        ("unavailable", "if no phone can be reached", &forwarding.unavailable),
    ] {
        let party =
            party.as_deref().map_or_else(|| "not forwarded".to_owned(), |party| format!("to {}", escape_line(party)));
        let _ = writeln!(text, "  {label}: {party} ({})", origin(key));
    }
    let _ = writeln!(text, "  also rings: {} ({})", format_also_ring(&forwarding.also_ring), origin("also_ring"));
    let state = if forwarding.do_not_disturb { "on" } else { "off" };
    let _ = writeln!(text, "  do not disturb: {state} ({})", origin("do_not_disturb"));
    text
}

/// The parties that ring beside the phones of a user.
fn format_also_ring(parties: &[AlsoRingText]) -> String {
    let describe = |AlsoRingText { to, after, hours }: &AlsoRingText| {
        let after = after.as_deref().map(|after| format!(" after {}", escape_line(after))).unwrap_or_default();
        let hours = hours.as_deref().map(|hours| format!(" in the hours {}", escape_line(hours))).unwrap_or_default();
        format!("{}{after}{hours}", escape_line(to))
    };
    match parties {
        [] => "nobody".to_owned(),
        parties => parties.iter().map(describe).collect::<Vec<_>>().join(", "),
    }
}

/// `frontdesk groups`
pub(crate) fn groups(client: &Client) -> Result<String, CliError> {
    let groups: Vec<Group> = client.request(Method::GET, "groups")?;
    let named = |text: &str, name: &Option<String>| {
        let name = name.as_deref().map(|name| format!(" ({})", escape_line(name)));
        format!("{}{}", escape_line(text), name.unwrap_or_default())
    };
    let mut text = String::new();
    for Group { group, name, strategy, ring_time, otherwise, members, .. } in &groups {
        let otherwise = otherwise.as_deref().map(|party| format!(", otherwise {}", escape_line(party)));
        let _ = writeln!(text, "{}  {strategy}, {ring_time}{}", named(group, name), otherwise.unwrap_or_default());
        for Member { member, name, state, .. } in members {
            let state = match state {
                MemberState::Free => "free",
                MemberState::Calling => "calling",
                MemberState::DoNotDisturb => "do not disturb",
                MemberState::Unregistered => "no phone",
                MemberState::Unknown => "-",
            };
            let _ = writeln!(text, "    {}  {state}", named(member, name));
        }
    }
    Ok(text)
}

/// `frontdesk trunks`
pub(crate) fn trunks(client: &Client) -> Result<String, CliError> {
    let trunks: Vec<TrunkEntry> = client.request(Method::GET, "trunks")?;
    let mut text = String::new();
    for trunk in &trunks {
        let registered = trunk.registered.map(|is| if is { "registered" } else { "not registered" }.to_owned());
        let responds = trunk.responds.map(|does| if does { "responds" } else { "does not respond" }.to_owned());
        let calls = trunk.calls.zip(trunk.max_calls);
        let calls = calls.map(|(calls, max)| format!("{calls} of {}", counted::counted(max, "call", "calls")));
        let state: Vec<_> = [registered, responds, calls].into_iter().flatten().collect();
        let _ = writeln!(text, "{}  {}", escape_line(&trunk.trunk), state.join(", "));
        let _ = writeln!(text, "    {}", escape_line(&trunk.server));
        if let (Some(failure), Some(at)) = (&trunk.last_failure, &trunk.last_failure_at) {
            let _ = writeln!(text, "    last failure: {} at {at}", escape_line(failure));
        }
    }
    Ok(text)
}

/// `frontdesk explain`
pub(crate) fn explain(client: &Client, call: &ExplainedCall) -> Result<String, CliError> {
    let ExplainedCall { to, from, source, at } = call;
    let [from, source, at] = [from, source, at].map(|text| percent_encoded(text.as_deref().unwrap_or_default()));
    let path = format!("explain?to={}&from={from}&source={source}&at={at}", percent_encoded(to));
    let Explanation { from, to, steps, .. } = client.request(Method::GET, &path)?;
    let mut text = format!("A call from {} to {}:\n", escape_line(&from), escape_line(&to));
    for (step, number) in steps.iter().zip(1..) {
        let _ = writeln!(text, "{number:>3}. {}", escape_line(step));
    }
    Ok(text)
}

/// `frontdesk reload`. An error if the server refused the configuration.
pub(crate) fn reload(client: &Client) -> Result<String, CliError> {
    let ReloadOutcome { reloaded, accounts, needs_restart, error } = client.request(Method::POST, "reload")?;
    if !reloaded {
        return Err(CliError::NotReloaded(error.unwrap_or_default()));
    }
    let mut text = format!("the server has taken the configuration, {}\n", counted::accounts(accounts));
    if !needs_restart.is_empty() {
        let _ = writeln!(text, "these settings need a restart: {}", needs_restart.join(", "));
    }
    Ok(text)
}

/// Makes the running server, if there is one, reload the accounts.
pub(crate) fn after_edit(loaded: &Loaded, url: Option<&str>, command: &AccountCommand) -> Result<String, CliError> {
    if *command == AccountCommand::List {
        return Ok(String::new());
    }
    match Client::new(&loaded.config, url).map_err(CliError::from).and_then(|client| reload(&client)) {
        // Without a running server the next start reads the file.
        Err(CliError::Client(why @ (ClientError::NoServer(_) | ClientError::NoAddress))) => {
            Ok(format!("no running server was notified: {why}\n"))
        }
        outcome => outcome,
    }
}

fn format_ban(BanEntry { address, seconds_left, failures, users, .. }: &BanEntry) -> String {
    let left = humantime::format_duration(Duration::from_secs(*seconds_left));
    let users = if users.is_empty() { String::new() } else { format!("  {}", users.join(", ")) };
    format!("{address}  {left} left, {}{users}\n", counted::failures(*failures))
}

fn format_user(user: &User) -> String {
    let count =
        if user.phones.is_empty() { "no phone".to_owned() } else { counted::phones(user.phones.len()).to_string() };
    let name = user.name.as_deref().map(|name| format!(" ({})", escape_line(name))).unwrap_or_default();
    let mut text = format!("{}@{}{name}  {count}\n", escape_line(&user.user), escape_line(&user.domain));
    for Phone { device, contact, address, transport, expires_in, node, .. } in &user.phones {
        let (device, contact) = (escape_line(device.as_deref().unwrap_or("-")), escape_line(contact));
        let address = match (address, transport) {
            (Some(address), Some(transport)) => format!("  {address} {transport}"),
            _ => String::new(),
        };
        let left = match expires_in {
            Some(left) => format!("{} left", humantime::format_duration(Duration::from_secs(u64::from(*left)))),
            None => "static".to_owned(),
        };
        let node = node.as_deref().map(|node| format!("  at node {}", escape_line(node))).unwrap_or_default();
        let _ = writeln!(text, "    {device}{address}  {left}{node}\n        {contact}");
    }
    text
}
