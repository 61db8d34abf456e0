//! The DNS client: hickory-resolver with the servers of the configuration or of the system.
//!
//! Decides when the configuration of the system is read again: network managers rewrite it while the server runs.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ProtocolConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use parking_lot::Mutex;
use proxy::{Naptr, Query, Records, Srv};
use tokio::time::Instant;

/// How often each server is asked within the timeout.
const ATTEMPTS: u32 = 2;

/// The time between two looks at the files of the system.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// The files of the system that a client is made from.
const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

type Modified = [Option<SystemTime>; SYSTEM_FILES.len()];

/// A DNS client with a cache.
pub(super) struct Client {
    servers: Vec<SocketAddr>,
    timeout: Duration,
    cache: u64,
    current: Mutex<Current>,
}

struct Current {
    resolver: Option<Arc<TokioResolver>>,
    modified: Modified,
    checked: Instant,
}

impl Client {
    /// A client of these servers, or of those of the system if there are none. `timeout` limits one query, and `cache` the
    /// number of cached answers: one of 64 KiB takes half a megabyte.
    pub(super) fn new(servers: Vec<SocketAddr>, timeout: Duration, cache: u64) -> Self {
        let modified = modified();
        let resolver = build(&servers, timeout, cache);
        Self { servers, timeout, cache, current: Mutex::new(Current { resolver, modified, checked: Instant::now() }) }
    }

    /// The records; none if there are none, or DNS does not answer.
    pub(super) async fn look_up(&self, query: &Query) -> Records {
        let none = Records::Addresses(Vec::new());
        let Some(resolver) = self.resolver() else { return none };
        let answer = match query {
            Query::Naptr(owner) => {
                resolver.lookup(&*absolute(owner), RecordType::NAPTR).await.map(|found| Records::Naptr(naptrs(&found)))
            }
            Query::Srv(owner) => {
                resolver.lookup(&*absolute(owner), RecordType::SRV).await.map(|found| Records::Srv(srvs(&found)))
            }
            Query::Addresses(host) => {
                resolver.lookup_ip(&*absolute(host)).await.map(|found| Records::Addresses(found.iter().collect()))
            }
        };
        answer.unwrap_or_else(|error| {
            if !error.is_no_records_found() {
                tracing::debug!(%error, %query, "no answer from DNS");
            }
            none
        })
    }

    /// The resolver, made again if the configuration of the system has changed.
    fn resolver(&self) -> Option<Arc<TokioResolver>> {
        let mut current = self.current.lock();
        if self.servers.is_empty() && current.checked.elapsed() > CHECK_INTERVAL {
            current.checked = Instant::now();
            let modified = modified();
            if modified != current.modified || current.resolver.is_none() {
                current.modified = modified;
                current.resolver = build(&self.servers, self.timeout, self.cache);
            }
        }
        current.resolver.clone()
    }
}

fn modified() -> Modified {
    SYSTEM_FILES.map(|file| Path::new(file).metadata().and_then(|metadata| metadata.modified()).ok())
}

fn build(servers: &[SocketAddr], timeout: Duration, cache: u64) -> Option<Arc<TokioResolver>> {
    let (config, mut options) = if servers.is_empty() {
        hickory_resolver::system_conf::read_system_conf()
            .inspect_err(|error| tracing::warn!(%error, "/etc/resolv.conf cannot be used"))
            .unwrap_or_else(|_| (with_servers(&[([127, 0, 0, 1], 53).into()]), ResolverOpts::default()))
    } else {
        (with_servers(servers), ResolverOpts::default())
    };
    options.timeout = timeout / ATTEMPTS;
    options.attempts = ATTEMPTS as usize;
    options.cache_size = cache;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    let built = builder.build().inspect_err(|error| tracing::error!(%error, "names cannot be resolved"));
    built.ok().map(Arc::new)
}

fn with_servers(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |address: &SocketAddr| {
        let connection = |protocol| {
            let mut connection = ConnectionConfig::new(protocol);
            connection.port = address.port();
            connection
        };
        let connections = vec![connection(ProtocolConfig::Udp), connection(ProtocolConfig::Tcp)];
        NameServerConfig::new(address.ip(), true, connections)
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

/// A name with a dot is complete: the search list of the system is for names without one.
fn absolute(name: &str) -> String {
    if name.contains('.') && !name.ends_with('.') { format!("{name}.") } else { name.to_owned() }
}

fn naptrs(found: &Lookup) -> Vec<Naptr> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into();
    let naptr = |data: &RData| match data {
        RData::NAPTR(naptr) => Some(Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            service: text(&naptr.services),
            regexp: text(&naptr.regexp),
            replacement: presentation(&naptr.replacement),
        }),
        _ => None,
    };
    found.answers().iter().filter_map(|record| naptr(&record.data)).collect()
}

fn srvs(found: &Lookup) -> Vec<Srv> {
    let srv = |data: &RData| match data {
        RData::SRV(srv) => {
            Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: presentation(&srv.target) })
        }
        _ => None,
    };
    found.answers().iter().filter_map(|record| srv(&record.data)).collect()
}

/// Without the final dot.
fn presentation(name: &Name) -> Arc<str> {
    name.to_ascii().trim_end_matches('.').into()
}
