//! The network of the test: one network namespace for each server, joined by a bridge in the namespace of the test, and the
//! faults of the network.
//!
//! The test program runs itself again in new network, mount and process namespaces: whatever it starts ends with it, and no
//! name or address meets one of the machine. Needs root (or unprivileged user namespaces), `unshare`, `ip` (iproute2) and
//! `nft`. Packets are dropped where they arrive, because a drop where they are sent is an error that the sender would notice.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use crate::harness::namespace::rights;

const INSIDE: &str = "FRONTDESK_CLUSTER_INSIDE";

/// A machine of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) ip: Ipv4Addr,
}

const fn host(name: &'static str, last: u8) -> Host {
    Host { name, ip: Ipv4Addr::new(10, 77, 0, last) }
}

/// The servers.
pub(crate) const NODES: [Host; 3] = [host("a", 11), host("b", 12), host("c", 13)];

/// The two machines with a Redis.
pub(crate) const REDIS: [Host; 2] = [host("r1", 21), host("r2", 22)];

/// The address of the Redis that takes changes: one of [`REDIS`] has it.
pub(crate) const SHARED_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 20);

/// The address of a phone, on the bridge.
pub(crate) fn phone_ip(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, u8::try_from(number).expect("few phones"))
}

/// Phones that may have an address.
const PHONES: usize = 32;

/// Which packets are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    To,
    From,
    Both,
}

/// Runs `body` in the namespaces. `test` is the name of the calling test.
pub(crate) fn inside(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let program = std::env::current_exe().expect("the path of this test program");
    let mut command = Command::new("unshare");
    command.args(rights()).args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.args(["sh", "-c", "mount -t tmpfs none /run && mkdir /run/netns && exec \"$0\" \"$@\""]);
    command.arg(program).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let status = command.status().expect("unshare (util-linux) is needed to make network namespaces");
    assert!(status.success(), "the test failed in its namespaces (run as root, with iproute2 and nftables installed)");
}

/// Makes the network.
pub(crate) fn make() {
    let mut script = "ip link set lo up; ip link add br0 type bridge; ip addr add 10.77.0.1/16 dev br0; ".to_owned();
    script.push_str("ip link set br0 up; ");
    for number in 1..=PHONES {
        script.push_str(&format!("ip addr add {}/32 dev br0; ", phone_ip(number)));
    }
    for Host { name, ip } in NODES.iter().chain(&REDIS) {
        script.push_str(&format!(
            "ip netns add {name}; ip link add v-{name} type veth peer name eth0 netns {name}; \
             ip link set v-{name} master br0 up; ip -n {name} link set lo up; ip -n {name} link set eth0 up; \
             ip -n {name} addr add {ip}/16 dev eth0; ip netns exec {name} sh -ec '{FILTER}'; "
        ));
    }
    shell(&format!("{script}{FILTER}"));
}

const FILTER: &str = "nft add table inet fault; nft add chain inet fault in { type filter hook input priority 0 \\; }";

/// A command that runs on a machine. The process has the command's process id.
pub(crate) fn on(host: Host, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", host.name, program]);
    command
}

/// Gives the address of the Redis that takes changes to one machine, as keepalived does.
pub(crate) fn move_shared_ip(to: Host) {
    let mut script = String::new();
    for Host { name, .. } in REDIS {
        script.push_str(&format!("ip -n {name} addr del {SHARED_IP}/16 dev eth0 2>/dev/null || true; "));
    }
    script.push_str(&format!("ip -n {} addr add {SHARED_IP}/16 dev eth0; ip neigh flush all; ", to.name));
    for Host { name, .. } in NODES.iter().chain(&REDIS) {
        script.push_str(&format!("ip -n {name} neigh flush all; "));
    }
    shell(&script);
}

/// Drops what passes between two machines.
pub(crate) fn cut(a: Host, b: Host, direction: Direction) {
    if direction != Direction::From {
        drop_from(b, a, "");
    }
    if direction != Direction::To {
        drop_from(a, b, "");
    }
}

/// Drops so many percent of what a machine sends and receives.
pub(crate) fn lose(host: Host, percent: u8) {
    let chance = format!("numgen random mod 100 lt {percent}");
    shell(&format!("ip netns exec {} nft add rule inet fault in {chance} drop", host.name));
    shell(&format!("nft add rule inet fault in ip saddr {} {chance} drop", host.ip));
    for other in NODES.iter().chain(&REDIS).filter(|other| **other != host) {
        drop_from(*other, host, &chance);
    }
}

fn drop_from(receiver: Host, sender: Host, condition: &str) {
    let mut sources = vec![sender.ip];
    if REDIS.contains(&sender) {
        sources.push(SHARED_IP);
    }
    for source in sources {
        shell(&format!(
            "ip netns exec {} nft add rule inet fault in ip saddr {source} {condition} drop",
            receiver.name
        ));
    }
}

/// Delays what a machine sends. False if the kernel cannot (`sch_netem` is missing).
pub(crate) fn delay(host: Host, time: Duration) -> bool {
    let millis = time.as_millis();
    let netem = format!("tc -n {} qdisc add dev eth0 root netem delay {millis}ms {}ms", host.name, millis / 4);
    Command::new("sh").args(["-ec", &netem]).output().is_ok_and(|output| output.status.success())
}

/// Ends all faults of the network.
pub(crate) fn heal() {
    let mut script = "nft flush chain inet fault in; ".to_owned();
    for Host { name, .. } in NODES.iter().chain(&REDIS) {
        script.push_str(&format!("ip netns exec {name} nft flush chain inet fault in; "));
        script.push_str(&format!("tc -n {name} qdisc del dev eth0 root 2>/dev/null || true; "));
    }
    shell(&script);
}

#[track_caller]
fn shell(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().expect("sh");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}
