//! A user that has seen a call of others makes a call between its own phones with the same Call-ID and tags. Its
//! requests in that dialog reach only its own phones, whatever it registers; at a phone of the other call they would
//! end that call.

use std::net::SocketAddr;

use proxy::Settings;

use sim::{Agent, Simulation, Sip};

use crate::accounts::{ALICE, BOB, MALLORY, add_accounts};

fn secured(settings: &mut Settings) {
    add_accounts(settings, &[ALICE, BOB, MALLORY]);
}

/// A call of alice and bob, and the phones of mallory, which tries to take it over.
struct Scene {
    _sim: Simulation,
    alice: Agent,
    bob: Agent,
    /// The address that mallory calls from.
    caller: Agent,
    /// The phone of mallory.
    phone: Agent,
    invite: Sip,
    ok: Sip,
}

impl Scene {
    fn new(on_tcp: bool) -> Self {
        Self::with(on_tcp, false)
    }

    /// `shares_address`: mallory is behind the NAT of alice.
    fn with(on_tcp: bool, shares_address: bool) -> Self {
        let sim = Simulation::with(secured);
        let agent = |name| if on_tcp { sim.tcp(name) } else { sim.udp(name) };
        let [alice, bob, caller, phone] = ["alice", "bob", "mallory/caller", "mallory/phone"].map(agent);
        let behind = |agent: Agent, port| {
            if shares_address { agent.at(SocketAddr::new(alice.address.ip(), port)) } else { agent }
        };
        let (caller, phone) = (behind(caller, 7777), behind(phone, 7778));
        alice.signs_in(ALICE);
        bob.signs_in(BOB);
        let invite = alice.authenticates(ALICE, &alice.request("INVITE", "sip:bob@office.example"));
        let at_bob = bob.expects("INVITE");
        bob.answers(&at_bob, 200);
        let ok = alice.expects("200");
        alice.acks(&invite, &ok);
        bob.expects("ACK");
        Self { _sim: sim, alice, bob, caller, phone, invite, ok }
    }

    /// mallory calls itself with bob's identifiers of the call, and answers with those of alice.
    fn calls_itself(&self) -> (Sip, Sip) {
        let invite = self.invites_itself();
        let at_phone = self.phone.expects("INVITE");
        self.picks_up(&invite, &self.phone.answer(&at_phone, 200))
    }

    fn invites_itself(&self) -> Sip {
        let Self { caller, invite, ok, .. } = self;
        let tag = ok.param("To", "tag").unwrap_or_default();
        let own = caller.request("INVITE", "sip:mallory@office.example");
        let own = own.set("From", format_args!("<sip:mallory@office.example>;tag={tag}"));
        caller.authenticates(MALLORY, &own.set("Call-ID", invite.value("Call-ID")))
    }

    fn picks_up(&self, invite: &Sip, answer: &Sip) -> (Sip, Sip) {
        let tag = self.invite.param("From", "tag").unwrap_or_default();
        self.phone.sends(&answer.clone().set("To", format_args!("<sip:mallory@office.example>;tag={tag}")));
        let ok = loop {
            let received = self.caller.next_message();
            if received.status() == Some(200) {
                break received;
            }
        };
        self.caller.acks(invite, &ok);
        while self.phone.next_message_if_any().is_some() {}
        (invite.clone(), ok)
    }

    fn registers(&self, contact: &str, path: &str) {
        let register = self.phone.register().set("Contact", format_args!("<{contact}>"));
        let register = if path.is_empty() {
            register
        } else {
            register.with("Supported", "path").with("Path", format_args!("<{path}>"))
        };
        let _ = self.phone.all_received();
        self.phone.authenticates(MALLORY, &register);
        self.phone.expects("200");
    }

    /// mallory sends a request in its call to this Request-URI, with its credentials where they are required.
    fn goes_on(&self, (invite, ok): &(Sip, Sip), uri: &str, more_route: &str) {
        for method in ["BYE", "INVITE", "UPDATE", "INFO", "ACK"] {
            let within = self.caller.within(invite, ok, method).to(uri).set("Via", self.caller.via());
            let within =
                if more_route.is_empty() { within } else { within.with("Route", format_args!("<{more_route};lr>")) };
            self.caller.sends(&within);
            while let Some(received) = self.caller.next_message_if_any() {
                if received.status() == Some(407) && received.value("CSeq").ends_with(method) {
                    let again = within.clone().set("Via", self.caller.via());
                    let credentials = MALLORY.answer(&received, "SHA-256", &again, 1);
                    self.caller.sends(&again.with("Proxy-Authorization", credentials));
                }
            }
        }
    }

    fn is_undisturbed(&self, how: &str) {
        for phone in [&self.alice, &self.bob] {
            let touched =
                phone.all_received().into_iter().find(|it| it.is_request() && it.param("To", "tag").is_some());
            assert_eq!(touched, None, "{how}");
        }
    }
}

#[test]
fn registering_another_phone_does_not_make_it_a_side_of_a_dialog() {
    for on_tcp in [false, true] {
        let at_alice = |scene: &Scene| scene.alice.contact();
        let aor = "sip:mallory@office.example";
        let scene = Scene::new(on_tcp);
        scene.phone.signs_in(MALLORY);
        let own = scene.calls_itself();
        for transport in ["", ";transport=tcp"] {
            let contact = format!("{}{transport}", at_alice(&scene));
            scene.registers(&contact, "");
            scene.goes_on(&own, &contact, "");
            scene.is_undisturbed("a Contact at the phone");
            scene.goes_on(&own, aor, "");
            scene.is_undisturbed("a Contact at the phone, by the name of the user");
            scene.goes_on(&own, &contact, &contact);
            scene.is_undisturbed("a Contact at the phone, and a Route there");
        }
        scene.registers("sip:alice@office.example", "");
        scene.goes_on(&own, aor, "");
        scene.is_undisturbed("a Contact that names the other user");
        scene.goes_on(&own, "sip:alice@office.example", "");
        scene.is_undisturbed("the name of the other user");
        let path = format!("sip:{};lr", scene.alice.address);
        scene.registers(&scene.phone.contact(), &path);
        scene.goes_on(&own, aor, "");
        scene.goes_on(&own, &scene.phone.contact(), "");
        scene.is_undisturbed("a Path to the phone");
    }
}

#[test]
fn a_phone_can_respond_only_with_its_own_token() {
    // The call went to two phones, and mallory's phone answers with the Record-Route that the other one received.
    let scene = Scene::new(false);
    scene.phone.signs_in(MALLORY);
    scene.registers(&scene.alice.contact(), "");
    let invite = scene.invites_itself();
    let (at_phone, at_alice) = (scene.phone.expects("INVITE"), scene.alice.expects("INVITE"));
    let answer = scene.phone.answer(&at_phone, 200).set("Record-Route", at_alice.value("Record-Route"));
    let own = scene.picks_up(&invite, &answer);
    scene.goes_on(&own, &scene.alice.contact(), "");
    scene.is_undisturbed("the token of another branch");
}

#[test]
fn phones_at_the_same_public_address_are_distinguished() {
    for on_tcp in [false, true] {
        let scene = Scene::with(on_tcp, true);
        scene.phone.signs_in(MALLORY);
        let invite = scene.invites_itself();
        let at_phone = scene.phone.expects("INVITE");
        let answer = scene.phone.answer(&at_phone, 200).set("Contact", format_args!("<{}>", scene.alice.contact()));
        let own = scene.picks_up(&invite, &answer);
        scene.goes_on(&own, &scene.alice.contact(), "");
        scene.is_undisturbed("its Contact in the dialog");
        scene.registers(&scene.alice.contact(), "");
        scene.goes_on(&own, &scene.alice.contact(), "");
        scene.is_undisturbed("its Contact in its registration");
    }
}
