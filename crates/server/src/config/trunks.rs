//! `trunks` and `outgoing`: the way to the telephone network, and what an account may dial there.
//!
//! Decides the syntax of servers, prefixes and digits, and checks that each trunk and class exists: a misspelt one would
//! only show up as a failed call.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use location::Aor;
use parser::{Host, Uri};
use proxy::{Accounts, Dialling, Login, Outgoing, Shows, Trunk, Trunks};

use super::Config;
use super::accounts::{AccountEntry, UserName};
use super::error::{Conflict, PathStep};
use super::keys::entry;
use super::office::CalledName;
use super::policy::Authentication;
use super::scalar::{Count, Flag, HostName, Network, PeriodOrOff, Scalar, Text, scalars};

/// How often a trunk is asked whether it responds, if the configuration does not say.
const PROBE: Duration = Duration::from_secs(30);

entry! {
    /// One trunk.
    pub(crate) struct TrunkEntry {
        /// a name of your choice, for `outgoing`, the log and the metrics
        name: UserName,
        /// where its calls are sent: a host name (resolved by RFC 3263), `host:port`, or a SIP URI such as
        /// `sip:sip.provider.example;transport=tcp`
        server: Option<TrunkServer>,
        /// the user name that the trunk knows this server by: the server answers the challenges of the trunk with it, and the
        /// phone that calls does not notice
        user: Option<UserName>,
        /// the password of `trunks.user`
        password: Option<Text>,
        /// `true`: the server registers at the trunk as `trunks.user`, and ends the registration when it stops
        register: Option<Flag>,
        /// how often the trunk is asked whether it responds (OPTIONS), or `off`. A trunk that does not respond, or where the
        /// server is not registered, is tried after the others
        probe: Option<PeriodOrOff>,
        /// networks that its calls come from; without any, the addresses of `server`. Such calls need no password, but they
        /// reach only the numbers of users and groups and those in `numbers`. A phone must not have such an address
        from: Vec<Network>,
        /// how the trunk is told the number of the caller: `asserted`: in P-Asserted-Identity; `from`: in From
        shows: Option<ShowsName>,
        /// the number that callers are shown by if their account has no `caller_id`
        caller_id: Option<CalledName>,
        /// how many calls the trunk carries at a time, in both directions together. A call counts until it fails or the trunk
        /// has ended it, at most 12 hours: if the trunk refuses to end a call, it still counts. Further calls take the next
        /// trunk; those from the trunk get 486
        max_calls: Option<Count>,
    }
}

entry! {
    /// Which numbers take which trunk.
    pub(crate) struct OutgoingEntry {
        /// what the dialled number begins with. Of several lines that fit, the one with the longest prefix counts, and of
        /// these the first
        prefix: Prefix,
        /// so many characters at the start of the dialled number are left out
        strip: Option<Strip>,
        /// what is put before the rest
        add: Option<Prefix>,
        /// how many digits the dialled number has, like `7` or `4-15`. With fewer the line is passed over; with more the
        /// number also takes no line with a shorter prefix, since networks ignore digits too many
        digits: Option<Digits>,
        /// the class of these calls, for `may_dial` of accounts
        class: Option<UserName>,
        /// the trunks: the first one, and the next one if a trunk does not work
        trunks: Vec<UserName>,
        /// `true`: every registered phone may call this number, without password and beyond `max_calls`; `urn:service:sos`
        /// leads to the first of these numbers. Without `digits` exactly `prefix` has to be dialled. No call is forwarded
        /// there
        emergency: Option<Flag>,
    }
}

/// The SIP URI of the server of a trunk, without user part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrunkServer(pub(crate) Box<str>);

/// How a trunk is told the number of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShowsName(pub(crate) Shows);

/// The start of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(pub(crate) Box<str>);

/// A number of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strip(pub(crate) usize);

/// A number of digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digits(pub(crate) RangeInclusive<usize>);

impl std::fmt::Display for Digits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (least, most) = (self.0.start(), self.0.end());
        if least == most { write!(f, "{least}") } else { write!(f, "{least}-{most}") }
    }
}

scalars!(TrunkServer, ShowsName, Prefix, Strip, Digits);

impl Scalar for TrunkServer {
    const EXPECTED: &'static str =
        "a host name like sip.provider.example, host:port, or a SIP URI like sip:192.0.2.80;transport=tcp";

    fn read(text: &str) -> Option<Self> {
        let uri = if text.starts_with("sip:") { text.to_owned() } else { format!("sip:{text}") };
        let Ok(Uri::Sip(parsed)) = Uri::parse(uri.as_bytes()) else { return None };
        let is_plain = parsed.user.is_none() && parsed.headers().is_empty() && !parsed.secure;
        (is_plain && uri.len() <= 256).then(|| Self(uri.into()))
    }
}

impl Scalar for ShowsName {
    const EXPECTED: &'static str = "asserted or from";

    fn read(text: &str) -> Option<Self> {
        match text {
            "asserted" => Some(Self(Shows::Asserted)),
            "from" => Some(Self(Shows::From)),
            _ => None,
        }
    }
}

impl Scalar for Prefix {
    const EXPECTED: &'static str = "the start of a number like \"0\", \"00\" or \"+49\"";

    fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let is_number = digits.bytes().all(|octet| octet.is_ascii_digit());
        (is_number && (1..=32).contains(&text.len())).then(|| Self(text.into()))
    }
}

impl Scalar for Strip {
    const EXPECTED: &'static str = "a number of characters, 0 to 32";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|count| *count <= 32).map(Self)
    }
}

impl Scalar for Digits {
    const EXPECTED: &'static str = "a number of digits like 7 or 4-15";

    fn read(text: &str) -> Option<Self> {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let (least, most) = (least.parse::<usize>().ok()?, most.parse::<usize>().ok()?);
        (1 <= least && least <= most && most <= 64).then_some(Self(least..=most))
    }
}

impl TrunkServer {
    /// Its address, if it names one.
    fn address(&self) -> Option<IpAddr> {
        let Ok(Uri::Sip(uri)) = Uri::parse(self.0.as_bytes()) else { return None };
        uri.host.ip()
    }

    fn is_at(&self, name: &HostName) -> bool {
        let Ok(Uri::Sip(uri)) = Uri::parse(self.0.as_bytes()) else { return false };
        let is_name = |host: &[u8]| host.strip_suffix(b".").unwrap_or(host).eq_ignore_ascii_case(name.0.as_bytes());
        matches!(uri.host, Host::Name(host) if is_name(host))
    }
}

impl TrunkEntry {
    fn login(&self) -> Option<Login> {
        let (user, password) = (self.user.as_ref()?, self.password.as_ref()?);
        Some(Login { user: user.0.clone(), password: password.0.clone() })
    }

    fn registers(&self) -> bool {
        self.register == Some(Flag(true))
    }

    fn trunk(&self) -> Option<Trunk> {
        let server = self.server.as_ref()?;
        let from: Vec<_> = self.from.iter().map(|network| network.0).collect();
        Some(Trunk {
            name: self.name.0.clone(),
            server: server.0.clone(),
            networks: if from.is_empty() { server.address().map(IpNet::from).into_iter().collect() } else { from },
            server_addresses: server.address().into_iter().collect(),
            shows: self.shows.map_or(Shows::Asserted, |shows| shows.0),
            caller_id: self.caller_id.as_ref().map(|number| number.text().into()),
            max_calls: self.max_calls.map(|count| count.0),
            login: self.login(),
            registers: self.registers(),
            probe: self.probe.map_or(Some(PROBE), |period| period.0),
        })
    }
}

impl OutgoingEntry {
    pub(crate) fn is_emergency(&self) -> bool {
        self.emergency == Some(Flag(true))
    }

    fn line(&self, trunks: &[Arc<Trunk>]) -> Outgoing {
        let find = |name: &UserName| trunks.iter().find(|trunk| trunk.name == name.0).cloned();
        Outgoing {
            prefix: self.prefix.0.clone(),
            strip: self.strip.map_or(0, |strip| strip.0),
            add: self.add.as_ref().map(|add| add.0.clone()).unwrap_or_default(),
            digits: self.digits.as_ref().map(|digits| digits.0.clone()),
            class: self.class.as_ref().map(|class| class.0.clone()),
            trunks: self.trunks.iter().filter_map(find).collect(),
            is_emergency: self.is_emergency(),
        }
    }
}

impl AccountEntry {
    /// What it may dial; `None` if everything, as the trunks say.
    pub(super) fn dialling(&self) -> Option<Box<Dialling>> {
        let classes = self.may_dial.as_ref().map(|classes| classes.iter().map(|class| class.0.clone()).collect());
        let caller_id = self.caller_id.as_ref().map(|number| number.text().into());
        (classes.is_some() || caller_id.is_some()).then(|| Box::new(Dialling { classes, caller_id }))
    }
}

impl Config {
    /// The trunks, without the addresses of host names. They are valid after [`check`].
    pub(crate) fn trunks(&self) -> Trunks {
        let all: Vec<_> = self.trunks.iter().filter_map(TrunkEntry::trunk).map(Arc::new).collect();
        let outgoing = self.outgoing.iter().map(|entry| entry.line(&all)).collect();
        Trunks { all, outgoing, ..Trunks::default() }
    }
}

/// Checks the names that `trunks` and `outgoing` define and use.
pub(super) fn check(config: &Config, accounts: &Accounts) -> Result<(), Conflict> {
    check_trunks(config)?;
    for (at, entry) in config.outgoing.iter().enumerate() {
        let path = |key| vec![PathStep::Key("outgoing"), PathStep::Item(at), PathStep::Key(key)];
        let prefix = &*entry.prefix.0;
        if entry.trunks.is_empty() {
            let message = format!("{prefix:?} needs `trunks` with at least one trunk");
            return conflict(path("prefix"), message);
        }
        let unknown = |name: &UserName| !config.trunks.iter().any(|trunk| trunk.name == *name);
        if let Some(item) = entry.trunks.iter().position(unknown) {
            let path = path("trunks").into_iter().chain([PathStep::Item(item)]).collect();
            return conflict(path, "expected the name of one of `trunks`".to_owned());
        }
        if entry.strip.is_some_and(|strip| strip.0 > prefix.len()) {
            return conflict(path("strip"), "expected at most the length of `prefix`".to_owned());
        }
        let takes_all = |other: &OutgoingEntry| {
            other.prefix == entry.prefix && (other.digits.is_none() || other.digits == entry.digits)
        };
        if config.outgoing.iter().take(at).any(takes_all) {
            let message = format!("an earlier line takes all numbers of {prefix:?}");
            return conflict(path("prefix"), message);
        }
        if !entry.is_emergency() {
            continue;
        }
        if entry.class.is_some() {
            return conflict(path("class"), "an emergency number has no class: everybody may dial it".to_owned());
        }
        let aor = Aor::new(prefix.as_bytes(), config.first_domain().as_bytes());
        let name = CalledName::read(prefix);
        let is_group = config
            .groups
            .iter()
            .any(|group| [&group.user].into_iter().chain(&group.numbers).any(|own| Some(own) == name.as_ref()));
        let is_number = name.as_ref().is_some_and(|name| config.numbers.contains_key(name));
        if accounts.find(&aor).is_some() || accounts.has_number(&aor) || is_group || is_number {
            let message = format!("{prefix:?} is an emergency number, but also a user, a group or a number here");
            return conflict(path("prefix"), message);
        }
    }
    Ok(())
}

fn check_trunks(config: &Config) -> Result<(), Conflict> {
    for (at, entry) in config.trunks.iter().enumerate() {
        let path = |key| vec![PathStep::Key("trunks"), PathStep::Item(at), PathStep::Key(key)];
        if config.trunks.iter().take(at).any(|other| other.name == entry.name) {
            return conflict(path("name"), format!("{:?} is the name of an earlier trunk", entry.name.0));
        }
        let Some(server) = &entry.server else {
            return conflict(path("name"), format!("{:?} needs `server`", entry.name.0));
        };
        if entry.password.is_some() != entry.user.is_some() {
            let (has, needs) = if entry.user.is_some() { ("user", "password") } else { ("password", "user") };
            return conflict(path(has), format!("needs `{needs}` too"));
        }
        if entry.registers() && entry.user.is_none() {
            return conflict(path("register"), "needs `user` and `password`".to_owned());
        }
        let mut own = config.domains.iter().chain(&config.aliases).chain(&config.advertise);
        if own.any(|name| server.is_at(name)) {
            return conflict(path("server"), "expected an address that is not this server's".to_owned());
        }
    }
    let needs_password = config.outgoing.iter().position(|entry| !entry.is_emergency());
    match needs_password.filter(|_| config.authentication == Authentication::Off) {
        Some(at) => {
            let path = vec![PathStep::Key("outgoing"), PathStep::Item(at), PathStep::Key("prefix")];
            conflict(path, "needs `authentication: required`: otherwise anybody could call at your expense".to_owned())
        }
        None => Ok(()),
    }
}

/// Checks the classes in `entries`, which are at `path` of their file.
pub(super) fn check_classes(config: &Config, entries: &[AccountEntry], path: &[PathStep]) -> Result<(), Conflict> {
    for (at, entry) in entries.iter().enumerate() {
        let unknown = |class: &UserName| !config.outgoing.iter().any(|line| line.class.as_ref() == Some(class));
        if let Some(item) = entry.may_dial.iter().flatten().position(unknown) {
            let steps = [PathStep::Item(at), PathStep::Key("may_dial"), PathStep::Item(item)];
            let path = path.iter().cloned().chain(steps).collect();
            return conflict(path, "expected the `class` of a line of `outgoing`".to_owned());
        }
    }
    Ok(())
}

/// Whether a name is dialled outside of the office.
pub(super) fn is_outside(config: &Config, name: &CalledName) -> bool {
    let number = name.text();
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let fits = |line: &OutgoingEntry| {
        number.starts_with(&*line.prefix.0) && line.digits.as_ref().is_none_or(|range| range.0.contains(&digits))
    };
    let is_number = number.strip_prefix('+').unwrap_or(number).bytes().all(|octet| octet.is_ascii_digit());
    is_number && config.outgoing.iter().any(fits)
}

/// Whether a name is an emergency number.
pub(super) fn is_emergency(config: &Config, name: &CalledName) -> bool {
    let number = name.text();
    let fits = |line: &OutgoingEntry| match &line.digits {
        Some(range) => number.starts_with(&*line.prefix.0) && range.0.contains(&number.len()),
        None => *number == *line.prefix.0,
    };
    config.outgoing.iter().filter(|line| line.is_emergency()).any(fits)
}

fn conflict<T>(path: Vec<PathStep>, message: String) -> Result<T, Conflict> {
    Err(Conflict { path, message })
}
