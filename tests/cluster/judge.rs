//! What must hold after a round.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::harness::wait_for;
use crate::phone::CallState;
use crate::world::World;
use crate::writer::Promise;

/// The Contacts of each user with what a server says about them.
type State = BTreeMap<String, BTreeMap<String, Entry>>;

/// What a server says about a Contact.
#[derive(Clone, Debug)]
struct Entry {
    address: String,
    /// The server that holds its flow. Empty also at a server that has restarted, for connections that ended with it.
    node: String,
    /// Seconds. Servers are asked one after another.
    expires_in: u64,
}

/// A call that was set up.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    /// The side that ends it, and the other one, by number.
    pub(crate) ends: [usize; 2],
}

fn state(world: &World, node: usize) -> Option<State> {
    let all = world.nodes[node].api("/api/v1/users?limit=1000")?;
    let mut state = State::new();
    for user in all["users"].as_array()? {
        for phone in user["phones"].as_array()? {
            let text = |key: &str| phone[key].as_str().unwrap_or_default().to_owned();
            let entry =
                Entry { address: text("address"), node: text("node"), expires_in: phone["expires_in"].as_u64()? };
            state.entry(user["user"].as_str()?.to_owned()).or_default().insert(text("contact"), entry);
        }
    }
    Some(state)
}

/// The difference between two states.
fn difference(a: &State, b: &State) -> Vec<String> {
    let flat = |state: &State| -> BTreeMap<(String, String), Entry> {
        let of_user = |(user, entries): (&String, &BTreeMap<String, Entry>)| {
            let (user, entries) = (user.clone(), entries.clone());
            entries.into_iter().map(move |(contact, entry)| ((user.clone(), contact), entry))
        };
        state.iter().flat_map(of_user).collect()
    };
    let (a, b) = (flat(a), flat(b));
    let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
    let is_same = |a: &Entry, b: &Entry| {
        let same_node = a.node == b.node || a.node.is_empty() || b.node.is_empty();
        same_node && a.address == b.address && a.expires_in.abs_diff(b.expires_in) <= 2
    };
    let differs = |key: &&&(String, String)| match (a.get(**key), b.get(**key)) {
        (Some(a), Some(b)) => !is_same(a, b),
        // One that expires now.
        (Some(one), None) | (None, Some(one)) => one.expires_in > 2,
        (None, None) => false,
    };
    let line = |key: &(String, String)| format!("{key:?}: {:?} but {:?}", a.get(key), b.get(key));
    keys.iter().filter(differs).map(|key| line(key)).collect()
}

/// Every server has the same bindings, and everything that was acknowledged is among them.
pub(crate) fn bindings(world: &World) -> Vec<String> {
    let mut last = Vec::new();
    // Phones refresh meanwhile, and a change needs a moment to be everywhere.
    let same = wait_for(Duration::from_secs(8), || {
        last.clear();
        let states: Option<Vec<_>> = (0..world.nodes.len()).map(|node| state(world, node)).collect();
        let states = states?;
        for (node, other) in states.iter().enumerate().skip(1) {
            let host = world.nodes[node].host.name;
            last.extend(difference(&states[0], other).into_iter().map(|line| format!("a and {host}: {line}")));
        }
        last.extend(lost(world, &states[0]));
        last.is_empty().then_some(())
    });
    if same.is_none() && last.is_empty() {
        last.push("a server does not list its bindings".to_owned());
    }
    last
}

fn lost(world: &World, state: &State) -> Vec<String> {
    let mut lost = Vec::new();
    let has = |user: &str, contact: &str| state.get(user).is_some_and(|entries| entries.contains_key(contact));
    for writer in &world.writers {
        let (promise, said) = writer.promise();
        let is_there = has(&writer.user, &writer.contact);
        if promise == Promise::Registered && !is_there {
            lost.push(format!("LOST: {} of {} ({said})", writer.contact, writer.user));
        }
        if promise == Promise::Removed && is_there && !said.is_empty() {
            lost.push(format!("NOT REMOVED: {} of {} ({said})", writer.contact, writer.user));
        }
    }
    for phone in &world.phones {
        let Some((_, contact, until)) = phone.knowledge().registered else { continue };
        if until > Instant::now() && !has(&phone.user, &contact) {
            lost.push(format!("LOST: {contact} of {}", phone.user));
        }
    }
    lost
}

/// Ends calls, and waits until both sides know it.
pub(crate) fn end_calls(world: &World, calls: &[Call]) -> Vec<String> {
    for call in calls {
        world.phones[call.ends[0]].order(crate::phone::Order::HangUp(call.id.clone()));
    }
    let states = |call: &Call| call.ends.map(|end| world.phones[end].call_state(&call.id));
    let over = |call: &Call| states(call) == [Some(CallState::Ended), Some(CallState::Ended)];
    wait_for(Duration::from_secs(11), || calls.iter().all(over).then_some(()));
    let failed = calls.iter().filter(|call| !over(call));
    let line = |call: &Call| {
        let [by, of] = call.ends.map(|end| (&world.phones[end].user, world.phones[end].kind));
        format!("CALL {}: ended by {by:?}, the other is {of:?}: {:?}", call.id, states(call))
    };
    failed.map(line).collect()
}
