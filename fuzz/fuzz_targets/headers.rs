//! Header lines: each is parsed as the header that its name says. A Via gets the source of its request and nothing else
//! changes.
#![no_main]

use fuzz::{parse, read_all};
use libfuzzer_sys::fuzz_target;
use parser::headers::Via;
use parser::{HeaderName, Message, Rewrite, Stamp};

fuzz_target!(|lines: &[u8]| {
    let octets = [b"OPTIONS sip:a SIP/2.0\r\n", lines, b"\r\n\r\n"].concat();
    let Some(message) = parse(&octets) else { return };
    read_all(&message);
    stamping_changes_only_the_top_via(&message);
});

fn stamping_changes_only_the_top_via(message: &Message) {
    let Ok(Some(before)) = message.header::<Via<'_>>() else { return };
    let mut rewrite = Rewrite::new();
    let received = Some([192, 0, 2, 1].into());
    rewrite.stamp_via(message, Stamp { received, rport: Some(5062), rport_at: before.rport_at() });
    let mut out = Vec::new();
    rewrite.write(message, &mut out);
    let stamped = parse(&out).expect("the message has a start line");
    let after = stamped.required::<Via<'_>>().expect("a stamped Via can be parsed");
    assert_eq!(after.received(), Some(&b"192.0.2.1"[..]));
    assert_eq!(after.rport(), before.rport().map(|_| Some(5062)));
    assert_eq!((after.protocol, after.transport, after.port), (before.protocol, before.transport, before.port));
    assert_eq!((after.branch(), after.maddr()), (before.branch(), before.maddr()));
    let others = |message: &Message| message.values(HeaderName::Via).skip(1).map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(others(message), others(&stamped));
}
