//! The command line: `frontdesk [run|check] [--config FILE]`, `--version`, `--help`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::Fatal;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
frontdesk: the SIP server of an office. Phones register with it, calls find them.

Usage: frontdesk [run] [--config FILE]     serve
       frontdesk check [--config FILE]     look at the configuration and say what is wrong
       frontdesk --version | --help

Without --config it reads ./config/frontdesk.yaml if there is one, else it takes the defaults.
SIGHUP reads the configuration again, SIGTERM stops. RUST_LOG sets what is logged.
Exit code 1: the machine refuses (address in use, folder not writable, store damaged); 2: the configuration is wrong.
";

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Serve.
    Run {
        /// The configuration file that was named.
        config: Option<PathBuf>,
    },
    /// Validate the configuration.
    Check {
        /// The configuration file that was named.
        config: Option<PathBuf>,
    },
    /// Print the version.
    Version,
    /// Print [`HELP`].
    Help,
}

/// Reads the command line, without the program's name.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Fatal> {
    let (mut check, mut named, mut config) = (false, false, None);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(Command::Help),
            Some("--version" | "-V") => return Ok(Command::Version),
            Some(verb @ ("run" | "check")) if !named => (named, check) = (true, verb == "check"),
            Some("--config" | "-c") => {
                let file = arguments.next().ok_or_else(|| Fatal::Usage("--config needs a file".to_owned()))?;
                config = Some(PathBuf::from(file));
            }
            Some(joined) if joined.starts_with("--config=") => {
                config = joined.strip_prefix("--config=").map(PathBuf::from);
            }
            _ => return Err(Fatal::Usage(format!("unknown argument {}", argument.display()))),
        }
    }
    Ok(if check { Command::Check { config } } else { Command::Run { config } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_words(line: &str) -> Option<Command> {
        read(line.split_whitespace().map(OsString::from)).ok()
    }

    #[test]
    fn commands() {
        let file = || Some(PathBuf::from("a.yaml"));
        assert_eq!(read_words(""), Some(Command::Run { config: None }));
        assert_eq!(read_words("run --config a.yaml"), Some(Command::Run { config: file() }));
        assert_eq!(read_words("--config=a.yaml check"), Some(Command::Check { config: file() }));
        assert_eq!(read_words("-c a.yaml"), Some(Command::Run { config: file() }));
        assert_eq!(read_words("check --help"), Some(Command::Help));
        assert_eq!(read_words("--version"), Some(Command::Version));
        for bad in ["serve", "run check", "--config", "--verbose"] {
            assert_eq!(read_words(bad), None, "{bad}");
        }
    }
}
