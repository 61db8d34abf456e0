//! The admin API: every route as docs/openapi.yaml describes it, access control, and the removal of a phone.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::harness::digest::Credentials;
use crate::harness::http::{self, Answer};
use crate::harness::openapi::Description;
use crate::harness::server::{CLOSED, OPEN, data};
use crate::harness::{Dialog, PATIENCE, Phone, Server, wait_for};

const HOSTILE: &str = "<script>alert(1)</script>\"'&";

/// A server with some state: bob has two phones, one call was answered and has ended, one rings.
fn setup(server: &Server) -> Vec<Phone> {
    let mut bob = Phone::udp("bob", server.address());
    let register = bob.register(Some(&format!("<{}>", bob.contact()))).with("Expires", 600).with("User-Agent", HOSTILE);
    bob.send(register);
    bob.response(200);
    let mut alice = Phone::tcp("alice", server.address()).registered();
    let (invite, at_bob) = alice.calls("sip:bob@office.example", &mut bob);
    bob.reply(&at_bob, 200);
    let ok = alice.response(200);
    alice.send(Dialog::caller(&invite, &ok).request("BYE"));
    let bye = bob.expect("BYE");
    bob.reply(&bye, 200);
    alice.response(200);
    let mut second = Phone::udp("bob", server.address()).registered_with_q("0.5");
    let invite = alice.invite("sip:bob@office.example");
    alice.send(invite);
    bob.expect("INVITE");
    second.expect("INVITE");
    let mut carol = Phone::udp("carol", server.address());
    let invite = carol.invite("sip:nobody@office.example");
    carol.send(invite);
    carol.response(480);
    vec![bob, alice, second, carol]
}

fn path_of(template: &str) -> String {
    let template = template.replace("{address}", "192.0.2.9");
    template.replace("{user}", "bob").replace("{contact}", "sip%3Anobody%40192.0.2.9")
}

#[test]
fn every_route_is_as_it_is_described() {
    let (server, description) = (Server::start(OPEN), Description::read());
    let _phones = setup(&server);
    let ended = || http::get(server.http(), "/api/v1/calls").json()["ended"].as_array().map(Vec::len) == Some(2);
    assert!(wait_for(PATIENCE, || ended().then_some(())).is_some(), "{}", server.log());
    let mut operations = description.operations();
    // Operations that remove something come last.
    operations.sort_by_key(|(method, _)| method == "DELETE");
    assert!(operations.len() >= 14);
    for (method, template) in &operations {
        let path = path_of(template);
        let path = if path.ends_with("explain") { format!("{path}?to=bob&from=alice") } else { path };
        let needs_header = path.contains("/trace") || path.ends_with("/messages") || path.ends_with("/pcap");
        // A live trace has no end: it is refused here without the header, and read by the tests of traces.
        let is_live = path.ends_with("/trace");
        let answer = match method.as_str() {
            "GET" if !needs_header || is_live => http::get(server.http(), &path),
            method => http::change(server.http(), method, &path),
        };
        description.check(method, template, &answer);
        let described = description.statuses(method, template);
        assert!(described.contains(&answer.status), "{method} {path}: {}", answer.status);
        // There is no such contact, ban or account, no password and no token.
        let absent = ["{contact}", "{address}", "forwarding", "account", "/me/rules", "/messages", "/pcap"];
        let absent = absent.iter().any(|end| template.ends_with(end));
        assert!(answer.status < 300 || absent || (is_live && answer.status == 403), "{method} {path}: {}", answer.body);
        // Another method gets a response that names the right one.
        let wrong = http::change(server.http(), "PATCH", &path);
        let allowed = wrong.header("Allow").split(", ").any(|allowed| allowed == method);
        assert!(wrong.status == 405 && allowed, "PATCH {path}: {}", wrong.head);
        if template.starts_with("/api/") {
            let page = format!("{method} {path} HTTP/1.1\r\nHost: evil.example\r\nX-Frontdesk: 1\r\n");
            description.check(method, template, &http::send(server.http(), &page));
        }
    }
    assert_eq!(http::get(server.http(), "/api/v1/nothing").status, 404);
    assert_eq!(http::get(server.http(), "/nothing").status, 404);
}

#[test]
fn parameters_are_as_they_are_described() {
    let (server, description) = (Server::start(OPEN), Description::read());
    let mut judged = 0;
    for (method, template) in description.operations() {
        // A good value begins a response that has no end.
        let queries = if template.ends_with("/trace") { Vec::new() } else { description.queries(&method, &template) };
        for (query, is_good) in queries {
            let answer = http::get(server.http(), &format!("{}?{query}", path_of(&template)));
            assert_eq!(answer.status, if is_good { 200 } else { 400 }, "{template}?{query}: {}", answer.body);
            description.check(&method, &template, &answer);
            judged += 1;
        }
    }
    assert!(judged >= 15, "{judged}");
}

#[test]
fn the_api_returns_the_state_of_the_server() {
    let server = Server::start(OPEN);
    let phones = setup(&server);
    let get = |path: &str| http::get(server.http(), path).json();
    let calls = wait_for(PATIENCE, || {
        let calls = get("/api/v1/calls");
        (calls["ended"].as_array().map(Vec::len) == Some(2) && calls["total"] == 1).then_some(calls)
    });
    let calls = calls.unwrap_or_else(|| panic!("{}", get("/api/v1/calls")));
    assert_eq!((&calls["now"][0]["to"], &calls["now"][0]["phones"]), (&"bob@office.example".into(), &2.into()));
    let [refused, answered] = [&calls["ended"][0], &calls["ended"][1]];
    assert_eq!((&refused["ending"], &refused["from"]), (&"unregistered".into(), &"carol@office.example".into()));
    assert_eq!((&answered["ending"], &answered["hung_up"]), (&"answered".into(), &"caller".into()));
    assert_eq!(answered["by"], HOSTILE);

    let users = get("/api/v1/users");
    assert_eq!((&users["total"], &users["users"][1]["user"]), (&2.into(), &"bob".into()));
    let bob = get("/api/v1/users/bob");
    assert_eq!(bob, users["users"][1]);
    let desk = &bob["phones"][0];
    assert_eq!((&desk["device"], &desk["transport"]), (&HOSTILE.into(), &"udp".into()));
    assert_eq!(desk["address"], phones[0].local().to_string());
    assert!(desk["expires_in"].as_u64().is_some_and(|left| (500..=600).contains(&left)), "{desk}");
    assert_eq!(get("/api/v1/users?search=LIC")["total"], 1);
    assert_eq!(get("/api/v1/users?limit=1")["users"].as_array().map(Vec::len), Some(1));
    assert_eq!(get("/api/v1/users/alice")["phones"][0]["reached_by"], "flow");

    let explained = get("/api/v1/explain?to=bob").to_string();
    assert!(explained.contains("2 phones") && explained.contains(&phones[2].contact()), "{explained}");
    let refused = get("/api/v1/explain?to=nobody");
    assert_eq!(refused["goes_out"], false, "{refused}");
    let failures = get("/api/v1/failures").to_string();
    assert!(failures.contains("480"), "{failures}");
    let facts = get("/api/v1/server");
    assert_eq!((&facts["phones"], &facts["users"]), (&3.into(), &2.into()), "{facts}");
    assert_eq!(get("/ready")["well"], true);
    server.counts("frontdesk_ready", &[], |ready| ready == 1.0);
    server.counts("frontdesk_calls_ended_total", &[("ending", "answered")], |count| count == 1.0);
}

/// A request with the token.
fn with_token(server: &Server, method: &str, path: &str, body: &str) -> Answer {
    let (host, length) = (server.http(), body.len());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nX-Frontdesk: test\r\nAuthorization: Bearer 0123456789abcdef\r\n\
         Content-Length: {length}\r\n"
    );
    http::send_with(host, &head, body)
}

#[test]
fn accounts_are_changed_with_the_token() {
    let description = Description::read();
    let folder = tempfile::TempDir::with_prefix("frontdesk-accounts-").expect("a folder");
    let file = folder.path().join("accounts.yaml");
    std::fs::write(&file, "- { user: bob, password: builder }\n").expect("a file");
    let config = format!(
        "domains: [office.example]\nlocation: {{ store: memory }}\naccounts_file: {}\nadmin: {{ token: 0123456789abcdef }}\n",
        file.display()
    );
    let server = Server::start(&config);
    let change = |method: &str, user: &str, body: &str, status: u16| {
        let answer = with_token(&server, method, &format!("/api/v1/users/{user}/account"), body);
        assert_eq!(answer.status, status, "{method} {user}: {}", answer.body);
        description.check(method, "/api/v1/users/{user}/account", &answer);
        answer.json()
    };
    let may_register = |user: &str, password: &str| {
        let mut phone = Phone::udp(user, server.address());
        let register = phone.register(Some(&format!("<{}>", phone.contact())));
        phone.authenticated(register, Credentials::new(user, password));
        phone.next_final().status() == Some(200)
    };
    // A new account can register at once; its password is told once, and only its hashes are stored.
    let password = change("POST", "105", "", 201)["password"].as_str().expect("a password").to_owned();
    assert!(may_register("105", &password) && !may_register("105", "wrong"));
    assert!(!std::fs::read_to_string(&file).expect("the file").contains(&password));
    assert!(change("POST", "alice", r#"{"password": "wonderland"}"#, 201)["password"].is_null());
    assert!(may_register("alice", "wonderland"));
    // Adding does not replace.
    change("POST", "alice", "", 409);
    assert!(may_register("alice", "wonderland"));
    // Another password.
    change("PUT", "bob", r#"{"password": "b"}"#, 200);
    assert!(may_register("bob", "b") && !may_register("bob", "builder"));
    change("PUT", "nobody", "", 404);
    // No account any more.
    change("DELETE", "bob", "", 200);
    assert!(!may_register("bob", "b"));
    change("DELETE", "bob", "", 404);
    for (user, body) in [("a%20b", ""), ("x@elsewhere.example", ""), ("106", r#"{"password": ""}"#), ("106", "[]")] {
        let status = with_token(&server, "POST", &format!("/api/v1/users/{user}/account"), body).status;
        assert!(status == 400 || status == 422, "{user} {body}: {status}");
    }
    // No account was added. The hashes in the file contain any three digits now and then.
    change("DELETE", "106", "", 404);
    // The name is neither shortened nor replaced.
    let long = "x".repeat(70);
    assert_eq!(change("POST", &long, "", 201)["user"], long.as_str());
    let before = std::fs::read_to_string(&file).expect("the file");
    assert!(before.contains(&format!("- user: {long}\n")), "{before}");
    change("POST", "%ff%fe", "", 400);
    change("POST", &"x".repeat(129), "", 422);
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), before);
    // The password is told although the reload is refused: nobody could learn it later.
    let configuration = server.path().join("frontdesk.yaml");
    let text = std::fs::read_to_string(&configuration).expect("the configuration");
    std::fs::write(&configuration, format!("{text}nonsense: 1\n")).expect("written");
    let problem = change("POST", "107", "", 422)["error"].as_str().expect("a text").to_owned();
    std::fs::write(&configuration, text).expect("written");
    assert_eq!(with_token(&server, "POST", "/api/v1/reload", "").status, 200);
    let password = problem.rsplit(' ').next().expect("a password");
    assert!(problem.contains("not in force") && may_register("107", password), "{problem}");
}

#[test]
fn accounts_are_not_changed_without_a_token() {
    let server = Server::start(CLOSED);
    for method in ["POST", "PUT", "DELETE"] {
        let answer = http::change(server.http(), method, "/api/v1/users/alice/account");
        assert!(answer.status == 403 && answer.body.contains("admin.token"), "{}: {}", answer.status, answer.body);
    }
}

#[test]
fn the_last_day_and_the_last_lines_can_be_read() {
    let server = Server::start(OPEN);
    let _phones = setup(&server);
    let activity = || http::get(server.http(), "/api/v1/activity").json();
    let sum =
        |key: &str| activity()[key].as_array().expect(key).iter().filter_map(serde_json::Value::as_u64).sum::<u64>();
    let counted = || (sum("calls") == 2 && sum("failed") == 1 && activity()["phones"][0] == 3).then_some(());
    assert!(wait_for(PATIENCE, counted).is_some(), "{}", activity());
    let log = http::get(server.http(), "/api/v1/log").json();
    let lines = log["lines"].to_string();
    assert!(lines.contains("listening on") && lines.contains("registered from"), "{lines}");
    let count = log["count"].as_u64().expect("a count");
    let more = http::get(server.http(), &format!("/api/v1/log?after={count}")).json();
    assert_eq!(more["lines"].as_array().map(Vec::len), more["count"].as_u64().map(|all| (all - count) as usize));
}

#[test]
fn a_removed_phone_is_not_called() {
    let config = format!("{OPEN}location: {{ store: disk, path: data/location }}\n");
    let server = Server::start(&config);
    let mut bob = Phone::udp("bob", server.address()).registered();
    let _second = Phone::udp("bob", server.address()).registered();
    let contact = bob.contact().replace(':', "%3A").replace('@', "%40").replace(';', "%3B");
    let path = format!("/api/v1/users/bob%40office.example/phones/{contact}");
    let removed = http::change(server.http(), "DELETE", &path);
    assert_eq!((removed.status, &removed.json()["removed"]), (200, &1.into()), "{}", removed.body);
    assert_eq!(http::change(server.http(), "DELETE", &path).status, 404);
    assert_eq!(bob.bindings().len(), 1);
    let (ip, folder) = (server.ip(), server.kill());
    assert!(data(folder.path()).exists());
    let server = Server::start_in(folder, ip, &config);
    assert_eq!(bob.bindings().len(), 1, "a removal that was acknowledged is lost");
    let removed = http::change(server.http(), "DELETE", "/api/v1/users/bob/phones");
    assert_eq!(removed.json()["removed"], 1, "{}", removed.body);
    assert_eq!(bob.bindings().len(), 0);
    // The phone can register again.
    let register = bob.register(Some(&format!("<{}>", bob.contact())));
    bob.send(register);
    assert_eq!(bob.response(200).list("Contact").len(), 1);
}

#[test]
fn requests_need_the_configured_token() {
    let server = Server::start(&format!("{OPEN}admin: {{ token: 0123456789abcdef }}\n"));
    let host = server.http();
    let ask = |more: &str| http::send(host, &format!("GET /api/v1/users HTTP/1.1\r\nHost: {host}\r\n{more}")).status;
    assert_eq!(ask("Authorization: Bearer 0123456789abcdef\r\n"), 200);
    assert_eq!(ask("Authorization: Bearer 0123456789abcdee\r\n"), 401);
    assert_eq!(ask(""), 401);
    assert_eq!(ask("Authorization: Bearer 0123456789abcdef\r\nOrigin: http://evil.example\r\n"), 403);
    let page = http::get(host, "/");
    let policy = page.header("Content-Security-Policy");
    assert!(page.status == 200 && policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for open in ["/metrics", "/health", "/ready"] {
        let head = http::send(host, &format!("HEAD {open} HTTP/1.1\r\nHost: anything\r\n"));
        assert!(head.status == 200 && head.body.is_empty(), "{open}");
        let answer = http::send(host, &format!("GET {open} HTTP/1.1\r\nHost: anything\r\n"));
        assert_eq!(answer.status, 200, "{open}");
        assert!(!answer.body.contains("office.example"), "{open} tells a name");
    }
    assert!(!server.log().contains("0123456789abcdef"));
}

#[test]
fn without_a_token_only_local_requests_are_answered() {
    crate::harness::namespace::inside(
        "admin::without_a_token_only_local_requests_are_answered",
        &["192.0.2.10/32"],
        || {
            let server = Server::start(&format!("{OPEN}metrics: {{ listen: \"0.0.0.0:9090\" }}\n"));
            let (inner, outer) = ("127.0.0.1:9090".parse().unwrap(), "192.0.2.10:9090".parse().unwrap());
            assert_eq!(http::get(inner, "/api/v1/users").status, 200, "{}", server.log());
            for path in ["/", "/api/v1/users"] {
                assert_eq!(http::get(outer, path).status, 403, "{path}");
            }
            assert_eq!(http::get(outer, "/metrics").status, 200);
        },
    );
}

/// Whether a connection gets a response.
fn is_served(stream: &TcpStream) -> bool {
    let mut stream = stream;
    let asked = stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}

#[test]
fn invalid_requests_are_refused() {
    let server = Server::start(&format!("{OPEN}limits: {{ admin_connections: 16 }}\n"));
    let host = server.http();
    // One peer may have half of the connections, and an idle connection is closed for a new one.
    let idle: Vec<_> = (0..12).filter_map(|_| TcpStream::connect(host).ok()).collect();
    let served = wait_for(PATIENCE, || TcpStream::connect(host).ok().filter(is_served));
    assert!(served.is_some(), "idle connections keep everybody out");
    server.counts("frontdesk_limits_reached_total", &[("limit", "admin_connections")], |count| count >= 1.0);
    drop(idle);
    for head in
        ["\r\n", "GET\r\n", "GET / HTTP/9\r\n", "\0\0\0\0", "POST /api/v1/reload HTTP/1.1\r\nContent-Length: 9\r\n"]
    {
        let mut stream = TcpStream::connect(host).expect("a connection");
        let _ = stream.write_all(head.as_bytes());
    }
    let long: Answer = http::send(host, &format!("GET /{} HTTP/1.1\r\nHost: {host}\r\n", "a".repeat(4000)));
    assert_eq!(long.status, 404);
    assert_eq!(http::get(host, "/api/v1/users/%00%ff%/phones").status, 405);
    assert_eq!(http::get(host, "/api/v1/users/%00%ff%").status, 404);
    Phone::udp("bob", server.address()).registered();
}

#[test]
fn a_reload_reports_its_result() {
    let server = Server::start(CLOSED);
    let reload = || http::change(server.http(), "POST", "/api/v1/reload");
    server.rewrite(&format!("{CLOSED}  - {{ user: dave, password: driver }}\nlimits: {{ pins: 7 }}\n"));
    let good = reload();
    assert_eq!((good.status, &good.json()["accounts"]), (200, &4.into()), "{}", good.body);
    assert_eq!(good.json()["needs_restart"][0], "limits");
    server.counts("frontdesk_config_reload_failed", &[], |failed| failed == 0.0);
    server.rewrite(&format!("{CLOSED}nonsense: true\n"));
    let bad = reload();
    assert_eq!((bad.status, &bad.json()["accounts"]), (422, &4.into()), "{}", bad.body);
    assert!(bad.body.contains("nonsense"), "{}", bad.body);
    server.counts("frontdesk_config_reload_failed", &[], |failed| failed == 1.0);
    server.rewrite(CLOSED);
    assert_eq!(reload().status, 200);
    server.counts("frontdesk_config_reload_failed", &[], |failed| failed == 0.0);
}

#[test]
fn the_phone_in_the_browser_is_served_if_the_configuration_allows_it() {
    let server = Server::start(OPEN);
    let host = server.http();
    let page = http::get(host, "/phone");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    let config = http::get(host, "/phone/config");
    assert_eq!((config.status, &config.json()["domain"]), (200, &"office.example".into()), "{}", config.body);
    assert_eq!(http::get(host, "/phone/main.js").header("content-type"), "text/javascript; charset=utf-8");
    for path in ["/phone/", "/phone/nothing.js", "/phone/mod.rs", "/phones"] {
        assert_eq!(http::get(host, path).status, 404, "{path}");
    }
    assert_eq!(http::change(host, "POST", "/phone").status, 405);
    // DNS rebinding: a page of another site must not find the phone under its own name.
    assert_eq!(http::send(host, "GET /phone HTTP/1.1\r\nHost: evil.example\r\n").status, 403);

    server.rewrite(&format!("{OPEN}admin: {{ phone: false }}\n"));
    assert_eq!(http::change(host, "POST", "/api/v1/reload").status, 200);
    assert_eq!(http::get(host, "/phone").status, 404);
}

#[test]
fn groups_and_trunks_have_their_state() {
    let config = "\
domains: [office.example]
authentication: off
accounts:
  - { user: alice, name: Alice Moser, password: a, numbers: [\"+49 89 1\"] }
  - { user: bob, password: b, do_not_disturb: true }
  - { user: carol, password: c }
  - { user: door, contacts: [\"sip:door@192.0.2.50\"] }
groups:
  - { user: \"600\", name: Sales, numbers: [\"+49 89 2\"], members: [\"+49 89 1\", bob, carol, door, \"601\"], otherwise: carol }
  - { user: \"601\", members: [{ to: alice, follow: true }], strategy: wave, ring_time: 5s }
trunks:
  - { name: provider, server: \"sip:127.0.0.9:9;transport=tcp\", user: u, password: p, register: true, max_calls: 4 }
";
    let (server, description) = (Server::start(config), Description::read());
    let _alice = Phone::udp("alice", server.address()).registered();
    let failed = || http::get(server.http(), "/api/v1/trunks").json()[0]["last_failure"].is_string();
    assert!(wait_for(PATIENCE, || failed().then_some(())).is_some(), "{}", server.log());
    let get = |path: &str| {
        let answer = http::get(server.http(), path);
        description.check("GET", path, &answer);
        answer.json()
    };
    let groups = get("/api/v1/groups");
    let sales = &groups[0];
    assert_eq!((&sales["name"], &sales["numbers"][0]), (&"Sales".into(), &"+49892".into()), "{groups}");
    assert_eq!((&sales["ring_time"], &sales["otherwise"]), (&"20s".into(), &"carol".into()), "{groups}");
    let members = sales["members"].as_array().expect("members");
    let states: Vec<_> = members.iter().map(|member| member["state"].as_str().expect("a state")).collect();
    assert_eq!(states, ["free", "do_not_disturb", "unregistered", "free", "unknown"], "{groups}");
    assert_eq!(members[0]["name"], "Alice Moser");
    assert_eq!((&groups[1]["strategy"], &groups[1]["members"][0]["follow"]), (&"wave".into(), &true.into()));
    let trunk = &get("/api/v1/trunks")[0];
    assert_eq!((&trunk["registered"], &trunk["works"]), (&false.into(), &false.into()), "{trunk}");
    assert_eq!((&trunk["calls"], &trunk["max_calls"]), (&0.into(), &4.into()), "{trunk}");
    assert_eq!(get("/api/v1/users")["users"][0]["name"], "Alice Moser");
    let listed = crate::commands::good(&server, "groups");
    assert!(listed.contains("600 (Sales)  parallel, 20s, otherwise carol"), "{listed}");
    assert!(listed.contains("    bob  do not disturb"), "{listed}");
    let listed = crate::commands::good(&server, "trunks");
    assert!(listed.contains("provider  not registered") && listed.contains("0 of 4 calls"), "{listed}");
    crate::commands::good(&server, "forward alice carol");
    let shown = crate::commands::good(&server, "bindings show alice");
    assert!(shown.contains("always: to carol (set while the server runs)"), "{shown}");
}
