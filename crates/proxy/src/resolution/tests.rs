use super::*;

/// The zone: `owner TYPE data`, a record a line.
const ZONE: &str = "
    full.example      NAPTR 50 50 s SIPS+D2T _sips._tcp.full.example
    full.example      NAPTR 90 50 s SIP+D2T _sip._tcp.full.example
    full.example      NAPTR 100 50 S sip+d2u _sip._udp.full.example
    full.example      NAPTR 10 50 s SIP+D2S _sip._sctp.full.example
    full.example      NAPTR 10 50 u E2U+sip _sip._udp.other.example
    full.example      A 192.0.2.9
    _sips._tcp.full.example SRV 1 0 5071 tls.full.example
    _sip._tcp.full.example  SRV 2 0 5072 tcp2.full.example
    _sip._tcp.full.example  SRV 1 0 5073 tcp1.full.example
    _sip._udp.full.example  SRV 1 0 5074 udp.full.example
    tls.full.example  A 192.0.2.1
    tcp1.full.example A 192.0.2.2
    tcp1.full.example A 2001:db8::2
    tcp2.full.example A 192.0.2.3
    udp.full.example  A 192.0.2.4

    only-srv.example             A 192.0.2.19
    _sip._udp.only-srv.example   SRV 1 0 5060 u.only-srv.example
    _sip._tcp.only-srv.example   SRV 1 0 5061 t.only-srv.example
    u.only-srv.example           A 192.0.2.11
    t.only-srv.example           A 192.0.2.12

    plain.example     A 192.0.2.21
    plain.example     A 2001:db8::21

    none.example            A 192.0.2.31
    _sip._udp.none.example  SRV 0 0 5060 .

    loop.example            NAPTR 1 1 s SIP+D2U _sip._udp.loop.example
    _sip._udp.loop.example  SRV 1 1 5060 _sip._udp.loop.example

    hollow.example    NAPTR 1 1 s SIP+D2U _sip._udp.nowhere.example

    odd.example       NAPTR 1 1 s SIP+D2U _sip._udp.odd.example
    _sip._udp.odd.example SRV 1 1 0 odd.example
    _sip._udp.odd.example SRV 2 1 5060 odd.example
    odd.example       A 0.0.0.0
    odd.example       A 224.0.0.1
    odd.example       A 255.255.255.255
    odd.example       A 192.0.2.41
    odd.example       A 192.0.2.41
";

fn look_up(zone: &str, query: &Query) -> Records {
    let records = |wanted_owner: &str, wanted_type: &str| -> Vec<Vec<String>> {
        let lines = zone.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let matches = lines.filter(|fields| fields.len() > 2 && fields[0] == wanted_owner && fields[1] == wanted_type);
        matches.map(|fields| fields[2..].to_vec()).collect()
    };
    let number = |text: &String| text.parse().expect("a number");
    match query {
        Query::Naptr(owner) => {
            let naptr = |data: Vec<String>| Naptr {
                order: number(&data[0]),
                preference: number(&data[1]),
                flags: data[2].as_str().into(),
                service: data[3].as_str().into(),
                regexp: "".into(),
                replacement: data[4].as_str().into(),
            };
            Records::Naptr(records(owner, "NAPTR").into_iter().map(naptr).collect())
        }
        Query::Srv(owner) => {
            let srv = |data: Vec<String>| Srv {
                priority: number(&data[0]),
                weight: number(&data[1]),
                port: number(&data[2]),
                target: data[3].trim_end_matches('.').into(),
            };
            Records::Srv(records(owner, "SRV").into_iter().map(srv).collect())
        }
        Query::Addresses(host) => {
            let addresses = records(host, "A").into_iter().map(|data| data[0].parse().expect("an address"));
            Records::Addresses(addresses.collect())
        }
    }
}

fn senders(transports: &[Transport]) -> Senders {
    let both = |transport: &Transport| [true, false].map(|is_ipv4| Sender { transport: *transport, is_ipv4 });
    transports.iter().flat_map(both).collect()
}

/// The endpoints of a name, and how many queries they took.
fn resolve(name: &Name, senders: Senders, zone: &str) -> (Vec<String>, usize) {
    let mut count = 0;
    let endpoints = Resolution::new(name, senders, 1).run(|query| {
        count += 1;
        look_up(zone, query)
    });
    let text = |endpoint: Endpoint| format!("{} {}", endpoint.transport.param(), endpoint.address);
    (endpoints.into_iter().map(text).collect(), count)
}

fn name(uri: &str) -> Name {
    let (secure, rest) =
        uri.strip_prefix("sips:").map_or_else(|| (false, uri.trim_start_matches("sip:")), |rest| (true, rest));
    let (host, transport) = rest.split_once(";transport=").map_or((rest, None), |(host, name)| (host, Some(name)));
    let (host, port) = host.split_once(':').map_or((host, None), |(host, port)| (host, port.parse().ok()));
    let transport = transport.map(|name| match name {
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        "tls" => Transport::Tls,
        _ => Transport::Ws,
    });
    Name { host: host.into(), port, transport, secure }
}

#[test]
fn each_rule_of_rfc_3263_section_4() {
    use Transport::{Tcp, Tls, Udp, Ws};
    // checklist 118, 119
    let all = [Udp, Tcp, Tls];
    let cases: &[(&str, &[Transport], &[&str])] = &[
        // 4.1: NAPTR by order; services that are not SIP's, or of transports that are not used, are discarded.
        (
            "sip:full.example",
            &all,
            &[
                "tls 192.0.2.1:5071",
                "tcp 192.0.2.2:5073",
                "tcp [2001:db8::2]:5073",
                "tcp 192.0.2.3:5072",
                "udp 192.0.2.4:5074",
            ],
        ),
        ("sip:full.example", &[Udp], &["udp 192.0.2.4:5074"]),
        // 4.1: only SIPS services for `sips:`; RFC 3261 26.2.2: no way without TLS.
        ("sips:full.example", &all, &["tls 192.0.2.1:5071"]),
        ("sips:full.example", &[Udp, Tcp], &[]),
        // 4.2: the transport of the URI: its SRV records at once.
        ("sip:full.example;transport=udp", &all, &["udp 192.0.2.4:5074"]),
        ("sip:full.example;transport=tls", &all, &["tls 192.0.2.1:5071"]),
        // 4.2: a port: the addresses at once, over UDP or TLS.
        ("sip:full.example:5080", &all, &["udp 192.0.2.9:5080"]),
        ("sips:full.example:5080", &all, &["tls 192.0.2.9:5080"]),
        ("sip:full.example:5080;transport=tcp", &all, &["tcp 192.0.2.9:5080"]),
        // 4.1: without NAPTR the SRV records of each transport.
        ("sip:only-srv.example", &all, &["udp 192.0.2.11:5060", "tcp 192.0.2.12:5061"]),
        ("sip:only-srv.example", &[Tcp], &["tcp 192.0.2.12:5061"]),
        // 4.2: without SRV the addresses at the default port.
        ("sip:plain.example", &all, &["udp 192.0.2.21:5060", "udp [2001:db8::21]:5060"]),
        ("sip:plain.example;transport=tcp", &all, &["tcp 192.0.2.21:5060", "tcp [2001:db8::21]:5060"]),
        ("sips:plain.example", &all, &["tls 192.0.2.21:5061", "tls [2001:db8::21]:5061"]),
        ("sip:plain.example;transport=ws", &all, &[]),
        ("sip:plain.example", &[Ws], &[]),
        // RFC 2782: the service is not offered.
        ("sip:none.example", &all, &[]),
        ("sip:none.example;transport=udp", &all, &[]),
        // Records that lead to nothing, to themselves, or to what is no address of a host.
        ("sip:loop.example", &all, &[]),
        ("sip:hollow.example", &all, &[]),
        ("sip:missing.example", &all, &[]),
        ("sip:odd.example", &all, &["udp 192.0.2.41:5060"]),
    ];
    for (uri, transports, expected) in cases {
        assert_eq!(resolve(&name(uri), senders(transports), ZONE).0, *expected, "{uri} {transports:?}");
    }
}

#[test]
fn addresses_of_a_family_without_a_listener_are_left_out() {
    let ipv6 = Senders::from_iter([Sender { transport: Transport::Udp, is_ipv4: false }]);
    assert_eq!(resolve(&name("sip:plain.example"), ipv6, ZONE).0, ["udp [2001:db8::21]:5060"]);
}

#[test]
fn a_thousand_targets_are_a_few() {
    let mut zone = String::from("big.example NAPTR 1 1 s SIP+D2U _sip._udp.big.example\n");
    for number in 0..1000 {
        zone.push_str(&format!("big.example NAPTR 2 1 s SIP+D2T _sip{number}._tcp.big.example\n"));
        zone.push_str(&format!("_sip._udp.big.example SRV 1 1 5060 h{number}.big.example\n"));
        for last in 0..5 {
            zone.push_str(&format!("h{number}.big.example A 192.0.2.{}\n", (number * 5 + last) % 250 + 1));
        }
    }
    let (endpoints, queries) = resolve(&name("sip:big.example"), senders(&[Transport::Udp, Transport::Tcp]), &zone);
    assert_eq!((endpoints.len(), queries), (MAX_ENDPOINTS, 1 + MAX_SERVICES + MAX_HOSTS));
}

#[test]
fn answers_of_another_type_count_as_no_records() {
    let mut resolution = Resolution::new(&name("sip:full.example"), senders(&[Transport::Udp]), 1);
    resolution.answer(&[Records::Addresses(vec![[192, 0, 2, 1].into()])]);
    assert!(matches!(resolution.queries().first(), Some(Query::Srv(_))));
    resolution.answer(&[]);
    assert!(matches!(resolution.queries().first(), Some(Query::Addresses(_))));
    resolution.answer(&[Records::Srv(Vec::new())]);
    assert!(resolution.queries().is_empty() && resolution.endpoints().is_empty());
}
