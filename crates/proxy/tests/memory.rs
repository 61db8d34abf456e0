//! The memory of a request, measured by a counting allocator: a forked INVITE while it rings (the value that
//! config/frontdesk.yaml states), a subscription, and requests without a transaction.

#[path = "../benches/core_driver/mod.rs"]
mod core_driver;

use allocation_counter::measure;
use core_driver::{CoreDriver, caller, ok, options, phone, register, register_with, request, subscribe};

/// INVITEs that ring at the same time, so that the growth of tables is divided among many.
const CALLS: u32 = 4_000;

/// The value in `limits.subscriptions` for an idle subscription, in octets.
const DOCUMENTED_SUBSCRIPTION: u64 = 1536;

/// The value in docs/calls.md for a call in progress, in octets.
const DOCUMENTED_CALL_IN_PROGRESS: u64 = 1024;

/// The value in `limits.transactions` for a call to three phones, in octets.
const DOCUMENTED_CALL: u64 = 6 * 1024;

#[test]
fn a_call_to_three_phones_stays_below_the_documented_memory() {
    let mut driver = CoreDriver::with_phones(3);
    let size = request("INVITE", 1, 1).len();
    let held = measure(|| {
        for turn in 0..CALLS {
            let sent = driver.receive(request("INVITE", turn % 100, turn), caller());
            assert!(sent > 3 * size, "a 100 and three INVITEs");
        }
    });
    let each = u64::try_from(held.bytes_current).expect("more than before") / u64::from(CALLS);
    println!("{each} bytes for an INVITE of {size} at three phones");
    assert!(each <= DOCUMENTED_CALL, "{each} bytes");
}

/// What the table of calls adds to a call that is forwarded without a transaction. The pins are the same.
#[test]
fn a_call_in_progress_stays_below_the_documented_memory() {
    let held = |mut driver: CoreDriver| {
        let invites: Vec<_> = (0..CALLS).map(|turn| request("INVITE", turn, turn)).collect();
        let held = measure(|| invites.iter().for_each(|it| assert!(driver.receive(it.clone(), caller()) > 0)));
        held.bytes_current
    };
    let added = held(CoreDriver::new()) - held(CoreDriver::new().without_calls());
    let each = u64::try_from(added).expect("more") / u64::from(CALLS);
    println!("{each} bytes for a call in progress");
    assert!(each <= DOCUMENTED_CALL_IN_PROGRESS, "{each} bytes");
}

/// The lists of the outbox and the tables of the pins have grown to their size with the first messages.
#[test]
fn stateless_forwarding_allocates_nothing() {
    const WARM: u32 = 1_200;
    let mut driver = CoreDriver::new().without_calls();
    for method in ["MESSAGE", "INVITE"] {
        for turn in 0..WARM {
            driver.receive(request(method, turn, turn), caller());
        }
        // From the phone that received the last one.
        let (ok, called) = (ok(driver.sent()), phone(WARM - 1));
        driver.receive(ok.clone(), called);
        let (request, options) = (request(method, 7, WARM), options(WARM));
        for (what, datagram, from) in [(method, request, caller()), ("200", ok, called), ("OPTIONS", options, caller())]
        {
            let counted = measure(|| assert!(driver.receive(datagram, from) > 0, "{what} goes on"));
            assert_eq!(counted.count_total, 0, "{what} of {method}");
        }
    }
}

#[test]
fn credentials_are_checked_without_an_allocation() {
    let (mut open, (mut secured, nonces)) = (CoreDriver::new(), CoreDriver::secured());
    let nonce = nonces.first().expect("one for each user");
    let [mut plain, mut signed] = [0, 0];
    // The first ones make the lists of the outbox grow.
    for cseq in 3..6 {
        let (register, register_with) = (register(0, cseq), register_with(0, cseq, nonce));
        plain = measure(|| assert!(open.receive(register, phone(0)) > 0)).count_total;
        signed = measure(|| assert!(secured.receive(register_with, phone(0)) > 0)).count_total;
        assert!(secured.sent().starts_with(b"SIP/2.0 200 "));
    }
    assert_eq!(signed, plain);
}

#[test]
fn a_subscription_stays_below_the_documented_memory() {
    // checklist 155
    let mut driver = CoreDriver::new();
    let held = measure(|| {
        for user in 0..CALLS {
            driver.receive(subscribe(user), caller());
            assert!(driver.sent().starts_with(b"NOTIFY "), "a 200 and a NOTIFY");
            let answer = ok(driver.sent());
            driver.receive(answer, caller());
        }
    });
    let each = u64::try_from(held.bytes_current).expect("more than before") / u64::from(CALLS);
    println!("{each} bytes for a subscription");
    assert!(each <= DOCUMENTED_SUBSCRIPTION, "{each} bytes");
}
