//! Flows: a binding says which server can reach its phone.

use location::{
    Aor, Applied, Change, ConnectionId, ContactChange, Flow, FlowId, Node as NodeId, NodeFlow, Operation, Record,
    RedisOptions, Store,
};

use crate::redis_server::{Node, Server, eventually, options};
use crate::support::{LIMITS, aor};

fn register(node: &Node, user: u32, id: FlowId) {
    let transport = if id == FlowId::Nat { parser::Transport::Udp } else { parser::Transport::Tcp };
    let [remote, local] = ["192.0.2.7:5060", "192.0.2.1:5060"].map(|address| address.parse().unwrap());
    let now = node.now();
    let apply = |old: &Record| {
        let change = Change {
            call_id: b"call",
            cseq: old.bindings().into_iter().map(|binding| binding.cseq()).max().unwrap_or(0) + 1,
            transaction: 1,
            flow: Flow { transport, remote, local, id },
            path: b"",
            user_agent: b"",
            operation: Operation::Update([ContactChange::plain(b"sip:a@192.0.2.7", 600)].into_iter().collect()),
        };
        match old.apply(&change, now, &LIMITS) {
            Ok(Applied::Changed { record, .. }) => record,
            other => panic!("{other:?}"),
        }
    };
    node.register(&aor(user), apply).unwrap();
}

fn flow(node: &Node, aor: &Aor) -> Option<FlowId> {
    Some(node.store().load(aor)?.live(node.now()).next()?.flow().id)
}

#[test]
fn a_flow_belongs_to_one_run_of_one_server() {
    let server = Server::start();
    let (a, b) = (Node::open(&server, "a"), Node::open(&server, "b"));
    let connection = ConnectionId::new(9).unwrap();
    let flows = [FlowId::None, FlowId::Nat, FlowId::Connection(connection)];
    for (user, id) in (0..).zip(flows) {
        register(&a, user, id);
        assert_eq!(flow(&a, &aor(user)), Some(id));
    }
    let node = a.store().node().unwrap();
    let elsewhere = |node: NodeId, connection| FlowId::Elsewhere(NodeFlow { node, connection });
    let seen = |node: &Node| [0, 1, 2].map(|user| flow(node, &aor(user)).unwrap());
    eventually("the flows at b", || b.store().records() == 3);
    assert_eq!(seen(&b), [FlowId::None, elsewhere(node, None), elsewhere(node, Some(connection))]);
    // The next run of a: the phone behind the NAT is still reached, the connection is closed.
    drop(a);
    let a = Node::open(&server, "a");
    assert_eq!(seen(&a), [FlowId::None, FlowId::Nat, FlowId::None]);
    // Unless the address is not one of its own any more.
    drop(a);
    let moved = RedisOptions { is_local: std::sync::Arc::new(|_| false), ..options(&server, "a") };
    let a = Node::begin(moved);
    a.wait_usable();
    assert_eq!(seen(&a), [FlowId::None; 3]);
    // A phone that registers at another server moves.
    register(&b, 2, FlowId::Connection(connection));
    let at_b = elsewhere(b.store().node().unwrap(), Some(connection));
    eventually("the move at a", || flow(&a, &aor(2)) == Some(at_b));
    assert_eq!(flow(&b, &aor(2)), Some(FlowId::Connection(connection)));
}
