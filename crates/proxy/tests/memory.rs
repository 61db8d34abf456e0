//! What a forked INVITE costs while it rings, counted by an allocator: the figure that config/frontdesk.yaml promises.

#[path = "../benches/office/mod.rs"]
mod office;

use allocation_counter::measure;
use office::{Office, caller, phone, register, request};

/// INVITEs that ring at once, so that the growth of tables is shared by many.
const CALLS: u32 = 4_000;

/// What `limits.transactions` says of one with three branches.
const PROMISED: u64 = 6 * 1024;

/// An office in which each of a hundred users has so many phones.
fn office(phones: u32) -> Office {
    let mut office = Office::new();
    for user in 0..100 {
        for line in 2..=phones {
            let text = register(user, line);
            let text = String::from_utf8_lossy(&text);
            let other =
                text.replace(";line=1>", &format!(";line={line}>")).replace("1000-8000", &format!("{line:04}-8000"));
            office.receive(other.into(), phone(user));
        }
    }
    office
}

#[test]
fn a_call_that_rings_at_three_phones() {
    let mut office = office(3);
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
