//! The command line: `frontdesk [run|check|backup FILE] [--config FILE]`, `--version`, `--help`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::Fatal;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
frontdesk: the SIP server of an office. Phones register with it, calls find them.

Usage: frontdesk [run] [--config FILE]     serve
       frontdesk check [--config FILE]     look at the configuration and say what is wrong
       frontdesk backup NEW [--config FILE]     copy the registrations to a new file, also of a server that runs
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
    /// Copy the location store.
    Backup {
        /// The configuration file that was named.
        config: Option<PathBuf>,
        /// The file to be made.
        to: PathBuf,
    },
    /// Print the version.
    Version,
    /// Print [`HELP`].
    Help,
}

/// Reads the command line, without the program's name.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, Fatal> {
    let (mut verb, mut backup, mut config) = (None, None, None);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(Command::Help),
            Some("--version" | "-V") => return Ok(Command::Version),
            Some(word @ ("run" | "check" | "backup")) if verb.is_none() => {
                verb = Some(word.to_owned());
                if word == "backup" {
                    let to = arguments.next().ok_or_else(|| Fatal::Usage("backup needs a file".to_owned()))?;
                    backup = Some(PathBuf::from(to));
                }
            }
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
    Ok(match (backup, verb.as_deref()) {
        (Some(to), _) => Command::Backup { config, to },
        (None, Some("check")) => Command::Check { config },
        _ => Command::Run { config },
    })
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
        let to = PathBuf::from("b");
        assert_eq!(read_words("backup b -c a.yaml"), Some(Command::Backup { config: file(), to }));
        for bad in ["serve", "backup", "backup a b", "run check", "--config", "--verbose"] {
            assert_eq!(read_words(bad), None, "{bad}");
        }
    }
}
