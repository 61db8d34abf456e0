//! The first start: creates accounts with random passwords, so that phones can register and strangers cannot.
//!
//! Decides names and passwords, and the instructions for the administrator. Creates accounts only if authentication
//! is required and no account is configured. They are stored in the data folder and read from there at later starts.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::{files, secret};
use crate::config::{self, Authentication, Config, Loaded, StoreKind};
use crate::error::CliError;

/// The accounts of the first start, in the data folder.
pub(crate) const FILE: &str = "accounts.yaml";

const EXTENSIONS: [&str; 3] = ["101", "102", "103"];

/// Letters and digits that are not confused on a small display. 32 of them: 5 bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// 60 bits.
const PASSWORD_LENGTH: usize = 12;

/// The accounts of the first start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InitialAccounts {
    /// The file; `None` with `store: memory`, where nothing is written.
    pub(crate) file: Option<PathBuf>,
    /// User and password of each, if they were created by this start.
    pub(crate) created: Vec<(String, String)>,
}

/// Whether the server has to create accounts.
pub(crate) fn is_needed(config: &Config) -> bool {
    config.authentication == Authentication::Required && config.accounts.is_empty() && config.accounts_file.is_none()
}

/// Adds the accounts of the first start to `loaded`. `folder`: the data folder; `None` if nothing may be written.
pub(crate) fn add_accounts(loaded: &mut Loaded, folder: Option<&Path>) -> Result<InitialAccounts, CliError> {
    let mut created = Vec::new();
    for user in EXTENSIONS {
        created.push((user.to_owned(), password()?));
    }
    let text = created.iter().fold(FILE_HEADER.to_owned(), |mut text, (user, password)| {
        let _ = writeln!(text, "- {{ user: \"{user}\", password: \"{password}\" }}");
        text
    });
    let Some(folder) = folder else {
        config::add_accounts_from_text(Path::new(FILE), &text, &loaded.config, &mut loaded.accounts)?;
        return Ok(InitialAccounts { file: None, created });
    };
    let file = folder.join(FILE);
    let (_, is_new) = files::read_or_create(&file, || Ok(text))?;
    config::add_accounts_from_file(&file, &loaded.config, &mut loaded.accounts)?;
    Ok(InitialAccounts { file: Some(file), created: if is_new { created } else { Vec::new() } })
}

/// Adds the accounts that the data folder has already, which the server will use. Returns their file; `None` if there is
/// none, or the configuration lists accounts.
pub(crate) fn add_stored(loaded: &mut Loaded) -> Result<Option<PathBuf>, CliError> {
    let file = loaded.config.data_folder().join(FILE);
    if !is_needed(&loaded.config) || loaded.config.location.store == StoreKind::Memory || !file.exists() {
        return Ok(None);
    }
    config::add_accounts_from_file(&file, &loaded.config, &mut loaded.accounts)?;
    Ok(Some(file))
}

const FILE_HEADER: &str = "\
# Created by frontdesk at its first start, because no accounts were configured. Change them with `frontdesk account`, or here
# and then `frontdesk reload`. Accounts listed in the configuration replace this file as a whole.
# The first passwords are stored as they are: a hash would be valid for the domain of that day only. `frontdesk account passwd`
# replaces one by a hash.
";

/// Instructions for setting up a phone. `page`: the URL of the phone in the browser, if it is served on this machine.
pub(crate) fn instructions(
    accounts: &InitialAccounts,
    server: Option<IpAddr>,
    port: u16,
    page: Option<&str>,
) -> String {
    let server = server.map_or_else(|| "this machine's address".to_owned(), |ip| ip.to_string());
    let port = if port == 5060 { String::new() } else { format!("  port {port}") };
    let mut text = format!(
        "\nThree phones can register now. Enter this into the account settings of each phone:\n\n  \
         server (domain, registrar)  {server}{port}\n"
    );
    for (user, password) in &accounts.created {
        let _ = writeln!(text, "  user {user}   password {password}");
    }
    if let Some(page) = page {
        let _ = writeln!(
            text,
            "\nTo make the first call without a phone, open {page} in two tabs of a browser on this machine,\n\
             sign in as two of these users, and call one from the other."
        );
    }
    let _ = match &accounts.file {
        Some(file) => {
            writeln!(
                text,
                "\nThe accounts and their passwords are stored in {}, which only the server's user may read.\n\
                 A phone calls another by its number.\n",
                file.display()
            )
        }
        None => {
            writeln!(text, "\nThe accounts are valid until the server stops. A phone calls another by its number.\n")
        }
    };
    text
}

/// A random password that is easy to type.
pub(crate) fn password() -> Result<String, CliError> {
    let octets = secret::random::<PASSWORD_LENGTH>()?;
    let character = |octet: &u8| ALPHABET.get(usize::from(octet % 32)).copied().map(char::from);
    Ok(octets.iter().filter_map(character).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded() -> Loaded {
        Loaded::default()
    }

    #[test]
    fn accounts_are_created_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut first, mut second) = (loaded(), loaded());
        assert!(is_needed(&first.config));
        let accounts = add_accounts(&mut first, Some(folder.path())).expect("accounts");
        assert_eq!((accounts.created.len(), first.accounts.len()), (3, 3));
        let again = add_accounts(&mut second, Some(folder.path())).expect("accounts");
        assert!(again.created.is_empty() && again.file == accounts.file);
        let aor = location::Aor::new(b"101", b"office.example");
        let secrets = |loaded: &Loaded| loaded.accounts.find(&aor).map(|account| account.secrets.clone());
        assert!(secrets(&first).is_some() && secrets(&first) == secrets(&second));
    }

    /// Issue 18: "Passwords are kept as hashes" is not true of the first start's. They are stored as they are, which the file
    /// says, and only its owner may read it; so they are valid after a change of `domains` too.
    #[test]
    fn the_first_passwords_are_readable_by_the_owner_only_and_valid_for_another_domain() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let created = add_accounts(&mut loaded(), Some(folder.path())).expect("accounts");
        let file = folder.path().join(FILE);
        let text = std::fs::read_to_string(&file).expect("the file");
        assert!(text.contains("stored as they are") && text.contains(&created.created[0].1), "{text}");
        assert_eq!(std::fs::metadata(&file).expect("the file").permissions().mode() & 0o777, 0o600);
        let mut renamed = loaded();
        renamed.config = serde_yaml::from_str("domains: [mine.example]").expect("a configuration");
        add_accounts(&mut renamed, Some(folder.path())).expect("accounts");
        let aor = location::Aor::new(b"101", b"mine.example");
        let secrets = config::hashed("101", "mine.example", &created.created[0].1);
        assert_eq!(renamed.accounts.find(&aor).map(|account| account.secrets.md5), Some(secrets.md5));
    }

    #[test]
    fn nothing_is_written_without_a_folder() {
        let mut loaded = loaded();
        let accounts = add_accounts(&mut loaded, None).expect("accounts");
        assert_eq!((accounts.file.is_none(), accounts.created.len(), loaded.accounts.len()), (true, 3, 3));
    }

    #[test]
    fn no_accounts_are_created_where_they_are_not_needed() {
        let mut open = loaded();
        open.config.authentication = Authentication::Off;
        assert!(!is_needed(&open.config));
        let listed: Config = serde_yaml::from_str("accounts: [{ user: 101, password: x }]").expect("a configuration");
        assert!(!is_needed(&listed));
    }

    #[test]
    fn passwords_can_be_typed() {
        let password = password().expect("random numbers");
        assert_eq!(password.len(), PASSWORD_LENGTH);
        assert!(!password.contains(['l', 'o', '0', '1', 'I', 'O']), "{password}");
    }

    #[test]
    fn the_instructions_contain_what_to_type() {
        let accounts =
            InitialAccounts { file: Some("data/accounts.yaml".into()), created: vec![("101".into(), "secret".into())] };
        let text = instructions(&accounts, Some([192, 0, 2, 7].into()), 5080, Some("http://localhost:9/phone"));
        for part in ["192.0.2.7", "5080", "101", "secret", "data/accounts.yaml", "http://localhost:9/phone"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
