//! The cost of a message in the core of one worker: parse, decide, store in memory, write. Without sockets, because the
//! cost of the kernel is the same for every server.

#![allow(missing_docs, reason = "the benchmark framework's own functions")]

mod core_driver;

use bytes::Bytes;
use core_driver::{CoreDriver, USERS, call_with, caller, ok, options, phone, register, register_with, request, within};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// An OPTIONS that this server answers.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn options_answered(bencher: Bencher<'_, '_>) {
    let mut driver = CoreDriver::new();
    bencher.with_inputs(|| options(7)).bench_local_values(|datagram| driver.receive(black_box(datagram), caller()));
}

/// The refresh of a registration: the same Call-ID and Contact, a higher CSeq.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn register_again(bencher: Bencher<'_, '_>) {
    registers(bencher, CoreDriver::new(), register);
}

/// The same refresh with credentials for a nonce that the phone has: 200.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn register_auth(bencher: Bencher<'_, '_>) {
    let (driver, nonces) = CoreDriver::secured();
    let nonce = |user: u32| nonces.get(user as usize).map_or("", |nonce| nonce);
    registers(bencher, driver, |user, cseq| register_with(user, cseq, nonce(user)));
}

/// The same refresh without credentials, although they are required: 401.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn register_challenged(bencher: Bencher<'_, '_>) {
    registers(bencher, CoreDriver::secured().0, register);
}

/// Registers all users in turn, each time with a higher CSeq.
fn registers(bencher: Bencher<'_, '_>, mut driver: CoreDriver, register: impl Fn(u32, u32) -> Bytes) {
    let mut turn = 0;
    let next = || {
        turn += 1;
        (turn % USERS, register(turn % USERS, turn / USERS + 3))
    };
    bencher.with_inputs(next).bench_local_values(|(user, datagram)| driver.receive(black_box(datagram), phone(user)));
}

/// A request to a user with one phone, forwarded without a transaction.
#[divan::bench(args = ["MESSAGE", "INVITE"], sample_count = 200, sample_size = 500)]
fn forwarded(bencher: Bencher<'_, '_>, method: &str) {
    let (mut driver, mut turn) = (CoreDriver::new(), 0);
    let next = || {
        turn += 1;
        request(method, turn % USERS, turn)
    };
    bencher.with_inputs(next).bench_local_values(|datagram| driver.receive(black_box(datagram), caller()));
}

/// The same INVITE with credentials for a nonce that the caller has.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn invite_auth(bencher: Bencher<'_, '_>) {
    let ((mut driver, nonces), mut turn) = (CoreDriver::secured(), 0);
    let nonces: Vec<String> = nonces;
    let next = || {
        turn += 1;
        let user = turn % USERS;
        (user, call_with(user, turn, turn / USERS + 2, nonces.get(user as usize).map_or("", |nonce| nonce)))
    };
    bencher.with_inputs(next).bench_local_values(|(user, datagram)| driver.receive(black_box(datagram), phone(user)));
}

/// The messages of a call, and the response to its BYE.
#[divan::bench(sample_count = 200, sample_size = 100)]
fn call_with_table(bencher: Bencher<'_, '_>) {
    calls(bencher, CoreDriver::new());
}

/// The same without the table of calls.
#[divan::bench(sample_count = 200, sample_size = 100)]
fn call_without_table(bencher: Bencher<'_, '_>) {
    calls(bencher, CoreDriver::new().without_calls());
}

/// The same at a node of a cluster.
#[divan::bench(sample_count = 200, sample_size = 100)]
fn call_in_cluster(bencher: Bencher<'_, '_>) {
    calls(bencher, CoreDriver::of_cluster());
}

fn calls(bencher: Bencher<'_, '_>, mut driver: CoreDriver) {
    let mut turn = 0;
    bencher.bench_local(|| {
        turn += 1;
        driver.call(1, turn)
    });
}

/// A request in a dialog from the caller or the callee, with our Record-Route value as its Route.
#[divan::bench(args = ["ACK", "BYE", "BYE back"], sample_count = 200, sample_size = 500)]
fn in_dialog(bencher: Bencher<'_, '_>, what: &str) {
    let mut driver = CoreDriver::new();
    driver.receive(request("INVITE", 1, 1), caller());
    let invite = driver.sent().to_owned();
    driver.receive(ok(&invite), phone(1));
    let (method, back) = what.split_once(' ').map_or((what, false), |(method, _)| (method, true));
    let (ok, from) = (driver.sent().to_owned(), if back { phone(1) } else { caller() });
    let mut turn = 0;
    let next = || {
        turn += 1;
        within(&ok, method, back, turn)
    };
    bencher.with_inputs(next).bench_local_values(|datagram| driver.receive(black_box(datagram), from));
}

/// An INVITE to a user with several phones: a 100, a response context, and an INVITE to each phone.
#[divan::bench(args = [2, 3], sample_count = 80, sample_size = 100)]
fn forked(bencher: Bencher<'_, '_>, phones: u32) {
    let (mut driver, mut turn) = (CoreDriver::with_phones(phones), 0);
    let next = || {
        turn += 1;
        request("INVITE", turn % 100, turn)
    };
    bencher.with_inputs(next).bench_local_values(|datagram| driver.receive(black_box(datagram), caller()));
}

/// The 200 to the INVITE that was forwarded without a transaction.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn invite_200(bencher: Bencher<'_, '_>) {
    let mut driver = CoreDriver::new();
    driver.receive(request("INVITE", 1, 1), caller());
    let response = ok(driver.sent());
    bencher
        .with_inputs(|| response.clone())
        .bench_local_values(|datagram| driver.receive(black_box(datagram), phone(1)));
}
