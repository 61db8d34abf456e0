//! What a request costs, counted by an allocator: a forked INVITE while it rings (the figure that config/frontdesk.yaml
//! promises), and what goes on without a transaction.

#[path = "../benches/office/mod.rs"]
mod office;

use allocation_counter::measure;
use office::{Office, caller, ok, options, phone, register, register_with, request, subscribe};

/// INVITEs that ring at once, so that the growth of tables is shared by many.
const CALLS: u32 = 4_000;

/// What `limits.subscriptions` says of one that is at rest.
const PROMISED_WATCHER: u64 = 1536;

/// What `limits.transactions` says of one with three branches.
const PROMISED: u64 = 6 * 1024;

#[test]
fn a_call_that_rings_at_three_phones() {
    let mut office = Office::with_phones(3);
    let size = request("INVITE", 1, 1).len();
    let held = measure(|| {
        for turn in 0..CALLS {
            let sent = office.receive(request("INVITE", turn % 100, turn), caller());
            assert!(sent > 3 * size, "a 100 and three INVITEs");
        }
    });
    let each = u64::try_from(held.bytes_current).expect("more than before") / u64::from(CALLS);
    println!("{each} bytes for an INVITE of {size} at three phones");
    assert!(each <= PROMISED, "{each} bytes");
}

/// The lists of the outbox have grown to their size with the first messages, and so have the tables of the pins.
#[test]
fn what_is_forwarded_without_a_transaction_allocates_nothing() {
    const WARM: u32 = 1_200;
    let mut office = Office::new();
    for method in ["MESSAGE", "INVITE"] {
        for turn in 0..WARM {
            office.receive(request(method, turn, turn), caller());
        }
        // From the phone that the last of them went to.
        let (ok, called) = (ok(office.sent()), phone(WARM - 1));
        office.receive(ok.clone(), called);
        let (request, options) = (request(method, 7, WARM), options(WARM));
        for (what, datagram, from) in [(method, request, caller()), ("200", ok, called), ("OPTIONS", options, caller())]
        {
            let counted = measure(|| assert!(office.receive(datagram, from) > 0, "{what} goes on"));
            assert_eq!(counted.count_total, 0, "{what} of {method}");
        }
    }
}

#[test]
fn credentials_are_judged_without_an_allocation() {
    let (mut open, (mut secured, nonces)) = (Office::new(), Office::secured());
    let nonce = nonces.first().expect("one for each user");
    let [mut plain, mut signed] = [0, 0];
    // The first grow the lists of the outbox.
    for cseq in 3..6 {
        let (register, register_with) = (register(0, cseq), register_with(0, cseq, nonce));
        plain = measure(|| assert!(open.receive(register, phone(0)) > 0)).count_total;
        signed = measure(|| assert!(secured.receive(register_with, phone(0)) > 0)).count_total;
        assert!(secured.sent().starts_with(b"SIP/2.0 200 "));
    }
    assert_eq!(signed, plain);
}

#[test]
fn a_phone_that_watches_its_user() {
    // checklist 155
    let mut office = Office::new();
    let held = measure(|| {
        for user in 0..CALLS {
            office.receive(subscribe(user), caller());
            assert!(office.sent().starts_with(b"NOTIFY "), "a 200 and a NOTIFY");
            let answer = ok(office.sent());
            office.receive(answer, caller());
        }
    });
    let each = u64::try_from(held.bytes_current).expect("more than before") / u64::from(CALLS);
    println!("{each} bytes for a subscription");
    assert!(each <= PROMISED_WATCHER, "{each} bytes");
}
