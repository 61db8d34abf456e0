//! Two URIs, one in each line: their parser, their targets, and their comparison (RFC 3261 19.1.4).
#![no_main]

use fuzz::{read_number, read_target};
use libfuzzer_sys::fuzz_target;
use parser::{Host, NameAddr, Uri, equivalent, unescape};

fuzz_target!(|octets: &[u8]| {
    let mut lines = octets.split(|&byte| byte == b'\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let first = read(first);
    let second = read(second);
    if let (Some(first), Some(second)) = (first, second) {
        assert_eq!(equivalent(&first, &second), equivalent(&second, &first), "the comparison is symmetric");
    }
});

fn read(octets: &[u8]) -> Option<Uri<'_>> {
    drop(unescape(octets));
    if let Ok(host) = Host::parse(octets) {
        let mut written = Vec::new();
        host.write(&mut written);
        assert!(
            Host::parse(&written).is_ok_and(|again| again.eq_ignore_case(&host)),
            "a host that was written is equal to the parsed one"
        );
    }
    let uri = Uri::parse(octets).ok()?;
    assert_eq!(uri.as_bytes(), octets);
    assert!(equivalent(&uri, &uri), "a URI is equivalent to itself");
    let bracketed = [b"<", octets, b">"].concat();
    let address = NameAddr::parse(&bracketed).expect("a URI with brackets is an address");
    assert_eq!(address.uri.as_bytes(), octets);
    read_number(&uri);
    if let Some(sip) = uri.sip() {
        assert!(sip.user.is_none_or(|user| !user.is_empty()));
        for (name, _) in sip.params {
            assert!(!name.is_empty(), "the name of a parameter is not empty");
        }
        read_target(sip);
    }
    Some(uri)
}
