//! Connections to Redis: which server, TLS, timeouts, the pause between attempts, requests in groups.
//!
//! Sentinels are asked for the server by two commands of our own: the library's client for them has no timeout. Every wait
//! is limited. A connection whose answer did not come in time is dropped, since a late answer would be taken for the next.
//! Must not know keys or scripts.

use std::time::{Duration, Instant};

use redis::io::tcp::TcpSettings;
use redis::{Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates, Value};

use super::RedisOptions;
use crate::store::StoreError;

/// Where Redis is, or who knows it.
pub(super) struct Address {
    /// Host, user, password, database; with Sentinels the host is replaced by the one that they name.
    server: ConnectionInfo,
    sentinels: Vec<ConnectionInfo>,
    /// The name that Sentinels know the server by.
    name: String,
    authorities: Option<Vec<u8>>,
    timeout: Duration,
}

impl Address {
    pub(super) fn parse(options: &RedisOptions) -> Result<Self, StoreError> {
        let fail = |reason: &str| StoreError::Options { reason: reason.to_owned() };
        let valid = |url: &str| {
            // The library's error could repeat the password.
            url.into_connection_info()
                .map_err(|_| fail("the URL is not one of redis://, rediss:// or redis+sentinel://"))
        };
        let mut address = Self {
            server: valid("redis://127.0.0.1")?,
            sentinels: Vec::new(),
            name: String::new(),
            authorities: options.authorities.clone(),
            timeout: options.timeout.max(Duration::from_millis(1)),
        };
        let Some((scheme, rest)) = options.url.split_once("+sentinel://") else {
            address.server = valid(&options.url)?;
            address.secured(address.server.clone()).map_err(|_| fail("the authorities for TLS are not valid PEM"))?;
            return Ok(address);
        };
        let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(login, rest)| (login, rest));
        let login = if login.is_empty() { String::new() } else { format!("{login}@") };
        let mut parts = rest.split('/');
        let (hosts, name, database) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if hosts.is_empty() || name.is_empty() {
            return Err(fail("a Sentinel URL is redis+sentinel://host:port,host:port/name/database"));
        }
        address.server = valid(&format!("{scheme}://{login}localhost/{database}"))?;
        address.name = name.to_owned();
        for host in hosts.split(',') {
            let port =
                if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) { "" } else { ":26379" };
            let mut sentinel = valid(&format!("{scheme}://{host}{port}"))?;
            if let Some(password) = &options.sentinel_password {
                let login = sentinel.redis_settings().clone().set_password(password);
                sentinel = sentinel.set_redis_settings(login);
            }
            address.sentinels.push(sentinel);
        }
        address.secured(address.server.clone()).map_err(|_| fail("the authorities for TLS are not valid PEM"))?;
        Ok(address)
    }

    /// Connects, and proves to be the server that takes changes.
    pub(super) fn connect(&self) -> Result<Link, redis::RedisError> {
        let mut link = Link::open(self.secured(self.server_now()?)?, self.timeout)?;
        if !self.sentinels.is_empty() {
            // Right after a failover a Sentinel may still name the old server.
            let role = link.one(redis::cmd("ROLE"))?;
            let word = role.as_sequence().and_then(|parts| parts.first());
            if !matches!(word, Some(Value::BulkString(word)) if word == b"master") {
                return Err((redis::ErrorKind::Io, "the Sentinels name a server that is a replica").into());
            }
        }
        Ok(link)
    }

    fn server_now(&self) -> Result<ConnectionInfo, redis::RedisError> {
        if self.sentinels.is_empty() {
            return Ok(self.server.clone());
        }
        let mut last = (redis::ErrorKind::Io, "no Sentinel knows the server").into();
        for sentinel in &self.sentinels {
            match self.ask(sentinel) {
                Ok(server) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn ask(&self, sentinel: &ConnectionInfo) -> Result<ConnectionInfo, redis::RedisError> {
        let mut link = Link::open(self.secured(sentinel.clone())?, self.timeout)?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(&self.name);
        let (host, port): (String, u16) = redis::from_redis_value(link.one(question)?)?;
        let addr = match self.server.addr() {
            ConnectionAddr::TcpTls { insecure, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        Ok(self.server.clone().set_addr(addr))
    }

    fn secured(&self, info: ConnectionInfo) -> Result<Client, redis::RedisError> {
        // Requests are written whole: waiting for more only delays them.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        match (&self.authorities, info.addr()) {
            (Some(authorities), ConnectionAddr::TcpTls { .. }) => {
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(authorities.clone()) })
            }
            _ => Client::open(info),
        }
    }
}

/// A connection.
pub(super) struct Link {
    connection: Connection,
    timeout: Duration,
}

impl Link {
    fn open(client: Client, timeout: Duration) -> Result<Self, redis::RedisError> {
        let connection = client.get_connection_with_timeout(timeout)?;
        let link = Self { connection, timeout };
        link.limit(timeout)?;
        link.connection.set_write_timeout(Some(timeout))?;
        Ok(link)
    }

    /// The longest wait for the next answers: `timeout`, and this much that Redis may take by design.
    pub(super) fn allow(&self, more: Duration) -> Result<(), redis::RedisError> {
        self.limit(self.timeout + more)
    }

    fn limit(&self, wait: Duration) -> Result<(), redis::RedisError> {
        self.connection.set_read_timeout(Some(wait))
    }

    pub(super) fn one(&mut self, command: redis::Cmd) -> Result<Value, redis::RedisError> {
        self.connection.send_packed_command(&command.get_packed_command())?;
        self.connection.recv_response()?.extract_error()
    }

    /// Sends a request that was packed.
    pub(super) fn send(&mut self, packed: &[u8]) -> Result<(), redis::RedisError> {
        self.connection.send_packed_command(packed)
    }

    /// The next answer.
    pub(super) fn receive(&mut self) -> Result<Value, redis::RedisError> {
        self.connection.recv_response()?.extract_error()
    }

    /// Sends a request that was packed, for `count` answers, and passes each on. Errors that Redis answers with are values.
    ///
    /// # Errors
    /// The connection failed or the time is over: then it must not be used again.
    pub(super) fn exchange(
        &mut self,
        packed: &[u8],
        count: usize,
        mut each: impl FnMut(usize, Value),
    ) -> Result<(), redis::RedisError> {
        self.connection.send_packed_command(packed)?;
        // Each answer resets the timeout of the socket, so that a slow server could take `count` times as long.
        let (start, limit) = (Instant::now(), self.timeout * 4);
        for at in 0..count {
            each(at, self.connection.recv_response()?);
            if at + 1 < count && start.elapsed() > limit {
                return Err((redis::ErrorKind::Io, "the answers come too slowly").into());
            }
        }
        Ok(())
    }
}

/// The pauses between attempts: each twice as long as the one before, and each shortened at random by up to a half, so that
/// the servers do not all come back in the same moment.
pub(super) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(super) fn new(most: Duration) -> Self {
        Self { next: most / 100, most }
    }

    pub(super) fn reset(&mut self) {
        self.next = self.most / 100;
    }

    pub(super) fn pause(&mut self) -> Duration {
        let full = self.next.max(Duration::from_millis(1));
        self.next = (full * 2).min(self.most);
        let random = getrandom::u32().unwrap_or_default();
        full - full.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, StoreError> {
        Address::parse(&RedisOptions::new(url, "a", "192.0.2.11"))
    }

    #[test]
    fn a_url_names_the_server_or_those_who_know_it() {
        let plain = parse("redis://me:secret@192.0.2.1:6380/3").unwrap();
        assert_eq!(plain.server.addr().to_string(), "192.0.2.1:6380");
        let login = plain.server.redis_settings();
        assert_eq!((login.username(), login.password(), login.db()), (Some("me"), Some("secret"), 3));
        assert!(matches!(parse("rediss://redis.example").unwrap().server.addr(), ConnectionAddr::TcpTls { .. }));
        let asked = parse("rediss+sentinel://me:secret@s1,s2:26380/office/2").unwrap();
        let known: Vec<String> = asked.sentinels.iter().map(|sentinel| sentinel.addr().to_string()).collect();
        assert_eq!((&known[..], &*asked.name), (&["s1:26379".to_owned(), "s2:26380".to_owned()][..], "office"));
        assert_eq!(asked.server.redis_settings().db(), 2);
        assert!(asked.sentinels.iter().all(|sentinel| sentinel.redis_settings().password().is_none()));
    }

    #[test]
    fn an_error_does_not_repeat_the_password() {
        for bad in ["http://me:secret@h", "redis+sentinel://me:secret@s1", "redis+sentinel:///x", "redis://h:port"] {
            let Err(error) = parse(bad) else { panic!("{bad}") };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let options = RedisOptions::new("redis://me:secret@h", "a", "b");
        assert!(!format!("{options:?}").contains("secret"));
    }

    #[test]
    fn pauses_grow_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_secs(2));
        let pauses: Vec<_> = (0..12).map(|_| backoff.pause()).collect();
        assert!(pauses[0] <= Duration::from_millis(20) && pauses[0] >= Duration::from_millis(10));
        assert!(pauses[11] <= Duration::from_secs(2) && pauses[11] >= Duration::from_secs(1), "{pauses:?}");
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(20));
    }
}
