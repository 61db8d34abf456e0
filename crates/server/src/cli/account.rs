//! `frontdesk account`: changes the file that lists the accounts.
//!
//! Decides which file that is, and writes it atomically: a temporary file, checked with the server's own reader,
//! synced and renamed. Passwords are stored as hashes only. Other entries are kept byte for byte, and so are comments
//! between entries; comments inside a changed entry are lost. The folder is locked, so that edits do not overlap.

use std::fs::{self, File};
use std::io::{self, BufRead as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use parser::hex_text;
use serde_yaml::{Mapping, Value};

use super::arguments::AccountCommand;
use crate::config::{self, AccountEntry, Loaded, StoreKind};
use crate::data::{files, first_start};
use crate::error::{AccountError, CliError};

/// Executes the command; returns the output. After an error nothing was changed.
pub(crate) fn edit(loaded: &Loaded, command: &AccountCommand, password_stdin: bool) -> Result<String, CliError> {
    let (AccountCommand::Add(name) | AccountCommand::Passwd(name) | AccountCommand::Remove(name)) = command else {
        return list(loaded);
    };
    let file = accounts_path(loaded)?;
    let user_id = UserId::read(name, loaded).ok_or_else(|| AccountError::Name(name.clone()))?;
    // A second command waits, and then reads the result of the first.
    let _lock = lock(&file).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => AccountError::NoFolder(file.clone()).into(),
        _ => CliError::File { path: file.clone(), source },
    })?;
    let accounts_file = AccountsFile::open(&file, loaded)?;
    if let Some(configuration) = loaded.file.as_ref().filter(|_| user_id.is_in_configuration(loaded)) {
        let (file, name) = (configuration.clone(), name.clone());
        return Err(AccountError::InConfiguration { file, name }.into());
    }
    let (text, message) = match command {
        AccountCommand::Remove(_) => (accounts_file.with_removed(&user_id)?, format!("{name} has no account any more")),
        _ => {
            let (password, message) = password(name, password_stdin)?;
            let text = match command {
                AccountCommand::Add(_) => accounts_file.with_added(&user_id, &password)?,
                _ => accounts_file.with_password(&user_id, &password)?,
            };
            (text, message)
        }
    };
    // Checked with the server's own reader: what it would refuse is not written.
    config::accounts_of(loaded, &file, &text).map_err(|error| AccountError::Refused(error.without_position()))?;
    files::replace(&file, &text).map_err(|source| CliError::File { path: file.clone(), source })?;
    Ok(format!("{message}\n"))
}

/// All accounts, of the configuration and the file.
fn list(loaded: &Loaded) -> Result<String, CliError> {
    let accounts = match accounts_path(loaded) {
        Ok(file) if loaded.config.accounts_file.is_none() && file.exists() => {
            config::accounts_of(loaded, &file, &read(&file)?)?
        }
        _ => loaded.accounts.clone(),
    };
    let mut names: Vec<_> = accounts.aors().map(ToString::to_string).collect();
    names.sort();
    Ok(names.iter().map(|name| format!("{name}\n")).collect())
}

/// The file that lists the accounts.
fn accounts_path(loaded: &Loaded) -> Result<PathBuf, AccountError> {
    if let Some(file) = loaded.accounts_file() {
        return Ok(file);
    }
    match (first_start::is_needed(&loaded.config), loaded.config.location.store) {
        (false, _) => Err(AccountError::Inline),
        (true, StoreKind::Memory | StoreKind::Redis) => Err(AccountError::Memory),
        (true, StoreKind::Disk) => Ok(loaded.config.data_folder().join(first_start::FILE)),
    }
}

fn lock(file: &Path) -> io::Result<File> {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."));
    let folder = File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

fn read(file: &Path) -> Result<String, CliError> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        outcome => outcome.map_err(|source| CliError::File { path: file.to_owned(), source }),
    }
}

/// The password, and the output about it.
fn password(name: &str, stdin: bool) -> Result<(String, String), CliError> {
    if !stdin {
        let password = first_start::password()?;
        let message = format!("user {name}   password {password}\nOnly its hashes are stored: note the password now.");
        return Ok((password, message));
    }
    let line = io::stdin().lock().lines().next().and_then(Result::ok);
    let password =
        line.filter(|line| !line.is_empty() && !line.contains(char::is_control)).ok_or(AccountError::Password)?;
    Ok((password, format!("the password of {name} is set")))
}

/// A user of one of the domains.
struct UserId {
    user: String,
    domain: String,
    /// Whether an entry needs the `domain` key.
    needs_domain: bool,
}

impl UserId {
    fn read(name: &str, loaded: &Loaded) -> Option<Self> {
        let first = loaded.config.first_domain();
        let (user, domain) = name.rsplit_once('@').unwrap_or((name, first));
        let known = loaded.config.domains.iter().any(|own| own.0.eq_ignore_ascii_case(domain));
        let domain = domain.to_ascii_lowercase();
        (known && !user.is_empty()).then(|| Self { user: user.to_owned(), needs_domain: domain != first, domain })
    }

    fn is(&self, entry: &AccountEntry, loaded: &Loaded) -> bool {
        *entry.user.0 == *self.user && entry.domain(&loaded.config) == self.domain
    }

    /// Whether `accounts` of the configuration lists the user.
    fn is_in_configuration(&self, loaded: &Loaded) -> bool {
        loaded.config.accounts.iter().any(|entry| self.is(entry, loaded))
    }

    /// H(user:realm:password) for every algorithm that could be offered.
    fn hashes(&self, password: &str) -> Value {
        let secrets = config::hashed(&self.user, &self.domain, password);
        let hash = |name: &str, octets: Option<&[u8]>| Some((Value::from(name), Value::from(hex_text(octets?))));
        let hashes = [
            hash("md5", secrets.md5.as_ref().map(<[u8; 16]>::as_slice)),
            hash("sha-256", secrets.sha256.as_ref().map(<[u8; 32]>::as_slice)),
            hash("sha-512-256", secrets.sha512t256.as_ref().map(<[u8; 32]>::as_slice)),
        ];
        Value::Mapping(hashes.into_iter().flatten().collect())
    }
}

/// A file of accounts, with the position of each entry.
struct AccountsFile<'l> {
    loaded: &'l Loaded,
    file: PathBuf,
    text: String,
    entries: Vec<(Range<usize>, AccountEntry)>,
}

impl<'l> AccountsFile<'l> {
    fn open(file: &Path, loaded: &'l Loaded) -> Result<Self, CliError> {
        let text = read(file)?;
        let entries: Option<Vec<_>> =
            entry_ranges(&text).into_iter().map(|block| Some((block.clone(), entry(text.get(block)?)?))).collect();
        let whole: Option<Vec<AccountEntry>> =
            if text.trim().is_empty() { Some(Vec::new()) } else { config::entries(file, &text).ok() };
        match (entries, whole) {
            // The entries must add up to the whole list, otherwise the layout was misread.
            (Some(entries), Some(whole)) if entries.iter().map(|(_, entry)| entry).eq(&whole) => {
                Ok(Self { loaded, file: file.to_owned(), text, entries })
            }
            _ => Err(AccountError::Layout(file.to_owned()).into()),
        }
    }

    fn find(&self, user_id: &UserId) -> Result<Range<usize>, AccountError> {
        let found = self.entries.iter().find(|(_, entry)| user_id.is(entry, self.loaded));
        let absent = || AccountError::Absent { file: self.file.clone(), name: user_id.user.clone() };
        found.map(|(block, _)| block.clone()).ok_or_else(absent)
    }

    fn with_added(&self, user_id: &UserId, password: &str) -> Result<String, AccountError> {
        if self.find(user_id).is_ok() {
            return Err(AccountError::Present(user_id.user.clone()));
        }
        let mut new = Mapping::new();
        new.insert("user".into(), user_id.user.as_str().into());
        if user_id.needs_domain {
            new.insert("domain".into(), user_id.domain.as_str().into());
        }
        new.insert("ha1".into(), user_id.hashes(password));
        let mut text = self.text.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&to_yaml(new)?);
        Ok(text)
    }

    fn with_password(&self, user_id: &UserId, password: &str) -> Result<String, AccountError> {
        let block = self.find(user_id)?;
        let layout = || AccountError::Layout(self.file.clone());
        let old: Vec<Mapping> =
            serde_yaml::from_str(self.text.get(block.clone()).unwrap_or_default()).map_err(|_| layout())?;
        let mut new = old.into_iter().next().ok_or_else(layout)?;
        new.remove("password");
        new.insert("ha1".into(), user_id.hashes(password));
        Ok(self.with_replaced(block, &to_yaml(new)?))
    }

    fn with_removed(&self, user_id: &UserId) -> Result<String, AccountError> {
        Ok(self.with_replaced(self.find(user_id)?, ""))
    }

    fn with_replaced(&self, block: Range<usize>, by: &str) -> String {
        let mut text = self.text.clone();
        text.replace_range(block, by);
        text
    }
}

fn entry(block: &str) -> Option<AccountEntry> {
    let entries: Vec<AccountEntry> = serde_yaml::from_str(block).ok()?;
    entries.into_iter().next()
}

fn to_yaml(entry: Mapping) -> Result<String, AccountError> {
    serde_yaml::to_string(&[entry]).map_err(|_| AccountError::Password)
}

/// The range of each entry, from its `- ` to the next unindented line.
fn entry_ranges(text: &str) -> Vec<Range<usize>> {
    let (mut blocks, mut open, mut at): (Vec<Range<usize>>, bool, usize) = (Vec::new(), false, 0);
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if line.starts_with("- ") {
            blocks.push(at..end);
            open = true;
        } else if open && line.starts_with([' ', '\t']) && !line.trim().is_empty() {
            if let Some(last) = blocks.last_mut() {
                last.end = end;
            }
        } else {
            open = false;
        }
        at = end;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

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
