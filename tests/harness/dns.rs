//! A DNS server for one zone, over UDP on loopback. It answers what the test wrote down, and counts the queries.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, NAPTR, SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// A DNS server that ends with the process.
pub(crate) struct DnsServer {
    address: SocketAddr,
    queries: Arc<Mutex<Vec<String>>>,
    zone: Arc<Mutex<String>>,
}

impl DnsServer {
    /// Starts one with an empty zone.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("an address");
        let (queries, zone) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<String>>::default());
        let (log, records) = (Arc::clone(&queries), Arc::clone(&zone));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let Ok(query) = Message::from_vec(&buffer[..length]) else { continue };
                let Some(question) = query.queries.first() else { continue };
                let owner = question.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
                log.lock().expect("no panic").push(format!("{owner} {}", question.query_type()));
                let zone = records.lock().expect("no panic").clone();
                if let Some(answer) = answer(&query, &owner, question.query_type(), &zone) {
                    let _ = socket.send_to(&answer.to_vec().expect("a message"), peer);
                }
            }
        });
        Self { address, queries, zone }
    }

    /// The configuration that has the server ask this one.
    pub(crate) fn config(&self) -> String {
        format!("dns: {{ servers: [\"{}\"] }}\n", self.address)
    }

    /// Replaces the zone: `owner TYPE data` a line, with a TTL of an hour. The type SILENT: there is no answer at all.
    pub(crate) fn set(&self, zone: &str) {
        zone.clone_into(&mut self.zone.lock().expect("no panic"));
    }

    /// The queries so far, as `owner TYPE`.
    pub(crate) fn queries(&self) -> Vec<String> {
        self.queries.lock().expect("no panic").clone()
    }
}

fn answer(query: &Message, owner: &str, kind: RecordType, zone: &str) -> Option<Message> {
    let lines = zone.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_owner: Vec<_> = lines.filter(|fields| fields.len() > 1 && fields[0].eq_ignore_ascii_case(owner)).collect();
    if of_owner.iter().any(|fields| fields[1] == "SILENT") {
        return None;
    }
    let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = if of_owner.is_empty() { ResponseCode::NXDomain } else { ResponseCode::NoError };
    answer.add_queries(query.queries.iter().cloned());
    let name =
        |text: &str| Name::from_ascii(if text == "." { ".".to_owned() } else { format!("{text}.") }).expect("a name");
    for fields in of_owner.iter().filter(|fields| fields[1] == kind.to_string()) {
        let number = |index: usize| fields[index].parse().expect("a number");
        let data = match kind {
            RecordType::A => RData::A(A(fields[2].parse().expect("an address"))),
            RecordType::AAAA => RData::AAAA(AAAA(fields[2].parse().expect("an address"))),
            RecordType::SRV => RData::SRV(SRV::new(number(2), number(3), number(4), name(fields[5]))),
            RecordType::NAPTR => RData::NAPTR(NAPTR::new(
                number(2),
                number(3),
                fields[4].as_bytes().into(),
                fields[5].as_bytes().into(),
                Box::default(),
                name(fields[6]),
            )),
            _ => continue,
        };
        answer.add_answer(Record::from_rdata(name(owner), 3600, data));
    }
    if answer.answers.is_empty() {
        // RFC 2308 3: how long the negative answer may be kept.
        let soa = SOA::new(name(owner), name(owner), 1, 3600, 3600, 3600, 3600);
        answer.add_authority(Record::from_rdata(name(owner), 3600, RData::SOA(soa)));
    }
    Some(answer)
}
