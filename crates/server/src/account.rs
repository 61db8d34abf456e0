//! `frontdesk account`: who may register, changed in the file that lists them.
//!
//! Decides which file that is, and that it is never half written: a draft beside it, checked as the server would read it,
//! made safe on disk and renamed. Passwords are kept as hashes only. An entry that is not meant keeps every letter, and so
//! do the comments between entries; comments inside an entry go with it. One edit at a time: the folder is locked.

use std::fs::{self, File};
use std::io::{self, BufRead as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_yaml::{Mapping, Value};

use crate::arguments::Deed;
use crate::config::{self, Entry, Loaded, StoreKind};
use crate::error::Fatal;
use crate::{data, first_run, hex};

/// Why an account stays as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotEdited {
    /// There is no file of accounts.
    #[error(
        "the accounts stand in the configuration itself: edit them there, or give it `accounts_file: accounts.yaml` and \
         move them to that file"
    )]
    Inline,
    /// The server keeps its accounts in memory.
    #[error("with `location: {{ store: memory }}` accounts live as long as the server: set `accounts_file`")]
    Memory,
    /// The file is not a plain list of entries.
    #[error("{}: this file is written in a way that is left to you: expected lines that begin with \"- \"", .0.display())]
    Layout(PathBuf),
    /// Its folder is not there.
    #[error("{}: there is no such folder; a relative path is meant from the working directory of the server", .0.display())]
    NoFolder(PathBuf),
    /// The name is none, or there is no such domain.
    #[error("{0:?}: expected a user like 105, or 105@ and one of `domains`")]
    Name(String),
    /// There is one of this name.
    #[error("{0} has an account already: `frontdesk account passwd {0}` gives him another password")]
    Present(String),
    /// There is none of this name.
    #[error("{} has no account {name}", file.display())]
    Absent {
        /// Where it was looked for.
        file: PathBuf,
        /// Who.
        name: String,
    },
    /// Standard input holds no password.
    #[error("standard input: expected a password as the first line")]
    Password,
}

/// Does it; says what is to be told. Nothing was changed if that is an error.
pub(crate) fn edit(loaded: &Loaded, deed: &Deed, password_stdin: bool) -> Result<String, Fatal> {
    let (Deed::Add(name) | Deed::Passwd(name) | Deed::Remove(name)) = deed else { return list(loaded) };
    let file = home(loaded)?;
    let who = Who::read(name, loaded).ok_or_else(|| NotEdited::Name(name.clone()))?;
    // Two operators at once: the second waits, and then sees what the first one did.
    let _lock = lock(&file).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => NotEdited::NoFolder(file.clone()).into(),
        _ => Fatal::File { path: file.clone(), source },
    })?;
    let roster = Roster::open(&file, loaded)?;
    let (text, told) = match deed {
        Deed::Remove(_) => (roster.without(&who)?, format!("{name} has no account any more")),
        _ => {
            let (password, told) = password(name, password_stdin)?;
            let text = match deed {
                Deed::Add(_) => roster.with(&who, &password)?,
                _ => roster.with_password(&who, &password)?,
            };
            (text, told)
        }
    };
    // As the server will read it: what it would refuse is not written.
    config::accounts_of(loaded, &file, &text)?;
    data::replace(&file, &text).map_err(|source| Fatal::File { path: file.clone(), source })?;
    Ok(format!("{told}\n"))
}

/// Everybody who has an account, wherever that stands.
fn list(loaded: &Loaded) -> Result<String, Fatal> {
    let accounts = match home(loaded) {
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
fn home(loaded: &Loaded) -> Result<PathBuf, NotEdited> {
    if let Some(file) = loaded.accounts_file() {
        return Ok(file);
    }
    match (first_run::is_needed(&loaded.config), loaded.config.location.store) {
        (false, _) => Err(NotEdited::Inline),
        (true, StoreKind::Memory) => Err(NotEdited::Memory),
        (true, StoreKind::Disk) => Ok(loaded.config.data_folder().join(first_run::FILE)),
    }
}

fn lock(file: &Path) -> io::Result<File> {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."));
    let folder = File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

fn read(file: &Path) -> Result<String, Fatal> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        outcome => outcome.map_err(|source| Fatal::File { path: file.to_owned(), source }),
    }
}

/// The password, and what to tell of it.
fn password(name: &str, stdin: bool) -> Result<(String, String), Fatal> {
    if !stdin {
        let password = first_run::password()?;
        let told =
            format!("user {name}   password {password}\nOnly hashes of it are kept: this is the time to note it.");
        return Ok((password, told));
    }
    let line = io::stdin().lock().lines().next().and_then(Result::ok);
    let password =
        line.filter(|line| !line.is_empty() && !line.contains(char::is_control)).ok_or(NotEdited::Password)?;
    Ok((password, format!("the password of {name} is set")))
}

/// A user of one of the domains.
struct Who {
    user: String,
    domain: String,
    /// Whether an entry has to say the domain.
    is_elsewhere: bool,
}

impl Who {
    fn read(name: &str, loaded: &Loaded) -> Option<Self> {
        let first = loaded.config.first_domain();
        let (user, domain) = name.rsplit_once('@').unwrap_or((name, first));
        let known = loaded.config.domains.iter().any(|own| own.0.eq_ignore_ascii_case(domain));
        let domain = domain.to_ascii_lowercase();
        (known && !user.is_empty()).then(|| Self { user: user.to_owned(), is_elsewhere: domain != first, domain })
    }

    fn is(&self, entry: &Entry, loaded: &Loaded) -> bool {
        *entry.user.0 == *self.user && entry.domain(&loaded.config) == self.domain
    }

    /// H(user:realm:password) for every algorithm that may ever be offered.
    fn hashes(&self, password: &str) -> Value {
        let secrets = config::hashed(&self.user, &self.domain, password);
        let hash = |name: &str, octets: Option<&[u8]>| Some((Value::from(name), Value::from(hex::write(octets?))));
        let hashes = [
            hash("md5", secrets.md5.as_ref().map(<[u8; 16]>::as_slice)),
            hash("sha-256", secrets.sha256.as_ref().map(<[u8; 32]>::as_slice)),
            hash("sha-512-256", secrets.sha512t256.as_ref().map(<[u8; 32]>::as_slice)),
        ];
        Value::Mapping(hashes.into_iter().flatten().collect())
    }
}

/// A file of accounts, and where each entry stands in it.
struct Roster<'l> {
    loaded: &'l Loaded,
    file: PathBuf,
    text: String,
    entries: Vec<(Range<usize>, Entry)>,
}

impl<'l> Roster<'l> {
    fn open(file: &Path, loaded: &'l Loaded) -> Result<Self, Fatal> {
        let text = read(file)?;
        let entries: Option<Vec<_>> =
            blocks(&text).into_iter().map(|block| Some((block.clone(), entry(text.get(block)?)?))).collect();
        let whole: Option<Vec<Entry>> =
            if text.trim().is_empty() { Some(Vec::new()) } else { config::entries(file, &text).ok() };
        match (entries, whole) {
            // The pieces have to be the whole: else the file is not what it looks like.
            (Some(entries), Some(whole)) if entries.iter().map(|(_, entry)| entry).eq(&whole) => {
                Ok(Self { loaded, file: file.to_owned(), text, entries })
            }
            _ => Err(NotEdited::Layout(file.to_owned()).into()),
        }
    }

    fn find(&self, who: &Who) -> Result<Range<usize>, NotEdited> {
        let found = self.entries.iter().find(|(_, entry)| who.is(entry, self.loaded));
        let absent = || NotEdited::Absent { file: self.file.clone(), name: who.user.clone() };
        found.map(|(block, _)| block.clone()).ok_or_else(absent)
    }

    fn with(&self, who: &Who, password: &str) -> Result<String, NotEdited> {
        if self.find(who).is_ok() {
            return Err(NotEdited::Present(who.user.clone()));
        }
        let mut new = Mapping::new();
        new.insert("user".into(), who.user.as_str().into());
        if who.is_elsewhere {
            new.insert("domain".into(), who.domain.as_str().into());
        }
        new.insert("ha1".into(), who.hashes(password));
        let mut text = self.text.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&written(new)?);
        Ok(text)
    }

    fn with_password(&self, who: &Who, password: &str) -> Result<String, NotEdited> {
        let block = self.find(who)?;
        let layout = || NotEdited::Layout(self.file.clone());
        let old: Vec<Mapping> =
            serde_yaml::from_str(self.text.get(block.clone()).unwrap_or_default()).map_err(|_| layout())?;
        let mut new = old.into_iter().next().ok_or_else(layout)?;
        new.remove("password");
        new.insert("ha1".into(), who.hashes(password));
        Ok(self.replaced(block, &written(new)?))
    }

    fn without(&self, who: &Who) -> Result<String, NotEdited> {
        Ok(self.replaced(self.find(who)?, ""))
    }

    fn replaced(&self, block: Range<usize>, by: &str) -> String {
        let mut text = self.text.clone();
        text.replace_range(block, by);
        text
    }
}

fn entry(block: &str) -> Option<Entry> {
    let entries: Vec<Entry> = serde_yaml::from_str(block).ok()?;
    entries.into_iter().next()
}

fn written(entry: Mapping) -> Result<String, NotEdited> {
    serde_yaml::to_string(&[entry]).map_err(|_| NotEdited::Password)
}

/// Each entry from its "- " to the next line at the margin.
fn blocks(text: &str) -> Vec<Range<usize>> {
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
        let loaded = config::load(Some(&file)).expect("a configuration");
        (folder, loaded)
    }

    fn accounts(folder: &tempfile::TempDir) -> String {
        fs::read_to_string(folder.path().join("accounts.yaml")).expect("the file")
    }

    #[test]
    fn what_is_not_meant_stays_as_it_is() {
        let (folder, loaded) = office(TEXT);
        edit(&loaded, &Deed::Remove("bob".into()), false).expect("done");
        let gone = "- user: bob\n  password: builder\n  contacts:\n    - sip:bob@192.0.2.9\n";
        assert_eq!(accounts(&folder), TEXT.replace(gone, ""));
        let told = edit(&loaded, &Deed::Add("105".into()), false).expect("done");
        let password = told.split_whitespace().nth(3).expect("a password");
        let text = accounts(&folder);
        assert!(text.starts_with(&TEXT.replace(gone, "")) && text.contains("- user: '105'\n"), "{text}");
        assert!(!text.contains(password) && text.matches("sha-512-256").count() == 1, "{text}");
        let read = config::load(loaded.file.as_deref()).expect("a configuration").accounts;
        assert_eq!(read.len(), 3);
        let secrets = config::hashed("105", "office.example", password);
        let aor = location::Aor::new(b"105", b"office.example");
        assert_eq!(read.find(&aor).map(|account| account.secrets.md5), Some(secrets.md5));
    }

    #[test]
    fn another_password_keeps_the_rest_of_the_entry() {
        let (folder, loaded) = office(TEXT);
        for name in ["bob", "carol@branch.example", "101"] {
            edit(&loaded, &Deed::Passwd(name.into()), false).expect(name);
        }
        let text = accounts(&folder);
        assert!(text.contains("sip:bob@192.0.2.9") && text.contains("domain: branch.example"), "{text}");
        assert!(!text.contains("builder") && !text.contains("0b4ee9fd") && text.contains("# Upstairs."), "{text}");
    }

    #[test]
    fn what_cannot_be_is_said() {
        let told = |text: &str, deed: Deed| {
            let (folder, loaded) = office(text);
            let told = edit(&loaded, &deed, false).expect_err("refused").to_string();
            assert_eq!(accounts(&folder), text, "nothing has changed");
            told
        };
        assert!(told(TEXT, Deed::Add("101".into())).contains("already"));
        assert!(told(TEXT, Deed::Remove("dave".into())).contains("no account dave"));
        assert!(told(TEXT, Deed::Passwd("carol".into())).contains("no account carol"));
        assert!(told(TEXT, Deed::Add("x@elsewhere.example".into())).contains("domains"));
        assert!(told(TEXT, Deed::Add("a b".into())).contains("user name"));
        let flow = "[{ user: bob, password: builder }]\n";
        assert!(told(flow, Deed::Remove("bob".into())).contains("begin with"));
        let inline: config::Config =
            serde_yaml::from_str("accounts: [{ user: a, password: b }]").expect("a configuration");
        let loaded = Loaded { file: None, config: inline, accounts: proxy::Accounts::default() };
        let told = edit(&loaded, &Deed::Add("105".into()), false).expect_err("refused").to_string();
        assert!(told.contains("accounts_file"), "{told}");
    }
}
