//! Three servers that share their registrations, and every fault that docs/cluster.md names, in random rounds.
//!
//! Each round registers phones at random servers, sets up calls across servers, lets one fault happen, and checks when it is
//! over: no acknowledged registration is lost, no phone was unreachable for longer than the lease and two seconds, calls can
//! be ended, and all servers have the same registrations. Needs root, iproute2, nftables, redis-server, faketime.
//!
//! `cargo test -p server --test cluster` runs a few rounds. More: `FRONTDESK_CLUSTER_ROUNDS=200`, and
//! `FRONTDESK_CLUSTER_SEED` for those of an earlier run; `FRONTDESK_CLUSTER_VIEW=1` shows what an administrator sees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test that cannot go on must say so and stop"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod fault;
mod judge;
mod network;
mod node;
mod phone;
mod prober;
mod random;
mod redis;
mod wire;
mod world;
mod writer;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fault::Fault;
use harness::phone::unique;
use harness::wait_for;
use judge::Call;
use network::{Direction, NODES};
use phone::{CallState, Order, Phone};
use random::Random;
use world::World;

/// The shortest that is allowed, so that rounds are short.
const LEASE: Duration = Duration::from_secs(3);

/// For so long a phone may be unreachable.
const UNREACHABLE: Duration = Duration::from_secs(5);

/// Rounds with the same servers and phones.
const ROUNDS_OF_A_WORLD: usize = 6;

const CALLS: usize = 4;

#[test]
fn random_rounds() {
    network::inside("random_rounds", || {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let rounds = number("FRONTDESK_CLUSTER_ROUNDS").unwrap_or(3);
        let seed = number("FRONTDESK_CLUSTER_SEED").unwrap_or_else(|| getrandom::u64().expect("a random number"));
        println!("FRONTDESK_CLUSTER_SEED={seed} FRONTDESK_CLUSTER_ROUNDS={rounds}");
        network::make();
        let failures = run(usize::try_from(rounds).expect("a number of rounds"), &mut Random::new(seed));
        assert_eq!(failures, 0, "rounds failed; FRONTDESK_CLUSTER_SEED={seed}");
    });
}

/// TCP sends again after an interruption only when it has lasted twice as long, so a connection between servers has to be
/// given up before.
#[test]
fn phones_of_another_server_are_reached_soon_after_an_interruption() {
    network::inside("phones_of_another_server_are_reached_soon_after_an_interruption", || {
        network::make();
        let mut random = Random::new(1);
        let mut world = World::start(&mut random);
        let fault = Fault::NodesCut { a: 1, b: 2, direction: Direction::To };
        let problems = one(&mut world, 1, (fault, Duration::from_millis(7500)), &mut random);
        assert!(problems.is_empty(), "{}\n{}", problems.join("\n"), world.logs());
    });
}

/// Runs the rounds; how many failed.
fn run(rounds: usize, random: &mut Random) -> usize {
    let mut failures = 0;
    let mut round = 0;
    while round < rounds {
        let mut of_world = random.fork();
        let mut world = World::start(&mut of_world);
        println!("world: {:?}, clocks {:?}", world.settings, world.clocks);
        for _ in 0..ROUNDS_OF_A_WORLD {
            round += 1;
            let fault = Fault::any(&mut of_world);
            let problems = one(&mut world, round, fault, &mut of_world);
            if !problems.is_empty() {
                failures += 1;
                println!("round {round} FAILED:\n  {}\n{}", problems.join("\n  "), world.logs());
                for node in &mut world.nodes {
                    let ended = node.ended();
                    println!("{}: ended: {ended:?}", node.host.name);
                }
                break;
            }
            if round == rounds {
                break;
            }
        }
    }
    failures
}

/// One round; what is wrong.
fn one(world: &mut World, round: usize, (fault, time): (Fault, Duration), random: &mut Random) -> Vec<String> {
    world.resume_writers();
    let calls = match begin(world, round, random) {
        Ok(calls) => calls,
        Err(problem) => return vec![problem, format!("{fault:?} was to come")],
    };
    world.prober.reset();
    let mut problems = last(world, fault, time, &calls);
    let ended_at = Instant::now();
    fault.end(world);
    // With `replicas: 1` nothing is accepted until there is a replica again.
    if fault.needs_replica() && !world.redis.restore_replica(Duration::from_secs(20)) {
        problems.push("the replica does not come back".to_owned());
    }
    let ready = world.until_ready(Duration::from_secs(20));
    std::thread::sleep(UNREACHABLE.saturating_sub(ended_at.elapsed()));
    if ready.is_none() {
        problems.push(format!("not ready 20 s after the end\n{}", world.view()));
    }
    // Nothing is wrong any more: everybody reaches everybody.
    let all = || world.prober.reached().not_within(Duration::from_secs(1)).is_empty().then_some(());
    let reached = wait_for(Duration::from_secs(3), all).is_some();
    let measured = world.prober.reached();
    if !reached {
        for phone in measured.not_within(Duration::from_secs(1)) {
            problems.push(format!("AFTERWARDS {}: {}", name(world, phone), measured.now(phone)));
        }
    }
    let open: Vec<_> = calls.into_iter().filter(|call| is_up(world, call)).collect();
    problems.extend(judge::end_calls(world, &open));
    world.pause_writers();
    problems.extend(judge::bindings(world));
    let (mut any, mut each) = (Duration::ZERO, Duration::ZERO);
    for phone in 0..world.phones.len() {
        let (best, worst) = measured.worst(phone);
        (any, each) = (any.max(best), each.max(worst));
        if best > UNREACHABLE {
            problems.push(format!("UNREACHABLE for {best:?}: {}: {}", name(world, phone), measured.now(phone)));
        }
    }
    let count = |counter: &std::sync::atomic::AtomicUsize| counter.swap(0, Ordering::Relaxed);
    let changes = [&world.written.acknowledged, &world.written.refused, &world.written.unanswered].map(count);
    println!(
        "round {round}: {fault:?} for {time:.1?}: {}; ready {ready:.1?} after its end; not reached through any server \
         {any:.1?}, through one {each:.1?}; changes: {} acknowledged, {} refused, {} without response",
        if problems.is_empty() { "good" } else { "BAD" },
        changes[0],
        changes[1],
        changes[2],
    );
    problems
}

fn name(world: &World, phone: usize) -> String {
    let (phone, known) = (&world.phones[phone], world.phones[phone].knowledge());
    format!(
        "{} ({:?}, registered {:?}, {} moves)",
        phone.user,
        phone.kind,
        known.registered.map(|(node, contact, _)| (NODES[node].name, contact)),
        known.moves
    )
}

fn is_up(world: &World, call: &Call) -> bool {
    call.ends.iter().all(|end| world.phones[*end].call_state(&call.id) != Some(CallState::Ended))
}

/// Moves phones, waits until everybody reaches everybody, and sets up calls.
fn begin(world: &World, round: usize, random: &mut Random) -> Result<Vec<Call>, String> {
    if world.until_ready(Duration::from_secs(20)).is_none() {
        return Err(format!("not ready at the start\n{}", world.view()));
    }
    let mut moved = Vec::new();
    for phone in &world.phones {
        if random.below(2) == 0 {
            let node = random.below(NODES.len());
            phone.order(Order::Move(node));
            moved.push((phone, node));
        }
    }
    // A call that is being set up while its phone changes the server is not what is tested here.
    let is_there = |(phone, node): &(&Phone, usize)| phone.knowledge().registered.is_some_and(|(at, ..)| at == *node);
    wait_for(Duration::from_secs(10), || moved.iter().all(is_there).then_some(()));
    std::thread::sleep(Duration::from_millis(300));
    let all = || world.prober.reached().not_within(Duration::from_millis(700)).is_empty().then_some(());
    if wait_for(Duration::from_secs(15), all).is_none() {
        let reached = world.prober.reached();
        let late = reached.not_within(Duration::from_millis(700));
        let lines = late.iter().map(|phone| format!("{}: {}", name(world, *phone), reached.now(*phone)));
        return Err(format!("START: not reached: {}", lines.collect::<Vec<_>>().join("\n  ")));
    }
    let mut calls = Vec::new();
    for number in 0..CALLS {
        let caller = random.below(world.phones.len());
        let callee = (caller + 1 + random.below(world.phones.len() - 1)) % world.phones.len();
        let id = unique(&format!("call{round}-{number}-"));
        world.phones[caller].order(Order::Call { user: world.phones[callee].user.clone(), call: id.clone() });
        let ends = if random.below(2) == 0 { [caller, callee] } else { [callee, caller] };
        calls.push(Call { id, ends });
    }
    let state = |call: &Call| call.ends.map(|end| world.phones[end].call_state(&call.id));
    let is_up = |call: &Call| state(call) == [Some(CallState::Up), Some(CallState::Up)];
    if wait_for(Duration::from_secs(8), || calls.iter().all(is_up).then_some(())).is_none() {
        let failed = calls.iter().filter(|call| !is_up(call));
        let lines =
            failed.map(|call| format!("{call:?}: {:?}, {:?}", state(call), call.ends.map(|end| name(world, end))));
        return Err(format!("START: calls are not up: {}", lines.collect::<Vec<_>>().join("\n  ")));
    }
    Ok(calls)
}

/// The fault, while it lasts.
fn last(world: &mut World, fault: Fault, time: Duration, calls: &[Call]) -> Vec<String> {
    let began = Instant::now();
    fault.begin(world);
    let (mut problems, mut is_seen, mut has_ended) = (Vec::new(), false, false);
    let is_shown = std::env::var_os("FRONTDESK_CLUSTER_VIEW").is_some();
    while began.elapsed() < time {
        fault.pulse(world);
        if is_shown && !is_seen && began.elapsed() + Duration::from_millis(500) > time {
            is_seen = true;
            println!("  {fault:?} after {:.1?}:\n{}", began.elapsed(), world.view());
        }
        // A call ends while the fault lasts, too, when phones have had the time to move.
        if !has_ended && fault.lets_calls_end() && began.elapsed() > UNREACHABLE {
            has_ended = true;
            problems.extend(judge::end_calls(world, &calls[..1]).into_iter().map(|line| format!("MEANWHILE {line}")));
        }
    }
    problems
}
