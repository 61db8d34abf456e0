//! Watchers of the calls of each user, at any node. When nothing changes any more, they know the calls of all nodes.

use super::{NodeState, NodeTrial, TICK};
use crate::Simulation;
use crate::judge::{enforce, must};
use crate::trial::watchers::Watcher;

/// How many users are watched.
const USERS: usize = 6;

/// After so many ticks without a change of any call, what was lost is known: 10 s until it is noticed, and 1 s between two
/// NOTIFYs.
const QUIET: u64 = 600;

/// A watcher of each user, and its node. One whose node has died subscribes again elsewhere.
pub(super) struct Lamps {
    watchers: Vec<(usize, Option<Watcher>)>,
    begun: usize,
}

impl Lamps {
    pub(super) fn new(nodes: usize) -> Self {
        Self { watchers: (0..USERS).map(|user| (user % nodes, None)).collect(), begun: 0 }
    }

    pub(super) fn watch(&mut self, sim: &Simulation, nodes: &[NodeState]) {
        for (user, (node, watcher)) in self.watchers.iter_mut().enumerate() {
            if watcher.is_some() && nodes[*node].is_running {
                continue;
            }
            let Some(alive) = (0..nodes.len()).map(|at| (*node + at) % nodes.len()).find(|at| nodes[*at].is_running)
            else {
                continue;
            };
            self.begun += 1;
            *watcher = Some(Watcher::begin(sim, &format!("user{user}"), &format!("w{}", self.begun), alive));
            *node = alive;
        }
    }
}

impl NodeTrial {
    /// Starts what has ended, waits until nothing changes any more, and asks the watchers what they know.
    pub(super) fn check_lamps(&mut self) {
        for index in 0..self.nodes.len() {
            if !self.nodes[index].is_running {
                self.sim.start_node(index);
            }
            self.nodes[index].is_running = true;
            self.sim.regain_lease(index);
        }
        let (mut last, mut quiet) = (String::new(), 0);
        while quiet < QUIET {
            self.attack();
            self.sim.wait(TICK);
            self.receive();
            let calls = format!("{:?}", self.sim.calls());
            quiet = if calls == last { quiet + 1 } else { 0 };
            last = calls;
        }
        for call in self.sim.calls() {
            let id = String::from_utf8_lossy(&call.call_id).into_owned();
            let is_over = self.hung_up.contains(&id);
            enforce("a_call_that_was_hung_up_is_in_no_table", &id, must(!is_over, || format!("{call:?}")));
        }
        for watcher in self.lamps.watchers.iter().filter_map(|(_, watcher)| watcher.as_ref()) {
            enforce("a_watcher_at_any_node_knows_the_calls_of_all_nodes", "", watcher.knows_all(&self.sim));
            self.report.watched += 1;
        }
    }
}
