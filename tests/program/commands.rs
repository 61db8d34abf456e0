//! The commands for a running server: accounts, bindings, explain, reload.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::digest::Credentials;
use crate::harness::server::{CLOSED, OPEN, PROGRAM};
use crate::harness::{Phone, Server};

/// Runs the program in the folder of a server with its configuration. Returns what it printed and its exit code.
#[track_caller]
pub(super) fn frontdesk(folder: &Path, line: &str) -> (String, i32) {
    frontdesk_with_input(folder, line, "")
}

#[track_caller]
fn frontdesk_with_input(folder: &Path, line: &str, input: &str) -> (String, i32) {
    use std::io::Write as _;
    let mut command = Command::new(PROGRAM);
    command.args(line.split_whitespace()).args(["--config", "frontdesk.yaml"]).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let output = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (output, status.code().unwrap_or(-1))
}

#[track_caller]
pub(super) fn good(server: &Server, line: &str) -> String {
    let (output, code) = frontdesk(server.path(), line);
    assert_eq!(code, 0, "{line} output {output}");
    output
}

#[test]
fn bindings_are_listed_shown_and_removed() {
    let server = Server::start(OPEN);
    let mut bob = Phone::udp("bob", server.address());
    let register = bob.register(Some(&format!("<{}>", bob.contact()))).with("Expires", 600);
    bob.send(register.with("User-Agent", "snomD785"));
    bob.response(200);
    let _second = Phone::tcp("bob", server.address()).registered();
    let _alice = Phone::udp("alice", server.address()).registered();
    let list = good(&server, "bindings");
    assert!(list.contains("bob@office.example  2 phones") && list.contains("snomD785"), "{list}");
    assert!(!good(&server, "bindings list alice").contains("bob"));
    assert!(good(&server, "bindings show bob").contains(&bob.contact()));
    assert_eq!(good(&server, &format!("bindings remove bob {}", bob.contact())), "1 phone removed\n");
    assert_eq!(bob.bindings().len(), 1);
    assert_eq!(good(&server, "bindings remove bob@office.example"), "1 phone removed\n");
    let (output, code) = frontdesk(server.path(), "bindings remove bob");
    assert!(code == 1 && output.contains("no such phone"), "{output}");
}

#[test]
fn explain_shows_the_targets_of_a_call() {
    let server = Server::start(CLOSED);
    let bob = Phone::udp("bob", server.address()).registered_as("builder");
    let output = good(&server, "explain sip:bob@office.example --from sip:alice@office.example");
    for word in ["bob@office.example", "password", "One phone", &bob.contact(), "without a transaction"] {
        assert!(output.contains(word), "no {word} in {output}");
    }
    assert!(good(&server, "explain carol").contains("480"));
    // Issue 18: explain of an unknown user says that it is one of ours, and takes an unknown `--from` for granted.
    let unknown = good(&server, "explain nobody");
    assert!(unknown.contains("404") && unknown.contains("not the name of a user"), "{unknown}");
    assert!(
        unknown.contains("There is no account with this name") && unknown.contains("decides: accounts."),
        "{unknown}"
    );
    let unknown = good(&server, "explain bob --from nobody");
    assert!(unknown.contains("No account has the name of the caller") && unknown.contains("407"), "{unknown}");
    assert!(good(&server, "explain sip:dave@far.example --from alice").contains("decides: foreign."));
    assert!(good(&server, "explain bob --from sip:eve@elsewhere.example").contains("403"));
    let (output, code) = frontdesk(server.path(), "explain bob --source nowhere");
    assert!(code == 1 && output.contains("IP address"), "{output}");
}

#[test]
fn a_new_account_is_valid_at_once() {
    let config = OPEN.replace("authentication: off", "authentication: required") + "accounts_file: accounts.yaml\n";
    let folder = tempfile::TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    std::fs::write(folder.path().join("accounts.yaml"), "# nobody yet\n").expect("a file");
    let server = Server::start_in(folder, crate::harness::server::fresh_ip(), &config);
    let output = good(&server, "account add 105");
    assert!(output.contains("the server has taken the configuration, 1 account\n"), "{output}");
    let password = output.split_whitespace().nth(3).expect("a password").to_owned();
    let mut phone = Phone::udp("105", server.address()).registered_as(&password);
    let file = || std::fs::read_to_string(server.path().join("accounts.yaml")).expect("the file");
    assert!(file().starts_with("# nobody yet\n") && !file().contains(&password), "{}", file());
    assert_eq!(good(&server, "account list"), "105@office.example\n");

    let (output, code) = frontdesk_with_input(server.path(), "account passwd 105 --password-stdin", "correct horse\n");
    assert!(code == 0 && !output.contains("horse"), "{output}");
    let query = phone.register(None);
    phone.authenticated(query, Credentials::new("105", "correct horse"));
    assert_eq!(phone.response(200).list("Contact").len(), 1, "its phone is still registered");

    for (line, input) in
        [("account add 105", ""), ("account remove 106", ""), ("account add 106 --password-stdin", "\n")]
    {
        let before = file();
        let (output, code) = frontdesk_with_input(server.path(), line, input);
        assert!(code == 1 && !output.is_empty(), "{line}: {output}");
        assert_eq!(file(), before, "{line}");
    }
    good(&server, "account remove 105");
    let query = phone.register(None);
    phone.authenticated(query, Credentials::new("105", "correct horse"));
    assert_eq!(phone.next_final().status(), Some(401));
    assert!(!server.log().contains("horse") && !server.log().contains(&password));
}

/// Issue 18: `help`, bare `account`, `check` and the accounts of the first start, `account add` and the missing file,
/// "data: permission denied".
#[test]
fn commands_say_what_they_did_and_how_they_are_used() {
    let folder = tempfile::TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let write = |text: &str| std::fs::write(folder.path().join("frontdesk.yaml"), text).expect("a file");
    write("metrics: { listen: \"127.0.0.1:1\" }\naccounts_file: accounts.yaml\n");
    let (output, code) = frontdesk(folder.path(), "help");
    assert!(code == 0 && output.contains("Usage: frontdesk [run]"), "{output}");
    for line in ["account", "account add", "explain"] {
        let (output, code) = frontdesk(folder.path(), line);
        let name = line.split(' ').next().expect("a word");
        assert!(code == 2 && output.contains(&format!("Usage of {name}:")), "{line}: {output}");
        assert!(!output.contains("unknown command"), "{output}");
    }
    let (output, code) = frontdesk(folder.path(), "check");
    assert!(code == 2 && output.contains("`frontdesk account add USER` creates it"), "{output}");
    let (output, code) = frontdesk(folder.path(), "account add 105");
    assert!(code == 0 && output.contains("user 105   password"), "{output}");
    let (output, code) = frontdesk(folder.path(), "check");
    assert!(code == 0 && output.contains("The one user with an account,"), "{output}");
    // Without a key, the account is in the data folder.
    write("metrics: { listen: \"127.0.0.1:1\" }\n");
    std::fs::create_dir(folder.path().join("data")).expect("a folder");
    let (output, code) = frontdesk(folder.path(), "account add 106");
    assert!(code == 0, "{output}");
    let (output, code) = frontdesk(folder.path(), "check");
    assert!(
        code == 0 && output.contains("accounts.yaml, with a password") && !output.contains("first start"),
        "{output}"
    );
    // The whole path of a folder that cannot be created.
    std::fs::write(folder.path().join("file"), "").expect("a file");
    write("metrics: { listen: off }\nlisten: [\"udp://127.0.0.1:0\"]\nlocation: { path: file/data/location }\n");
    let (output, code) = frontdesk(folder.path(), "run");
    let path = folder.path().canonicalize().expect("a path").join("file/data");
    assert!(code == 1 && output.contains(&format!("{}: ", path.display())), "{output}");
}

#[test]
fn without_a_server_the_account_commands_edit_the_file() {
    let folder = tempfile::TempDir::with_prefix("frontdesk-test-").expect("a temporary folder");
    let config = "metrics: { listen: \"127.0.0.1:1\" }\naccounts_file: accounts.yaml\n";
    std::fs::write(folder.path().join("frontdesk.yaml"), config).expect("a file");
    std::fs::write(folder.path().join("accounts.yaml"), "").expect("a file");
    let (output, code) = frontdesk(folder.path(), "account add 101");
    assert!(code == 0 && output.contains("no running server was notified"), "{output}");
    for line in ["bindings", "explain 101", "reload"] {
        let (output, code) = frontdesk(folder.path(), line);
        assert!(code == 1 && output.contains("no frontdesk answers at http://127.0.0.1:1/"), "{line}: {output}");
    }
    let (output, code) = frontdesk(folder.path(), "bindings --admin http://nowhere");
    assert!(code == 1 && output.contains("--admin"), "{output}");
}

#[test]
fn reload_reports_errors() {
    let server = Server::start(&format!("{CLOSED}admin: {{ token: 0123456789abcdef }}\n"));
    assert!(good(&server, "reload").contains("3 accounts"));
    server.rewrite(&format!("{CLOSED}admin: {{ token: 0123456789abcdef }}\nworkers: 7\n"));
    assert!(good(&server, "reload").contains("need a restart: workers"));
    // The command reads the same file and finds the error first.
    server.rewrite(&format!("{CLOSED}nonsense: true\n"));
    let (output, code) = frontdesk(server.path(), "reload");
    assert!(code == 2 && output.contains("nonsense"), "{output}");
    // The token in the file is not the one that the server uses.
    server.rewrite(&format!("{CLOSED}admin: {{ token: fedcba9876543210 }}\n"));
    let (output, code) = frontdesk(server.path(), "reload");
    assert!(code == 1 && output.contains("token"), "{output}");
}
