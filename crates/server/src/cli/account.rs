//! `frontdesk account`: changes the file that lists the accounts.
//!
//! Decides where passwords come from and what is printed. `data::accounts_file` reads and writes the file.

use std::io::{self, BufRead as _};

use super::arguments::AccountCommand;
use crate::config::Loaded;
use crate::data::accounts_file::{self, AccountChange};
use crate::data::first_start;
use crate::error::{AccountError, CliError};

/// Executes the command; returns the output. After an error nothing was changed.
pub(crate) fn edit(loaded: &Loaded, command: &AccountCommand, password_stdin: bool) -> Result<String, CliError> {
    let (name, change) = match command {
        AccountCommand::Add(name) => (name, AccountChange::Add),
        AccountCommand::Passwd(name) => (name, AccountChange::Password),
        AccountCommand::Remove(name) => (name, AccountChange::Remove),
        AccountCommand::List => {
            return Ok(accounts_file::names(loaded)?.into_iter().map(|name| name + "\n").collect());
        }
    };
    let mut message = format!("{name} has no account any more\n");
    accounts_file::change(loaded, name, change, || {
        let password = if password_stdin { read_password()? } else { first_start::password()? };
        message = match password_stdin {
            true => format!("the password of {name} is set\n"),
            false => {
                format!("user {name}   password {password}\nOnly its hashes are stored: note the password now.\n")
            }
        };
        Ok(password)
    })?;
    Ok(message)
}

/// The first line of standard input.
fn read_password() -> Result<String, AccountError> {
    let line = io::stdin().lock().lines().next().and_then(Result::ok);
    line.filter(|line| !line.is_empty() && !line.contains(char::is_control)).ok_or(AccountError::Password)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config;

    const TEXT: &str = "\
# The office.
- { user: 101, password: secret }   # reception
# Upstairs.

- user: bob
  password: builder
  contacts:
    - sip:bob@192.0.2.9
- user: carol
  domain: branch.example
  ha1: { md5: 0b4ee9fdc1e5a2c2b3d5a4f4e0b6a7c8 }
";

    fn office(text: &str) -> (tempfile::TempDir, Loaded) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("frontdesk.yaml");
        fs::write(folder.path().join("accounts.yaml"), text).expect("a file");
        fs::write(&file, "domains: [office.example, branch.example]\naccounts_file: accounts.yaml\n").expect("a file");
        let loaded = config::load(Some(&file), &config::NodeArguments::default()).expect("a configuration");
        (folder, loaded)
    }

    fn accounts(folder: &tempfile::TempDir) -> String {
        fs::read_to_string(folder.path().join("accounts.yaml")).expect("the file")
    }

    #[test]
    fn other_entries_are_unchanged() {
        let (folder, loaded) = office(TEXT);
        edit(&loaded, &AccountCommand::Remove("bob".into()), false).expect("done");
        let gone = "- user: bob\n  password: builder\n  contacts:\n    - sip:bob@192.0.2.9\n";
        assert_eq!(accounts(&folder), TEXT.replace(gone, ""));
        let message = edit(&loaded, &AccountCommand::Add("105".into()), false).expect("done");
        let password = message.split_whitespace().nth(3).expect("a password");
        let text = accounts(&folder);
        assert!(text.starts_with(&TEXT.replace(gone, "")) && text.contains("- user: '105'\n"), "{text}");
        assert!(!text.contains(password) && text.matches("sha-512-256").count() == 1, "{text}");
        let read =
            config::load(loaded.file.as_deref(), &config::NodeArguments::default()).expect("a configuration").accounts;
        assert_eq!(read.len(), 3);
        let secrets = config::hashed("105", "office.example", password);
        let aor = location::Aor::new(b"105", b"office.example");
        assert_eq!(read.find(&aor).map(|account| account.secrets.md5), Some(secrets.md5));
    }

    #[test]
    fn another_password_keeps_the_rest_of_the_entry() {
        let (folder, loaded) = office(TEXT);
        for name in ["bob", "carol@branch.example", "101"] {
            edit(&loaded, &AccountCommand::Passwd(name.into()), false).expect(name);
        }
        let text = accounts(&folder);
        assert!(text.contains("sip:bob@192.0.2.9") && text.contains("domain: branch.example"), "{text}");
        assert!(!text.contains("builder") && !text.contains("0b4ee9fd") && text.contains("# Upstairs."), "{text}");
    }

    /// YAML takes these values for numbers, but they are names.
    #[test]
    fn values_that_look_like_numbers_are_kept() {
        let text = "\
- { user: 0x10, password: a, numbers: [+4989123451, 1e3], name: 1.10 }
- user: 007   # the door
  password: a
  name: 1.10  # a version
  numbers: [+4989123452]
- { user: 1e4, contacts: [sip:gw@192.0.2.9], name: No }
";
        let (folder, loaded) = office(text);
        let without_hashes = |text: &str| -> String {
            let hashes = |line: &str| line.find("ha1: {").and_then(|at| Some(at..at + line.get(at..)?.find('}')? + 1));
            let line =
                |line: &str| hashes(line).map_or_else(|| line.to_owned(), |at| line.replace(&line[at], "password: a"));
            text.split_inclusive('\n').map(line).collect()
        };
        for name in ["0x10", "007"] {
            edit(&loaded, &AccountCommand::Passwd(name.into()), false).expect(name);
        }
        assert_eq!(without_hashes(&accounts(&folder)), text);
        for name in ["1e4", "0x10", "007"] {
            edit(&loaded, &AccountCommand::Passwd(name.into()), false).expect(name);
        }
        for name in ["0x11", "1e5", "~", "no", "+49"] {
            edit(&loaded, &AccountCommand::Add(name.into()), false).expect(name);
        }
        let names = accounts_file::names(
            &config::load(loaded.file.as_deref(), &config::NodeArguments::default()).expect("valid"),
        );
        let names = names.expect("the names").join(" ").replace("@office.example", "");
        assert_eq!(names, "+49 007 0x10 0x11 1e4 1e5 no ~");
    }

    #[test]
    fn a_layout_that_is_not_understood_is_not_changed() {
        for text in [
            "- { user: bob, # the\n    password: builder }\n",
            "- user: bob\n  ? password\n  : builder\n",
            "- user: bob\n  password: &p builder\n  name: *p\n",
        ] {
            let (folder, loaded) = office(text);
            let message = edit(&loaded, &AccountCommand::Passwd("bob".into()), false).expect_err("refused").to_string();
            assert!(message.contains("cannot be edited"), "{message}");
            assert_eq!(accounts(&folder), text);
        }
    }

    /// Issue 18: `account add` advises a key and then fails on the missing file.
    #[test]
    fn a_missing_file_is_created() {
        let (folder, _) = office("");
        fs::remove_file(folder.path().join("accounts.yaml")).expect("it is removed");
        let file = folder.path().join("frontdesk.yaml");
        assert!(
            config::load(Some(&file), &config::NodeArguments::default())
                .expect_err("no file")
                .to_string()
                .contains("account add USER")
        );
        let loaded =
            config::load_for_accounts(Some(&file), &config::NodeArguments::default()).expect("a configuration");
        edit(&loaded, &AccountCommand::Add("105".into()), false).expect("done");
        assert_eq!(
            config::load(Some(&file), &config::NodeArguments::default()).expect("a configuration").accounts.len(),
            1
        );
    }

    /// Issue 18: `account add` tells of a line that nobody wrote.
    #[test]
    fn a_refusal_names_no_line_that_is_not_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("frontdesk.yaml");
        let text = "accounts: [{ user: 101, password: x }]\naccounts_file: accounts.yaml\n\
                    groups: [{ user: 600, members: [101] }]\n";
        fs::write(&file, text).expect("a file");
        let loaded =
            config::load_for_accounts(Some(&file), &config::NodeArguments::default()).expect("a configuration");
        for command in [AccountCommand::Add, AccountCommand::Passwd, AccountCommand::Remove] {
            let message = edit(&loaded, &command("101".into()), false).expect_err("refused").to_string();
            assert!(message.contains("in the configuration itself") && message.contains("frontdesk.yaml"), "{message}");
        }
        let message = edit(&loaded, &AccountCommand::Add("600".into()), false).expect_err("refused").to_string();
        assert!(message.starts_with("nothing was changed") && !message.contains("accounts.yaml:"), "{message}");
        assert!(!folder.path().join("accounts.yaml").exists());
    }

    #[test]
    fn a_refused_edit_names_the_reason() {
        let message = |text: &str, command: AccountCommand| {
            let (folder, loaded) = office(text);
            let message = edit(&loaded, &command, false).expect_err("refused").to_string();
            assert_eq!(accounts(&folder), text, "nothing has changed");
            message
        };
        assert!(message(TEXT, AccountCommand::Add("101".into())).contains("already"));
        assert!(message(TEXT, AccountCommand::Remove("dave".into())).contains("no account dave"));
        assert!(message(TEXT, AccountCommand::Passwd("carol".into())).contains("no account carol"));
        assert!(message(TEXT, AccountCommand::Add("x@elsewhere.example".into())).contains("domains"));
        assert!(message(TEXT, AccountCommand::Add("a b".into())).contains("user name"));
        let flow = "[{ user: bob, password: builder }]\n";
        assert!(message(flow, AccountCommand::Remove("bob".into())).contains("begin with"));
        let inline: config::Config =
            serde_yaml::from_str("accounts: [{ user: a, password: b }]").expect("a configuration");
        let loaded = Loaded { config: inline, ..Loaded::default() };
        let message = edit(&loaded, &AccountCommand::Add("105".into()), false).expect_err("refused").to_string();
        assert!(message.contains("accounts_file"), "{message}");
    }
}
