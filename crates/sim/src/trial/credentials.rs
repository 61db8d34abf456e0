//! The credentials of one agent (RFC 3261 22, RFC 7616): the password of its user, and the newest nonce with its count.

use std::rc::Rc;

use location::Aor;
use proxy::Account;

use crate::{DOMAIN, Login, Sip, quoted};

/// How often one request is sent again because of a challenge.
pub(super) const MOST_CHALLENGES: u8 = 4;

/// The credentials of one agent.
#[derive(Clone)]
pub(super) struct Credentials {
    user: Rc<str>,
    algorithm: &'static str,
    challenge: Option<Rc<str>>,
    nc: u32,
}

impl Credentials {
    pub(super) fn new(user: &str, algorithm: &'static str) -> Self {
        Self { user: user.into(), algorithm, challenge: None, nc: 0 }
    }

    /// Takes the nonce of a 401 or 407. False if there is no challenge for our realm: another server sent it.
    pub(super) fn on_response(&mut self, refused: &Sip) -> bool {
        let wanted = format!("algorithm={},", self.algorithm);
        let ours = |value: &&str| quoted(value, "realm") == DOMAIN && format!("{value},").contains(&wanted);
        let mut challenges = refused.values("WWW-Authenticate").chain(refused.values("Proxy-Authenticate"));
        let Some(challenge) = challenges.find(ours) else { return false };
        self.challenge = Some(challenge.into());
        self.nc = 0;
        true
    }

    /// The request with credentials and the next nonce count, if there is a nonce.
    pub(super) fn sign(&mut self, request: &Sip) -> Option<Sip> {
        let challenge = self.challenge.as_ref()?;
        self.nc += 1;
        let answer = self.login().respond(challenge, self.algorithm, request, self.nc);
        let header = if request.what() == "REGISTER" { "Authorization" } else { "Proxy-Authorization" };
        Some(request.clone().set(header, answer))
    }

    fn login(&self) -> Login<'_> {
        Login { user: &self.user, password: &self.user }
    }
}

/// The account of a user. The password is the name.
pub(super) fn account(user: &str) -> (Aor, Account) {
    let login = Login { user, password: user };
    (Aor::new(user.as_bytes(), DOMAIN.as_bytes()), login.account(DOMAIN))
}
