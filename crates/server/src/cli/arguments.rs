//! The command line.
//!
//! Decides the commands, their arguments and the options.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt as _};

use crate::config::{AlsoRingText, NodeArguments, Scalar};
use crate::error::CliError;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
frontdesk: a SIP registrar and proxy for an office.

Usage: frontdesk [run]                          run the server
       frontdesk check                          check the configuration and print what it means
       frontdesk account list                   list the accounts
       frontdesk account add USER               add an account; its password is generated and printed
       frontdesk account passwd USER            change the password
       frontdesk account remove USER            remove the account
       frontdesk bindings [list [TEXT]]         list the registered users and their phones
       frontdesk bindings show USER             show the phones of a user
       frontdesk bindings remove USER [CONTACT] remove a phone, or all of a user; a running phone registers again
       frontdesk groups                         list the groups, their members and who of them is free
       frontdesk trunks                         list the trunks and their state
       frontdesk bans [list]                    list the banned addresses
       frontdesk bans remove ADDRESS            lift a ban
       frontdesk forward USER [REASON] PARTY    forward the calls of a user: to a user, group, number, SIP URI or voicemail,
                                                or off, or default (as configured). REASON: always, busy, no_answer,
                                                unavailable; default always. Without PARTY: show it
       frontdesk forward USER also_ring PARTY [after TIME] [hours NAME] ... | off | default
                                                who rings beside the phones of a user
       frontdesk dnd USER on|off|default        do not disturb
       frontdesk explain TO [--from CALLER] [--source IP] [--at TIME]
                                                show how a call would be routed; nothing is sent. TIME,
                                                like 2026-12-24T10:00, is for office hours
       frontdesk trace [USER|all] [--pcap FILE] show the messages of a user, number or IP address as they come and go, until
                                                Ctrl-C; --pcap writes them to a file for Wireshark or sngrep as well
       frontdesk backup NEW                     copy the registrations to a new file, also while the server runs
       frontdesk reload                         reload the configuration, as SIGHUP does
       frontdesk nodes                          list the servers that share the registrations
       frontdesk keys rotate                    replace the keys that calls are signed with, at all servers
       frontdesk help [COMMAND] | --help        this text, or the lines about one command
       frontdesk --version

Options: --config FILE     default ./config/frontdesk.yaml if it exists, else the defaults apply
         --admin URL       the running server; default metrics.listen of the configuration
         --node NAME, --advertise ADDRESS   in place of cluster.node and cluster.advertise, so that servers share a file
         --password-stdin  with account add and passwd: the password is the first line of standard input

SIGHUP reloads the configuration, SIGTERM stops the server. RUST_LOG sets the log level.
Exit code 1: an error of the machine or the running server; 2: of the command line or configuration.
";

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// What to do.
    pub(crate) command: Command,
    /// The configuration file of `--config`.
    pub(crate) config: Option<PathBuf>,
    /// The URL of `--admin`.
    pub(crate) admin: Option<String>,
    /// `--node` and `--advertise`.
    pub(crate) node: NodeArguments,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Serve.
    Run,
    /// Validate the configuration.
    Check,
    /// Print the version.
    Version,
    /// Print [`HELP`].
    Help,
    /// Print the usage of one command.
    Usage(String),
    /// Reload the configuration.
    Reload,
    /// Copy the location store to this new file.
    Backup(PathBuf),
    /// Show how a call would be routed.
    Explain(ExplainedCall),
    /// Show the messages.
    Trace(TraceCommand),
    /// Show or change the forwarding of a user.
    Forward(ForwardCommand),
    /// Show or remove bindings.
    Bindings(BindingsCommand),
    /// Show the groups.
    Groups,
    /// Show the trunks.
    Trunks,
    /// Show the servers that share the registrations.
    Nodes,
    /// Replace the keys.
    RotateKeys,
    /// Show or lift bans.
    Bans(BansCommand),
    /// Show or change accounts.
    Account {
        /// What to do.
        command: AccountCommand,
        /// Whether the password comes from standard input.
        password_stdin: bool,
    },
}

/// `frontdesk bindings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BindingsCommand {
    /// Those whose address contains this text.
    List(Option<String>),
    /// Of one user.
    Show(String),
    /// Remove one or all of a user.
    Remove(String, Option<String>),
}

/// The call of `frontdesk explain`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExplainedCall {
    /// The callee.
    pub(crate) to: String,
    /// The caller.
    pub(crate) from: Option<String>,
    /// The caller's IP address.
    pub(crate) source: Option<String>,
    /// The time for office hours.
    pub(crate) at: Option<String>,
}

/// `frontdesk trace`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TraceCommand {
    /// The user, number or address, or `all`.
    pub(crate) whose: String,
    /// The file for the messages.
    pub(crate) pcap: Option<PathBuf>,
}

/// `frontdesk forward` and `frontdesk dnd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForwardCommand {
    /// The user.
    pub(crate) user: String,
    /// What to change: a key of the API and its value, `None` to clear it; nothing to show it.
    pub(crate) change: Option<(&'static str, Option<RuleValue>)>,
}

/// A value of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RuleValue {
    /// A party, or `off`.
    Party(String),
    /// Of `do_not_disturb`.
    Flag(bool),
    /// Of `also_ring`.
    AlsoRing(Vec<AlsoRingText>),
}

/// `frontdesk bans`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BansCommand {
    /// All of them.
    List,
    /// Lift the ban of this address.
    Remove(String),
}

/// `frontdesk account`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AccountCommand {
    /// Show all.
    List,
    /// Add an account.
    Add(String),
    /// Change the password.
    Passwd(String),
    /// Remove the account.
    Remove(String),
}

/// Parses the command line, without the name of the program.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, CliError> {
    let mut parser = Parser::from_args(arguments);
    let (mut config, mut admin, mut options) = (None, None, ExplainedCall::default());
    let mut pcap = None;
    let (mut password_stdin, mut words, mut node) = (false, Vec::new(), NodeArguments::default());
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Short('h') | Long("help") => return Ok(without_options(Command::Help)),
            Short('V') | Long("version") => return Ok(without_options(Command::Version)),
            Short('c') | Long("config") => config = Some(PathBuf::from(parser.value().map_err(usage)?)),
            Long("admin") => admin = Some(text(&mut parser)?),
            Long("from") => options.from = Some(text(&mut parser)?),
            Long("source") => options.source = Some(text(&mut parser)?),
            Long("at") => options.at = Some(text(&mut parser)?),
            Long("pcap") => pcap = Some(PathBuf::from(parser.value().map_err(usage)?)),
            Long("node") => node.node = Some(value(&mut parser, "node")?),
            Long("advertise") => node.advertise = Some(value(&mut parser, "advertise")?),
            Long("password-stdin") => password_stdin = true,
            Value(word) => words.push(word.string().map_err(usage)?),
            unknown => return Err(usage(unknown.unexpected())),
        }
    }
    let mut command = command(&words).ok_or_else(|| CliError::Usage(misuse(&words)))?;
    match &mut command {
        Command::Explain(call) => {
            let to = std::mem::take(&mut call.to);
            *call = ExplainedCall { to, ..std::mem::take(&mut options) };
        }
        Command::Trace(trace) => trace.pcap = pcap.take(),
        Command::Account { command: AccountCommand::Add(_) | AccountCommand::Passwd(_), password_stdin: wanted } => {
            *wanted = std::mem::take(&mut password_stdin);
        }
        _ => {}
    }
    if options != ExplainedCall::default() || password_stdin || pcap.is_some() {
        return Err(CliError::Usage(format!("an option that has no meaning for {}", words.join(" "))));
    }
    Ok(Arguments { command, config, admin, node })
}

/// The value of an option that has the syntax of a configuration key.
fn value<T: Scalar>(parser: &mut Parser, option: &str) -> Result<T, CliError> {
    let text = text(parser)?;
    T::read(&text).ok_or_else(|| CliError::Usage(format!("--{option} {text}: expected {}", T::EXPECTED)))
}

fn command(words: &[String]) -> Option<Command> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let account = |command| Some(Command::Account { command, password_stdin: false });
    let bindings = |bindings| Some(Command::Bindings(bindings));
    let forward = |user: &str, change| Some(Command::Forward(ForwardCommand { user: user.to_owned(), change }));
    match words.as_slice() {
        [] | ["run"] => Some(Command::Run),
        ["help"] => Some(Command::Help),
        ["help", name] => usage_of(name).map(Command::Usage),
        ["check"] => Some(Command::Check),
        ["reload"] => Some(Command::Reload),
        ["backup", to] => Some(Command::Backup(PathBuf::from(to))),
        ["explain", to] => Some(Command::Explain(ExplainedCall { to: (*to).to_owned(), ..ExplainedCall::default() })),
        ["trace"] => Some(Command::Trace(TraceCommand { whose: "all".to_owned(), pcap: None })),
        ["trace", whose] => Some(Command::Trace(TraceCommand { whose: (*whose).to_owned(), pcap: None })),
        ["forward", user] => forward(user, None),
        ["forward", user, "also_ring", parties @ ..] => forward(user, Some(("also_ring", also_ring(parties)?))),
        ["forward", user, party] => forward(user, Some(("always", rule_party(party)))),
        ["forward", user, reason, party] => {
            let reason = ["always", "busy", "no_answer", "unavailable"].into_iter().find(|known| known == reason)?;
            forward(user, Some((reason, rule_party(party))))
        }
        ["dnd", user] => forward(user, None),
        ["dnd", user, "on"] => forward(user, Some(("do_not_disturb", Some(RuleValue::Flag(true))))),
        ["dnd", user, "off"] => forward(user, Some(("do_not_disturb", Some(RuleValue::Flag(false))))),
        ["dnd", user, "default"] => forward(user, Some(("do_not_disturb", None))),
        ["bindings"] | ["bindings", "list"] => bindings(BindingsCommand::List(None)),
        ["bindings", "list", text] => bindings(BindingsCommand::List(Some((*text).to_owned()))),
        ["bindings", "show", user] => bindings(BindingsCommand::Show((*user).to_owned())),
        ["bindings", "remove", user] => bindings(BindingsCommand::Remove((*user).to_owned(), None)),
        ["bindings", "remove", user, contact] => {
            bindings(BindingsCommand::Remove((*user).to_owned(), Some((*contact).to_owned())))
        }
        ["groups"] => Some(Command::Groups),
        ["trunks"] => Some(Command::Trunks),
        ["nodes"] => Some(Command::Nodes),
        ["keys", "rotate"] => Some(Command::RotateKeys),
        ["bans"] | ["bans", "list"] => Some(Command::Bans(BansCommand::List)),
        ["bans", "remove", address] => Some(Command::Bans(BansCommand::Remove((*address).to_owned()))),
        ["account", "list"] => account(AccountCommand::List),
        ["account", "add", user] => account(AccountCommand::Add((*user).to_owned())),
        ["account", "passwd", user] => account(AccountCommand::Passwd((*user).to_owned())),
        ["account", "remove", user] => account(AccountCommand::Remove((*user).to_owned())),
        _ => None,
    }
}

/// The lines of [`HELP`] about one command; `None` if there is no such command.
fn usage_of(name: &str) -> Option<String> {
    let (mut usage, mut is_wanted) = (String::new(), false);
    for line in HELP.lines().take_while(|line| !line.starts_with("Options:")) {
        if let Some((_, rest)) =
            line.split_once("frontdesk ").filter(|(before, _)| matches!(before.trim(), "" | "Usage:"))
        {
            is_wanted = command_names(rest).any(|word| word == name);
        }
        if is_wanted && !line.is_empty() {
            let line = line.strip_prefix("Usage: ").or_else(|| line.strip_prefix("       ")).unwrap_or(line);
            let _ = writeln!(usage, "  {line}");
        }
    }
    (!usage.is_empty()).then_some(usage)
}

/// The name of the command in a line of [`HELP`] behind the name of the program.
fn command_names(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace().next().map(|word| word.trim_matches(['[', ']'])).into_iter()
}

/// Why these words are no command, and how the command is used.
fn misuse(words: &[String]) -> String {
    let name = words.first().map_or("", String::as_str);
    if let Some(usage) = usage_of(name) {
        return format!("`{}` is not a command. Usage of {name}:\n{}", words.join(" "), usage.trim_end());
    }
    let names = HELP.lines().filter_map(|line| line.split_once("frontdesk ")).flat_map(|(_, rest)| command_names(rest));
    let is_close = |known: &&str| strsim::damerau_levenshtein(known, name) <= 2;
    let suggestion = names.filter(is_close).min_by_key(|known| strsim::damerau_levenshtein(known, name));
    let suggestion = suggestion.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
    format!("unknown command: {}{suggestion}", words.join(" "))
}

/// `default` clears what was set.
fn rule_party(text: &str) -> Option<RuleValue> {
    (text != "default").then(|| RuleValue::Party(text.to_owned()))
}

/// The parties of `also_ring`; `off` is none, and `default` clears what was set.
fn also_ring(mut words: &[&str]) -> Option<Option<RuleValue>> {
    let mut parties = Vec::new();
    match words {
        ["default"] => return Some(None),
        ["off"] => words = &[],
        [] => return None,
        _ => {}
    }
    while let [to, rest @ ..] = words {
        let mut party = AlsoRingText { to: (*to).to_owned(), ..AlsoRingText::default() };
        words = rest;
        while let [key @ ("after" | "hours"), value, rest @ ..] = words {
            let field = if *key == "after" { &mut party.after } else { &mut party.hours };
            *field = Some((*value).to_owned());
            words = rest;
        }
        parties.push(party);
    }
    Some(Some(RuleValue::AlsoRing(parties)))
}

fn without_options(command: Command) -> Arguments {
    Arguments { command, config: None, admin: None, node: NodeArguments::default() }
}

fn text(parser: &mut Parser) -> Result<String, CliError> {
    parser.value().map_err(usage)?.string().map_err(usage)
}

fn usage(error: lexopt::Error) -> CliError {
    CliError::Usage(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_words(line: &str) -> Option<Arguments> {
        read(line.split_whitespace().map(OsString::from)).ok()
    }

    #[track_caller]
    fn is(line: &str, command: Command) {
        assert_eq!(read_words(line).map(|read| read.command), Some(command), "{line}");
    }

    #[test]
    fn commands_are_parsed() {
        is("", Command::Run);
        is("run", Command::Run);
        is("--config=a.yaml check", Command::Check);
        is("check --help", Command::Help);
        is("--version", Command::Version);
        is("run --node a --advertise 192.0.2.11:5060", Command::Run);
        is("help", Command::Help);
        for name in
            ["run", "check", "account", "bindings", "groups", "trunks", "bans", "forward", "dnd", "explain", "trace"]
        {
            let Some(Command::Usage(usage)) = read_words(&format!("help {name}")).map(|read| read.command) else {
                panic!("no usage of {name}")
            };
            assert!(usage.contains(name) && !usage.contains("SIGHUP"), "{usage}");
        }
        is("reload --admin http://127.0.0.1:9090", Command::Reload);
        let explain = |from: Option<&str>| {
            Command::Explain(ExplainedCall { to: "101".into(), from: from.map(Into::into), ..ExplainedCall::default() })
        };
        is("explain 101", explain(None));
        is("explain --from=sip:102@office.example 101", explain(Some("sip:102@office.example")));
        let trace = |whose: &str, pcap: Option<&str>| {
            Command::Trace(TraceCommand { whose: whose.into(), pcap: pcap.map(Into::into) })
        };
        is("trace", trace("all", None));
        is("trace 101 --pcap a.pcap", trace("101", Some("a.pcap")));
        is("backup b.db", Command::Backup("b.db".into()));
        is("bindings", Command::Bindings(BindingsCommand::List(None)));
        is(
            "bindings remove 101 sip:a@b",
            Command::Bindings(BindingsCommand::Remove("101".into(), Some("sip:a@b".into()))),
        );
        is("groups", Command::Groups);
        is("trunks", Command::Trunks);
        is("nodes", Command::Nodes);
        is("keys rotate", Command::RotateKeys);
        is("bans", Command::Bans(BansCommand::List));
        is("bans remove 198.51.100.7", Command::Bans(BansCommand::Remove("198.51.100.7".into())));
        is("account add 105", Command::Account { command: AccountCommand::Add("105".into()), password_stdin: false });
        is(
            "account passwd --password-stdin 105",
            Command::Account { command: AccountCommand::Passwd("105".into()), password_stdin: true },
        );
    }

    #[test]
    fn the_parties_of_also_ring_are_parsed() {
        let beside = |to: &str, after: Option<&str>, hours: Option<&str>| AlsoRingText {
            to: to.to_owned(),
            after: after.map(Into::into),
            hours: hours.map(Into::into),
        };
        for (line, parties) in [
            ("102", Some(vec![beside("102", None, None)])),
            (
                "+491701234567 after 10s hours office 102 hours night after",
                Some(vec![
                    beside("+491701234567", Some("10s"), Some("office")),
                    beside("102", None, Some("night")),
                    beside("after", None, None),
                ]),
            ),
            ("off", Some(Vec::new())),
            ("default", None),
        ] {
            let change = Some(("also_ring", parties.map(RuleValue::AlsoRing)));
            let line = format!("forward 101 also_ring {line}");
            is(&line, Command::Forward(ForwardCommand { user: "101".into(), change }));
        }
    }

    /// Issue 18: `help` and bare `account` are unknown.
    #[test]
    fn a_command_that_is_not_complete_gets_its_own_usage() {
        let message = |line: &str| {
            let outcome = read(line.split_whitespace().map(OsString::from));
            outcome.expect_err("no command").to_string()
        };
        for line in ["account", "account add", "account add 1 2", "account drop 1"] {
            let text = message(line);
            assert!(text.contains("account passwd USER") && !text.contains("unknown command"), "{text}");
            assert!(!text.contains("bindings"), "{text}");
        }
        for (line, usage) in [
            ("explain", "explain TO [--from CALLER]"),
            ("forward", "unavailable; default always"),
            ("forward 101 sometimes 102", "REASON: always, busy, no_answer"),
            ("dnd", "dnd USER on|off|default"),
            ("backup", "backup NEW"),
            ("bans remove", "bans remove ADDRESS"),
            ("bindings show", "bindings show USER"),
            ("help nonsense", "help [COMMAND]"),
        ] {
            let text = message(line);
            assert!(text.contains(usage), "{line}: {text}");
        }
        assert!(message("acount add 1").contains("did you mean `account`?"));
        assert!(message("serve").contains("unknown command: serve"));
    }

    #[test]
    fn options_are_parsed() {
        let file = Some(PathBuf::from("a.yaml"));
        for line in ["run --config a.yaml", "-c a.yaml", "--config=a.yaml check", "reload -ca.yaml"] {
            assert_eq!(read_words(line).map(|read| read.config), Some(file.clone()), "{line}");
        }
        for bad in [
            "serve",
            "run check",
            "--config",
            "--verbose",
            "explain",
            "account",
            "account add",
            "account add 1 2",
            "bindings show",
            "bans remove",
            "check --from x",
            "run --password-stdin",
            "account list --password-stdin",
            "reload now",
            "keys",
            "run --node a/b",
            "run --advertise 0.0.0.0:5060",
            "backup",
            "forward 101 also_ring",
        ] {
            assert_eq!(read_words(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_readme_has_every_command() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
        let readme = std::fs::read_to_string(path).expect("README.md");
        let lines = HELP.lines().filter_map(|line| line.strip_prefix("       frontdesk "));
        for command in lines.filter_map(|line| line.split(' ').next()).filter(|word| !word.starts_with('-')) {
            assert!(readme.contains(&format!("\n    frontdesk {command} ")), "{command}");
        }
    }
}
