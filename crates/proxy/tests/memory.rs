//! What a forked INVITE costs while it rings, counted by an allocator: the figure that config/frontdesk.yaml promises.

#[path = "../benches/office/mod.rs"]
mod office;

use allocation_counter::measure;
use office::{Office, caller, request};

/// INVITEs that ring at once, so that the growth of tables is shared by many.
const CALLS: u32 = 4_000;

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
