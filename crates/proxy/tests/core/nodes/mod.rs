//! Several nodes over one store: a phone is reached through the node that holds its flow.

mod attacks;
mod calls;
mod deaths;
mod ends;
mod forks;
mod keys;
mod lamps;
mod pickup;
mod registrations;
mod replays;

use parser::Transport;
use proxy::{Event, Listener, NodeRequest, Settings};
use sim::{Agent, SERVER, Simulation, Sip};

/// How a phone is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Over UDP, at its Contact.
    Udp,
    /// Over UDP behind a NAT.
    Nat,
    Tcp,
    /// Over TCP, with an instance and a reg-id.
    Outbound,
    Tls,
    Wss,
}

/// The kinds that only one node reaches.
const BOUND: [Kind; 5] = [Kind::Nat, Kind::Tcp, Kind::Outbound, Kind::Tls, Kind::Wss];

fn listen(settings: &mut Settings) {
    let more = [Transport::Tls, Transport::Wss].map(|transport| Listener { transport, address: SERVER });
    settings.listeners.extend(more);
}

fn nodes(count: usize) -> Simulation {
    nodes_with(count, |_| {})
}

fn nodes_with(count: usize, change: impl FnOnce(&mut Settings)) -> Simulation {
    Simulation::with_nodes(count, |settings| {
        listen(settings);
        change(settings);
    })
}

/// A phone at a node.
fn phone(sim: &Simulation, name: &str, kind: Kind, node: usize) -> Agent {
    let user = name.split('/').next().unwrap_or_default();
    let agent = match kind {
        Kind::Udp => sim.udp(name),
        Kind::Nat => {
            let host = 11 + sim.agents();
            let agent = sim.udp(name).named(&format!("sip:{user}@192.168.1.{host}"));
            agent.sends_from(([198, 51, 100, 7], 1026 + u16::try_from(agent.id()).unwrap_or_default()).into());
            agent
        }
        Kind::Tcp | Kind::Outbound => sim.tcp(name),
        Kind::Tls => sim.tls(name),
        Kind::Wss => sim.wss(name),
    };
    agent.reaches_node(node);
    agent
}

fn registers(agent: &Agent, kind: Kind) {
    match kind {
        Kind::Outbound => {
            let contact = format!("<{}>;+sip.instance=\"<urn:uuid:1>\";reg-id=1", agent.contact());
            agent.sends(&agent.register().set("Contact", contact).with("Supported", "path, outbound"));
            agent.expects("200");
        }
        _ => agent.registers(),
    }
}

/// A registered phone at a node.
fn registered(sim: &Simulation, name: &str, kind: Kind, node: usize) -> Agent {
    let agent = phone(sim, name, kind, node);
    registers(&agent, kind);
    agent
}

/// A call that is up: the INVITE as sent, its 200 as received, and both as the phone has them.
struct Call {
    invite: Sip,
    ok: Sip,
    received: Sip,
    answer: Sip,
}

fn call(caller: &Agent, callee: &Agent) -> Call {
    let invite = caller.calls(callee.user());
    let received = callee.expects("INVITE");
    callee.answers(&received, 180);
    caller.expects("180");
    let answer = callee.answers(&received, 200);
    let ok = caller.expects("200");
    caller.acks(&invite, &ok);
    callee.expects("ACK");
    Call { invite, ok, received, answer }
}

impl Call {
    /// A request of the caller reaches the callee, and its 200 comes back.
    fn caller_sends(&self, caller: &Agent, callee: &Agent, method: &str) {
        let request = caller.within(&self.invite, &self.ok, method);
        caller.sends(&request);
        let received = callee.expects(method);
        assert_eq!(received.values("Route").next(), None);
        callee.answers(&received, 200);
        let ok = caller.expects("200");
        if method == "INVITE" {
            let number = request.value("CSeq").split(' ').next().unwrap_or_default().to_owned();
            caller.sends(
                &caller.within(&self.invite, &ok.with_routes_of(&self.ok), "ACK").set("CSeq", format!("{number} ACK")),
            );
            callee.expects("ACK");
        }
    }

    /// A request of the callee reaches the caller, and its 200 comes back.
    fn callee_sends(&self, caller: &Agent, callee: &Agent, method: &str) {
        callee.sends(&callee.within_as_callee(&self.received, &self.answer, method));
        let received = caller.expects(method);
        assert_eq!(received.values("Route").next(), None);
        caller.answers(&received, 200);
        callee.expects("200");
    }
}

trait WithRoutes {
    fn with_routes_of(self, ok: &Sip) -> Sip;
}

impl WithRoutes for Sip {
    /// The route set does not change in a dialog (RFC 3261 12.2.1.1).
    fn with_routes_of(self, ok: &Sip) -> Sip {
        ok.values("Record-Route").fold(self.without("Record-Route"), |sip, value| sip.with("Record-Route", value))
    }
}

/// How often this was done with requests of other nodes since the last call.
fn count(sim: &Simulation, which: NodeRequest) -> usize {
    sim.count_events(|event| matches!(event, Event::NodeRequest { outcome } if *outcome == which))
}
