//! `limits`: limits of memory and time.

use std::time::Duration;

use super::keys::section;
use super::scalar::{Count, Period, Size};

section! {
    /// `limits`: limits of memory and time. `frontdesk_limits_reached_total` counts each time that one takes effect.
    pub(crate) struct Limits {
        /// longest message, over any transport; at least 32KiB with several servers
        message_size: Size = Size(64 << 10),
        /// forked requests at a time, per worker. Each is kept for 32 s after its end. At the limit, those that ended
        /// longest ago are removed early. As many requests more may wait for DNS
        transactions: Count = Count(proxy::Limits::default().transactions),
        /// memory of these requests together, per worker
        transaction_memory: Size = Size(proxy::Limits::default().transaction_memory),
        /// phones that are tried for one call, including those that join later, from 1 to 255. If office rules lead the call to
        /// another party, for example from a group to the voicemail, it holds for each party, and 255 phones are tried for the
        /// whole call at most
        targets: Count = Count(proxy::Limits::default().targets),
        /// calls to a single phone that are being set up, per worker. Other requests that were just forwarded use up to
        /// half of this. At the limit, those that were answered longest ago are removed early
        pins: Count = Count(proxy::Limits::default().pins),
        /// challenges whose use is remembered, per worker, and as many that got wrong responses
        nonces: Count = Count(proxy::Limits::default().nonces),
        /// the latest REGISTERs that were challenged, per worker; needed to recognise a phone that cannot log in with
        /// SHA-256. A phone that is no longer remembered is offered all algorithms
        unanswered_challenges: Count = Count(proxy::Limits::default().unanswered_challenges),
        /// banned addresses at a time, and as many addresses whose failures are counted. Servers that share registrations
        /// share as many bans
        bans: Count = Count(10_000),
        /// subscriptions to calls and registrations, per worker; one more gets 503
        subscriptions: Count = Count(proxy::Limits::default().subscriptions),
        /// subscriptions to one user's calls and registrations, per worker: each change causes that many NOTIFYs
        subscriptions_per_user: Count = Count(proxy::Limits::default().subscriptions_per_user),
        /// phones that changed their address during a call, per worker
        moved_dialogs: Count = Count(proxy::Limits::default().moved_dialogs),
        /// addresses of host names that failed a short time ago (`dns.unreachable_for`), per worker
        unreachable: Count = Count(proxy::Limits::default().unreachable),
        /// phones that refused TCP for a large request (`large_requests.udp_for`), per worker
        udp_only: Count = Count(proxy::Limits::default().udp_only),
        /// registered users at a time if anybody may register (`authentication: off` without accounts); one more gets
        /// 503. Otherwise the number of accounts is the limit
        users: Count = Count(100_000),
        /// the longest UDP response, as a multiple of the length of its request; retransmissions count too. It applies
        /// to senders without valid credentials and outside `trusted`. A longer response is cut or not sent
        /// (`frontdesk_drops_total{reason="amplification"}`)
        amplification: Count = Count(proxy::Limits::default().amplification),
        /// UDP messages sent last, per worker: a request among them that did not arrive (ICMP) is answered. At least
        /// `512KiB`
        sent_memory: Size = Size(1 << 20),
        /// messages that wait for a worker
        worker_queue: Count = Count(4096),
        /// registrations that wait for the disk
        store_queue: Count = Count(65_536),
        /// TCP connections. At the start, the server raises its soft limit of open files to the hard limit. If that is
        /// too low, it accepts fewer connections, so that files remain for the status page, DNS and the store, and logs
        /// this (`LimitNOFILE` of the unit, `ulimit -Hn`)
        connections: Count = Count(10_000),
        /// TCP connections from one address; an IPv6 network of 64 bits counts as one address
        connections_per_source: Count = Count(1000),
        /// data that waits to be sent on one connection; if there is more, the connection is closed
        connection_queue: Size = Size(256 << 10),
        /// a connection without traffic is closed after this time
        connection_idle: Period = secs(7200),
        /// time for the first message on a new connection, and for each message to arrive completely
        message_time: Period = secs(15),
        /// time for a phone to accept a connection from the server
        connect_time: Period = secs(5),
        /// the same for a large request, which then goes over UDP (`large_requests`)
        brief_connect_time: Period = secs(1),
        /// TLS and WebSocket handshakes under way at a time; further connections are closed at once
        handshakes: Count = Count(512),
        /// TLS and WebSocket handshakes under way with one address that is not in `trusted`
        handshakes_per_source: Count = Count(64),
        /// time for the TLS and WebSocket handshakes of a client
        handshake_time: Period = secs(10),
        /// DNS lookups at a time, per worker
        lookups: Count = Count(256),
        /// DNS lookups at a time for the requests from one address that is not in `trusted`, per worker; an IPv6 network of 64
        /// bits counts as one address
        lookups_per_source: Count = Count(32),
        /// DNS answers that are kept as long as they are valid
        dns_cache: Count = Count(256),
        /// time to resolve a name, with all its DNS queries
        lookup_time: Period = secs(5),
        /// changes of forwarding and do-not-disturb that wait to be made; of each user who dials `codes` one at a time, per
        /// worker, and one at `/me`
        rule_changes: Count = Count(64),
        /// what servers that share registrations also share, each kind: the rules that users set, and the bans
        shared_value_size: Size = Size(1 << 20),
        /// changes of registrations that Redis keeps for servers that are cut off, approximately. A server that missed more
        /// compares all registrations with Redis
        shared_changes: Count = Count(100_000),
        /// servers that are gone and still known, for the calls that they have set up
        gone_nodes: Count = Count(64),
        /// events that wait to be logged, per worker; events beyond this are not logged
        journal_queue: Count = Count(8192),
        /// calls in progress that are known, for lamps, the status page and the records, and as many of other servers; a
        /// quarter of one caller (of one address if it is no user), when half of the room is taken; further calls are made,
        /// but have no record and no lamp
        journal_calls: Count = Count(10_000),
        /// log lines a minute about refusals of one kind (wrong passwords, foreign identities, strangers, relaying,
        /// other registrations, other calls, requests in calls of others, unreadable messages). The rest is summed up
        /// in one line a minute, which says how many there were, from how many addresses and for how many users; they
        /// count in `frontdesk_log_lines_dropped_total{reason="repeated"}`
        refusal_lines: Count = Count(100),
        /// log lines that wait to be written; lines beyond this are dropped and counted
        log_queue: Count = Count(8192),
        /// HTTP connections at a time, half of them from one address; one more closes the connection that has been idle
        /// longest
        admin_connections: Count = Count(32),
        /// messages a second that are traced, of all workers together; the others are missing in traces
        trace_rate: Count = Count(5000),
        /// memory for traces: half of it for the calls of `trace.calls`, the rest for messages on their way to
        /// `frontdesk trace`. If it is full, the calls that began first are dropped, and messages are missing in live traces
        trace_memory: Size = Size(16 << 20),
    }
}

const fn secs(secs: u64) -> Period {
    Period(Duration::from_secs(secs))
}
