//! A million users with one phone each: memory per binding, and time to look up, refresh, write, load and sweep them.
//!
//! `cargo bench -p location --bench million` takes a minute or two and prints a table; run nothing else on the machine.
//! `FOLDER=...` sets the folder of the file (default: the system's temporary folder, which may not be on a disk).
//! With `--features redis` it also measures the store that several servers share, on a redis-server of its own; the time of
//! that process is not part of the processor times.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench prints, and panics on unexpected results"
)]

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use location::{
    Aor, Applied, Change, Commit, ContactChange, DiskOptions, DiskStore, Flow, Hooks, Limits, MemoryStore, Operation,
    Record, Store, StoreError, Ticket, Wall,
};
use parking_lot::Mutex;

const NOW: Wall = Wall(1_750_000_000_000);
/// The time of the REGISTERs.
static TIME: AtomicU64 = AtomicU64::new(NOW.0);
/// The memory store does not use the ticket.
const NO_TICKET: Ticket = Ticket { worker: 0, id: 0 };

#[cfg(feature = "redis")]
#[path = "../tests/support/redis.rs"]
mod redis_server;

#[cfg(feature = "redis")]
mod support {
    pub(crate) type Outcomes = std::sync::mpsc::Receiver<(location::Ticket, bool)>;
}

fn main() {
    // `cargo test --benches` only checks that it runs.
    let count = if env::args().any(|arg| arg == "--bench") { 1_000_000 } else { 2_000 };
    let Some(phone) = env::var_os("PHONE") else {
        // Each phone in a process of its own, so that memory is measured from a fresh heap.
        for phone in [&SHORT, &USUAL] {
            let mut own = Command::new(env::current_exe().unwrap());
            assert!(own.args(env::args_os().skip(1)).env("PHONE", phone.name).status().unwrap().success());
        }
        return;
    };
    let phone = if phone == SHORT.name { &SHORT } else { &USUAL };
    let (users, folder) =
        (Users::of(count), env::var_os("FOLDER").map_or_else(tempfile::tempdir, tempfile::tempdir_in));
    println!("\n{count} phones, each with {} octets of text", phone.text());
    in_memory(&users, phone);
    on_disk(&users, phone, &folder.unwrap().path().join("location"));
    #[cfg(feature = "redis")]
    shared(&users, phone);
}

fn in_memory(users: &Users, phone: &Phone) {
    let before = resident();
    let store = MemoryStore::new();
    let fill = cpu_time(|| users.aors.iter().for_each(|aor| register(&store, phone, aor, 1, NO_TICKET)));
    print_row("memory per binding, all included", format!("{} octets", (resident() - before) / users.aors.len()));
    print_row("first REGISTER, in memory", per_item(fill, users));
    let lookups = (0..5).map(|_| {
        cpu_time(|| {
            users.shuffled.iter().for_each(|aor| {
                black_box(store.load(aor));
            })
        })
    });
    let lookup = lookups.min().unwrap_or_default();
    print_row("lookup", format!("{}, {:.1} million/s", per_item(lookup, users), rate(lookup, users) / 1e6));
    let again = cpu_time(|| users.shuffled.iter().for_each(|aor| register(&store, phone, aor, 2, NO_TICKET)));
    print_row("REGISTER again, in memory", per_item(again, users));
    sweep_all(users, &store);
}

/// Sweeps while all bindings expire, and are discarded, in the same second.
fn sweep_all(users: &Users, store: &MemoryStore) {
    for (what, after) in [("expire", 3600), ("discard", 3632)] {
        let (mut calls, mut longest, mut all) = (0, Duration::ZERO, Duration::ZERO);
        let done = |store: &MemoryStore| match what {
            "expire" => store.counts().bindings == 0,
            _ => record_count(store) == 0,
        };
        while !done(store) {
            let took = cpu_time(|| {
                store.sweep(NOW.plus_secs(after));
            });
            (calls, longest, all) = (calls + 1, longest.max(took), all + took);
        }
        let calls = format!("{calls} sweeps, the longest {longest:.1?}");
        print_row(&format!("to {what} all in one second"), format!("{}, {calls}", per_item(all, users)));
    }
}

fn record_count(store: &MemoryStore) -> usize {
    let mut count = 0;
    store.list(&mut |_| count += 1);
    count
}

fn on_disk(users: &Users, phone: &Phone, path: &Path) {
    let log = Arc::new(CommitLog::new());
    let store = DiskStore::open(path, DiskOptions::new(NOW), CommitLog::hooks(&log)).unwrap();
    for (what, cseq) in [("first REGISTER", 1), ("REGISTER again", 2), ("and again", 3)] {
        let row = fast(users, phone, &store, &log, cseq);
        let size = fs::metadata(path).unwrap().len() >> 20;
        print_row(&format!("{what}, on disk"), format!("{row}, file of {size} MB"));
    }
    for pace in [(5_000, 4), (10_000, 5)] {
        paced(users, phone, &store, &log, pace);
    }
    drop(store);
    let mut kept = None;
    let spent = cpu();
    let load = wall_time(|| kept = DiskStore::open(path, DiskOptions::new(NOW), CommitLog::hooks(&log)).ok());
    let spent = cpu() - spent;
    assert_eq!(kept.map(|store| store.counts().users), Some(u64::from(users.count())));
    print_row("load at the start", format!("{load:.2?}, {spent:.2?} of CPU"));
}

#[cfg(feature = "redis")]
fn shared(users: &Users, phone: &Phone) {
    use location::RedisStore;

    // As Redis is configured by default: its disk is written once a second.
    let server = redis_server::Server::start_with(&["--appendfsync", "everysec"]);
    let log = Arc::new(CommitLog::new());
    let open = |name| RedisStore::open(redis_server::options(&server, name), CommitLog::hooks(&log)).unwrap();
    let store = open("a");
    log.wait_usable();
    // Its time is that of Redis.
    TIME.store(store.time().unwrap().millis(), Ordering::Relaxed);
    for (what, cseq) in [("first REGISTER", 1), ("REGISTER again", 2)] {
        let row = fast(users, phone, &store, &log, cseq);
        print_row(&format!("{what}, in Redis"), row);
    }
    for pace in [(5_000, 4), (10_000, 5)] {
        paced(users, phone, &store, &log, pace);
    }
    drop(store);
    let spent = cpu();
    let mut loaded = None;
    let load = wall_time(|| {
        log.is_usable.store(false, Ordering::Relaxed);
        loaded = Some(open("b"));
        log.wait_usable();
    });
    let spent = cpu() - spent;
    assert_eq!(loaded.map(|store| store.counts().users), Some(u64::from(users.count())));
    print_row("load at the start", format!("{load:.2?}, {spent:.2?} of CPU"));
    print_row("memory of Redis", server.used_memory());
}

/// All users register as fast as the store takes it.
fn fast(users: &Users, phone: &Phone, store: &dyn Store, log: &CommitLog, cseq: u32) -> String {
    let spent = cpu();
    let took = wall_time(|| {
        users.shuffled.iter().for_each(|aor| register(store, phone, aor, cseq, log.ticket()));
        log.wait_for(users.count());
    });
    let (_, groups) = log.take();
    let cpu = (cpu() - spent) / users.count();
    format!(
        "{:.0} a second, {cpu:.2?} of CPU each, {} a group",
        rate(took, users),
        u64::from(users.count()) / groups.max(1)
    )
}

/// So many REGISTERs a second: how long each waits for its answer.
fn paced(users: &Users, phone: &Phone, store: &dyn Store, log: &CommitLog, (rate, cseq): (u32, u32)) {
    let (start, count) = (Instant::now(), users.count() / 20);
    let spent = cpu();
    for (number, aor) in (0..count).zip(&users.shuffled) {
        let due = start + Duration::from_secs(1) * number / rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        register(store, phone, aor, cseq, log.ticket());
    }
    log.wait_for(count);
    let cpu = (cpu() - spent) / count;
    let (mut waits, groups) = log.take();
    waits.sort();
    let at = |share: usize| waits.get(waits.len() * share / 1000).copied().unwrap_or_default();
    print_row(
        &format!("REGISTER again, {rate} a second"),
        format!(
            "waits of {:.1?} p50, {:.1?} p99, {:.1?} at most, {cpu:.2?} of CPU each, {} a group",
            at(500),
            at(990),
            waits.last().copied().unwrap_or_default(),
            u64::from(count) / groups.max(1)
        ),
    );
}

/// Records the time of each commit from request to durable. A ticket contains the time of the request.
struct CommitLog {
    start: Instant,
    waits: Mutex<Vec<Duration>>,
    groups: AtomicU64,
    is_usable: AtomicBool,
}

impl CommitLog {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            waits: Mutex::new(Vec::new()),
            groups: AtomicU64::new(0),
            is_usable: AtomicBool::new(false),
        }
    }

    fn hooks(this: &Arc<Self>) -> Hooks {
        let (this, counter, usable) = (Arc::clone(this), Arc::clone(this), Arc::clone(this));
        let done = move |tickets: &[Ticket], outcome: Result<(), &StoreError>| {
            outcome.unwrap();
            let now = this.start.elapsed();
            this.waits.lock().extend(tickets.iter().map(|ticket| now - Duration::from_nanos(ticket.id)));
        };
        let committed = move |_| {
            counter.groups.fetch_add(1, Ordering::Relaxed);
        };
        let usable = Box::new(move |outcome: Result<(), &StoreError>| {
            usable.is_usable.store(outcome.is_ok(), Ordering::Relaxed);
        });
        Hooks { done: Box::new(done), committed: Box::new(committed), usable, ..Hooks::default() }
    }

    fn wait_for(&self, count: u32) {
        while self.waits.lock().len() < count as usize {
            thread::sleep(Duration::from_micros(100));
        }
    }

    #[cfg(feature = "redis")]
    fn wait_usable(&self) {
        while !self.is_usable.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_micros(100));
        }
    }

    fn take(&self) -> (Vec<Duration>, u64) {
        (std::mem::take(&mut *self.waits.lock()), self.groups.swap(0, Ordering::Relaxed))
    }

    fn ticket(&self) -> Ticket {
        Ticket { worker: 0, id: self.start.elapsed().as_nanos() as u64 }
    }
}

/// The users in the order of their numbers, and shuffled. Both lists are iterated sequentially, so the CPU can prefetch
/// them.
struct Users {
    aors: Vec<Aor>,
    shuffled: Vec<Aor>,
}

impl Users {
    /// Shuffles by a prime, which is larger than any number of users here.
    fn of(count: u64) -> Self {
        let aor = |number: u64| Aor::new(format!("user{number:07}").as_bytes(), b"office.example");
        let shuffled = (0..count).map(|at| aor(at * 7_368_787 % count)).collect();
        Self { aors: (0..count).map(aor).collect(), shuffled }
    }

    fn count(&self) -> u32 {
        self.aors.len() as u32
    }
}

fn register(store: &dyn Store, phone: &Phone, aor: &Aor, cseq: u32, ticket: Ticket) {
    let user = String::from_utf8_lossy(aor.user()).into_owned();
    let uri = phone.contact.replace("USER", &user);
    let flow = Flow {
        transport: parser::Transport::Udp,
        remote: "192.0.2.7:5060".parse().unwrap(),
        local: "192.0.2.1:5060".parse().unwrap(),
        id: location::FlowId::None,
    };
    let contact = ContactChange {
        uri: uri.as_bytes(),
        params: phone.params.as_bytes(),
        expires: Some(3600),
        q: None,
        // A subslice of the parameters, as in a parsed REGISTER.
        instance: phone.instance.and_then(|own| phone.params.matches(own).next()).map(str::as_bytes),
        reg_id: None,
        flow_id: None,
    };
    let change = Change {
        call_id: phone.call_id.as_bytes(),
        cseq,
        transaction: 7,
        flow,
        path: b"",
        user_agent: phone.user_agent.as_bytes(),
        operation: Operation::Update([contact].into_iter().collect()),
    };
    loop {
        let old = store.load(aor).unwrap_or_else(|| Record::empty(aor));
        let Ok(Applied::Changed { record, .. }) =
            old.apply(&change, Wall(TIME.load(Ordering::Relaxed)), &Limits::DEFAULT)
        else {
            panic!("{old:?}")
        };
        match store.commit(old.version(), record, ticket) {
            Commit::Done | Commit::Pending => return,
            Commit::Full => thread::sleep(Duration::from_micros(200)),
            other => panic!("{other:?}"),
        }
    }
}

/// What a phone sends in its REGISTER.
struct Phone {
    name: &'static str,
    contact: &'static str,
    params: &'static str,
    instance: Option<&'static str>,
    call_id: &'static str,
    user_agent: &'static str,
}

impl Phone {
    fn text(&self) -> usize {
        self.contact.len() + "000000".len() + self.params.len() + self.call_id.len() + self.user_agent.len()
    }
}

/// A phone that sends only what it must.
const SHORT: Phone = Phone {
    name: "short",
    contact: "sip:USER@192.0.2.7:5060",
    params: "",
    instance: None,
    call_id: "0123456789abcdef@192.0.2.7",
    user_agent: "",
};

/// A typical desk phone.
const USUAL: Phone = Phone {
    name: "usual",
    contact: "sip:USER@192.168.100.117:5060;transport=udp",
    params: ";+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\";expires=3600",
    instance: Some("<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"),
    call_id: "3c26700f1a8b-jz4ksr2ftb1n@192.168.100.117",
    user_agent: "Desk Phone T46 66.85.0.5 0015653f6a80",
};

fn wall_time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// CPU time of `work`, which other processes on the machine hardly affect.
fn cpu_time(work: impl FnOnce()) -> Duration {
    let before = cpu();
    work();
    cpu() - before
}

fn per_item(took: Duration, users: &Users) -> String {
    format!("{:.0?}", took / users.count())
}

fn rate(took: Duration, users: &Users) -> f64 {
    f64::from(users.count()) / took.as_secs_f64()
}

fn print_row(what: &str, value: String) {
    println!("{what:36}{value}");
}

/// Resident octets of this process.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap() * 4096
}

/// Processor time of this process.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let spent = tasks.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    Duration::from_nanos(spent.filter_map(|line| line.split(' ').next()?.parse::<u64>().ok()).sum())
}
