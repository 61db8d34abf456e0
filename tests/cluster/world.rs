//! Three servers, two Redis servers, phones and writers, for some rounds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::harness::wait_for;
use crate::network::NODES;
use crate::node::{Node, Settings};
use crate::phone::Phone;
use crate::prober::Prober;
use crate::random::Random;
use crate::redis::RedisPair;
use crate::wire::Kind;
use crate::writer::{self, Writer};

/// Everything that runs. Dropping it ends every process and thread.
pub(crate) struct World {
    pub(crate) prober: Prober,
    pub(crate) phones: Vec<Phone>,
    pub(crate) writers: Vec<Writer>,
    pub(crate) written: Arc<writer::Shared>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) redis: RedisPair,
    pub(crate) settings: Settings,
    pub(crate) clocks: Vec<i64>,
    /// Whether the kernel can delay packets.
    pub(crate) has_netem: bool,
}

/// Two of each kind.
const KINDS: [Kind; 8] =
    [Kind::Udp, Kind::Nat, Kind::Tcp, Kind::WebSocket, Kind::Udp, Kind::Nat, Kind::Tcp, Kind::WebSocket];

const WRITERS: usize = 9;
/// Users of the writers: three Contacts each.
const WRITTEN_USERS: usize = 3;

/// How far the clocks of servers are apart, in seconds. The library that changes them slows everything a little, so not
/// always.
const CLOCKS: [[i64; 3]; 3] = [[0, 0, 0], [0, -60, 60], [60, 0, -30]];

impl World {
    /// Starts it, and waits until the servers are ready.
    pub(crate) fn start(random: &mut Random) -> Self {
        let replicas = u8::try_from(random.below(2)).expect("0 or 1");
        let settings = Settings { replicas, transport: "tcp" };
        let clocks = random.one_of(&CLOCKS).to_vec();
        let redis = RedisPair::start();
        let nodes = NODES.iter().zip(&clocks).map(|(host, clock)| Node::start(*host, settings, *clock)).collect();
        let phones: Vec<_> = (1..).zip(KINDS).map(|(number, kind)| Phone::start(number, kind, random)).collect();
        let written = Arc::default();
        let writers = (0..WRITERS).map(|number| Writer::start(number, WRITTEN_USERS, &written, random)).collect();
        let prober = Prober::start(phones.iter().map(|phone| phone.user.clone()).collect());
        Self { prober, phones, writers, written, nodes, redis, settings, clocks, has_netem: false }
    }

    /// How long it took until every server was ready.
    pub(crate) fn until_ready(&self, patience: Duration) -> Option<Duration> {
        let began = Instant::now();
        let is_ready = || self.nodes.iter().all(|node| node.ready().is_some_and(|(status, _)| status == 200));
        wait_for(patience, || is_ready().then(|| began.elapsed()))
    }

    /// Waits until no change is under way, and lets none begin.
    pub(crate) fn pause_writers(&self) {
        self.written.paused.store(true, Ordering::SeqCst);
        let none = || (self.written.pending.load(Ordering::SeqCst) == 0).then_some(());
        assert!(wait_for(Duration::from_secs(10), none).is_some(), "a writer does not stop");
    }

    pub(crate) fn resume_writers(&self) {
        self.written.paused.store(false, Ordering::SeqCst);
    }

    /// What an administrator sees.
    pub(crate) fn view(&self) -> String {
        let one = |node: &Node| {
            let ready =
                node.ready().map_or_else(|| "no answer".to_owned(), |(status, body)| format!("{status} {body}"));
            let nodes = node.api("/api/v1/nodes").map_or_else(String::new, |nodes| nodes["nodes"].to_string());
            let count = node.metric("frontdesk_nodes").unwrap_or(-1.0);
            format!("    {}: ready {ready}; frontdesk_nodes {count}; {nodes}\n", node.host.name)
        };
        self.nodes.iter().map(one).collect()
    }

    /// The logs of all servers, without each registration.
    pub(crate) fn logs(&self) -> String {
        let is_rare = |line: &&str| !line.contains("registered from");
        let log = |node: &Node| node.log().lines().filter(is_rare).collect::<Vec<_>>().join("\n");
        self.nodes.iter().map(|node| format!("--- log of {} ---\n{}\n", node.host.name, log(node))).collect()
    }
}
