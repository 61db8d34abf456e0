//! What a message costs one worker's core, from the octets that came to the octets that leave: parse, decide, store in
//! memory, write. No sockets: the kernel's part is the same for everybody.

#![allow(missing_docs, reason = "the benchmark framework's own functions")]

mod office;

use bytes::Bytes;
use divan::{Bencher, black_box};
use office::{Office, USERS, call_with, caller, ok, options, phone, register, register_with, request, within};

fn main() {
    divan::main();
}

/// Answered here.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn options_answered(bencher: Bencher<'_, '_>) {
    let mut office = Office::new();
    bencher.with_inputs(|| options(7)).bench_local_values(|datagram| office.receive(black_box(datagram), caller()));
}

/// A phone's refresh: same Call-ID and Contact, higher CSeq.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn register_again(bencher: Bencher<'_, '_>) {
    registers(bencher, Office::new(), register);
}

/// A phone's refresh where everybody has to prove who he is, with the nonce that it has: 200.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn register_auth(bencher: Bencher<'_, '_>) {
    let (office, nonces) = Office::secured();
    let nonce = |user: u32| nonces.get(user as usize).map_or("", |nonce| nonce);
    registers(bencher, office, |user, cseq| register_with(user, cseq, nonce(user)));
}

/// The same phone without credentials: 401.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn register_challenged(bencher: Bencher<'_, '_>) {
    registers(bencher, Office::secured().0, register);
}

/// All users in turn, each with a higher CSeq than the last time.
fn registers(bencher: Bencher<'_, '_>, mut office: Office, register: impl Fn(u32, u32) -> Bytes) {
    let mut turn = 0;
    let next = || {
        turn += 1;
        (turn % USERS, register(turn % USERS, turn / USERS + 3))
    };
    bencher.with_inputs(next).bench_local_values(|(user, datagram)| office.receive(black_box(datagram), phone(user)));
}

/// To a user with one phone, without a transaction.
#[divan::bench(args = ["MESSAGE", "INVITE"], sample_count = 200, sample_size = 500)]
fn forwarded(bencher: Bencher<'_, '_>, method: &str) {
    let (mut office, mut turn) = (Office::new(), 0);
    let next = || {
        turn += 1;
        request(method, turn % USERS, turn)
    };
    bencher.with_inputs(next).bench_local_values(|datagram| office.receive(black_box(datagram), caller()));
}

/// The same INVITE where its caller has to prove who it is, with the nonce that the caller has.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn invite_auth(bencher: Bencher<'_, '_>) {
    let ((mut office, nonces), mut turn) = (Office::secured(), 0);
    let nonces: Vec<String> = nonces;
    let next = || {
        turn += 1;
        let user = turn % USERS;
        (user, call_with(user, turn, turn / USERS + 2, nonces.get(user as usize).map_or("", |nonce| nonce)))
    };
    bencher.with_inputs(next).bench_local_values(|(user, datagram)| office.receive(black_box(datagram), phone(user)));
}

/// A request in a dialog, with our Record-Route value as its Route, from the caller or from the called phone.
#[divan::bench(args = ["ACK", "BYE", "BYE back"], sample_count = 200, sample_size = 500)]
fn in_dialog(bencher: Bencher<'_, '_>, what: &str) {
    let mut office = Office::new();
    office.receive(request("INVITE", 1, 1), caller());
    let invite = office.sent().to_owned();
    office.receive(ok(&invite), phone(1));
    let (method, back) = what.split_once(' ').map_or((what, false), |(method, _)| (method, true));
    let (ok, from) = (office.sent().to_owned(), if back { phone(1) } else { caller() });
    let mut turn = 0;
    let next = || {
        turn += 1;
        within(&ok, method, back, turn)
    };
    bencher.with_inputs(next).bench_local_values(|datagram| office.receive(black_box(datagram), from));
}

/// An INVITE to a user with several phones: 100, a response context, an INVITE to each.
#[divan::bench(args = [2, 3], sample_count = 80, sample_size = 100)]
fn forked(bencher: Bencher<'_, '_>, phones: u32) {
    let (mut office, mut turn) = (Office::with_phones(phones), 0);
    let next = || {
        turn += 1;
        request("INVITE", turn % 100, turn)
    };
    bencher.with_inputs(next).bench_local_values(|datagram| office.receive(black_box(datagram), caller()));
}

/// The 200 of that INVITE on its way back.
#[divan::bench(sample_count = 200, sample_size = 500)]
fn invite_200(bencher: Bencher<'_, '_>) {
    let mut office = Office::new();
    office.receive(request("INVITE", 1, 1), caller());
    let response = ok(office.sent());
    bencher
        .with_inputs(|| response.clone())
        .bench_local_values(|datagram| office.receive(black_box(datagram), phone(1)));
}
