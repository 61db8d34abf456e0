//! A load generator: phones that register over persistent connections and then keep a number of calls, messages or
//! refreshes pending, while the processor time of the server is measured. The same program serves for all transports and
//! for several servers, so that these can be compared: they take short turns, so that other load on the machine affects
//! all of them equally.
//!
//! `tests/load/run` starts the servers and prints the tables. Loopback only, with a time limit. Nothing is measured while
//! phones still register. The processor time of the generator does not count; it should run on another processor.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a tool for developers: it stops where it fails"
)]

mod arguments;
mod line;
mod phone;
mod processes;
mod results;
mod usage;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use arguments::{Arguments, Command, Scenario, Target};
use phone::{Phone, Phones};
use processes::Processes;
use results::Turn;
use tokio::sync::{Barrier, Semaphore};
use tokio::time::{Instant, sleep};

/// How long connections are idle before their memory is measured.
const IDLE: Duration = Duration::from_secs(5);

/// Phones that register at the same time.
const REGISTERING: usize = 64;

fn main() -> ExitCode {
    // A phone that fails ends the program, although nothing waits for its task.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    match Command::read(std::env::args().skip(1)) {
        Ok(Command::Load(arguments)) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            tokio::task::LocalSet::new().block_on(&runtime, load(&Rc::new(arguments)));
            ExitCode::SUCCESS
        }
        Ok(Command::Certificate(folder)) => {
            write_certificate(&folder);
            ExitCode::SUCCESS
        }
        Err(usage) => {
            println!("{usage}");
            ExitCode::from(2)
        }
    }
}

/// A key for ECDSA with P-256 and its certificate.
fn write_certificate(folder: &Path) {
    let pair = rcgen::generate_simple_self_signed([line::NAME.to_owned()]).expect("a certificate");
    fs::write(folder.join("certificate.pem"), pair.cert.pem()).expect("a folder");
    fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).expect("a folder");
}

async fn load(arguments: &Rc<Arguments>) {
    if arguments.scenario == Scenario::Idle {
        return idle(arguments).await;
    }
    let mut groups = Vec::new();
    for target in &arguments.targets {
        groups.push((start(arguments, target).await, Processes::of(target.pid), Vec::new()));
    }
    sleep(Duration::from_millis(500)).await;
    // The first round is a warm-up.
    for round in 0..=arguments.rounds {
        for (phones, processes, turns) in &mut groups {
            let turn = turn(phones, processes).await;
            if round > 0 {
                turns.push(turn);
            }
        }
    }
    let results: Vec<_> =
        groups.iter().map(|(phones, _, turns)| (&phones.target, turns.as_slice(), phones.bad.get())).collect();
    results::print(arguments.scenario, &results);
}

/// Connects the phones of a target, and returns when all have registered.
async fn start(arguments: &Rc<Arguments>, target: &Target) -> Rc<Phones> {
    let phones = Rc::new(Phones {
        arguments: Rc::clone(arguments),
        target: target.clone(),
        tls: arguments.certificate.as_deref().map(line::tls),
        turns: Semaphore::new(0),
        registering: Semaphore::new(REGISTERING),
        done: Cell::new(0),
        bad: Cell::new(0),
    });
    let registered = Rc::new(Barrier::new(arguments.phones + 1));
    for number in 0..arguments.phones {
        let phone = Phone::connect(number, &phones).await;
        tokio::task::spawn_local(phone.live(Rc::clone(&registered)));
    }
    registered.wait().await;
    phones
}

/// Lets the phones work for a while. Nothing is pending before and after it.
async fn turn(phones: &Phones, processes: &Processes) -> Turn {
    let pending = phones.arguments.pending;
    let (began, cpu, done) = (Instant::now(), processes.time(), phones.done.get());
    phones.turns.add_permits(pending);
    sleep(phones.arguments.time).await;
    let count = u32::try_from(pending).expect("a number of phones");
    phones.turns.acquire_many(count).await.expect("never closed").forget();
    Turn { took: began.elapsed(), cpu: processes.time() - cpu, done: phones.done.get() - done }
}

/// The memory of connections whose phones have registered and send nothing.
async fn idle(arguments: &Rc<Arguments>) {
    for target in &arguments.targets {
        let processes = Processes::of(target.pid);
        let before = processes.memory();
        let _phones = start(arguments, target).await;
        sleep(IDLE).await;
        let each = processes.memory().saturating_sub(before) as f64 / arguments.phones as f64;
        println!("idle       {:<14} {each:7.0} octets for each of {} connections", target.name, arguments.phones);
    }
}
