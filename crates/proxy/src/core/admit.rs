//! The steps that ask for credentials (RFC 3261 10.3 steps 2 to 5, 16.3 step 6).

use std::sync::Arc;

use location::Aor;
use parser::{HeaderName, Method};

use super::Core;
use crate::auth::{Denied, Presented};
use crate::clock::Now;
use crate::dialog::InDialog;
use crate::event::{AuthenticationFailure, Event};
use crate::ingress;
use crate::outbox::Outbox;
use crate::registrar::{EXTENSIONS, address_of_record};
use crate::reject::{ChallengeFor, Reject};
use crate::request::{Proven, Request};
use crate::route::{self, AuthRequirement, CallsAs, Destination};
use crate::settings::{Authentication, Named, Settings};
use crate::watch::Watcher;

impl Core {
    /// RFC 3261 16.3 step 6. The user that the sender has authenticated as; nobody where that is not required.
    pub(super) fn admit(
        &mut self,
        now: Now,
        request: &Request,
        presented: &[Presented<'_>],
        destination: &Destination,
        outbox: &mut Outbox,
    ) -> Result<Proven, Reject> {
        let settings = Arc::clone(&self.settings);
        let AuthRequirement::Credentials(domain) = route::admission(request, destination, &settings)? else {
            return Ok(Proven::Nobody);
        };
        // A sender with a name that no user may have is challenged all the same, but it is logged: a trunk that is
        // missing from `trusted` looks like that.
        if presented.is_empty()
            && let Some(reject) = route::is_strangers(request, destination, &settings)
        {
            self.report(request, reject, outbox);
        }
        let proven = self.authenticate(now, request, presented, ChallengeFor::Proxy, domain.as_bytes(), outbox)?;
        self.admit_as(request, proven, outbox)
    }

    /// A sender that authenticated as this user calls by its name, or by one that is no user's of ours.
    fn admit_as(&self, request: &Request, proven: Aor, outbox: &mut Outbox) -> Result<Proven, Reject> {
        match route::calls_as(request, &proven, &self.settings) {
            Some(CallsAs::Itself) => Ok(Proven::InFrom),
            Some(CallsAs::Listed) => Ok(Proven::As(Box::new(proven))),
            None => Err(self.impostor(request, outbox)),
        }
    }

    /// A request to the other side of its dialog, from another place than its sender's: the sender has to prove to be the
    /// user on that side of the dialog, or the one that its From names.
    pub(super) fn admit_sender(
        &mut self,
        now: Now,
        request: &Request,
        dialog: &InDialog,
        outbox: &mut Outbox,
    ) -> Result<(), Reject> {
        let settings = Arc::clone(&self.settings);
        let sender = dialog.sender(&settings);
        let AuthRequirement::Credentials(domain) = route::admission_in_dialog(request, sender.as_ref(), &settings)?
        else {
            return Ok(());
        };
        let presented = self.authenticator.read(request, &settings);
        let proven = self.authenticate(now, request, &presented, ChallengeFor::Proxy, domain.as_bytes(), outbox)?;
        let is_side = sender.is_some_and(|sender| {
            // It may have made the dialog by a name that its account lists.
            let named = Named { address: sender, is_ours: true };
            named.address == proven || settings.accounts.may_call_as(&proven, &named)
        });
        let may = is_side && dialog.may_use_from(request, &settings, &self.mac);
        if may { Ok(()) } else { Err(self.impostor(request, outbox)) }
    }

    /// Credentials that nobody asked for (RFC 3261 22.3 lets a phone send them with each request) are used up all the same:
    /// else whoever has read them could be the first to use them.
    pub(super) fn spend_credentials(&mut self, now: Now, request: &Request, presented: &[Presented<'_>]) {
        if presented.is_empty() {
            return;
        }
        let settings = Arc::clone(&self.settings);
        for domain in &settings.domains {
            // Why they do not verify makes no difference here.
            let of = ChallengeFor::Proxy;
            let _ = self.authenticator.authenticate(request, presented, of, domain.as_bytes(), &settings, now);
        }
    }

    /// A request to the Contact of a phone (`contact`): its sender has to prove to be this user, which From names. `is_at_home`:
    /// it comes from where that user is registered. Whether it is proven.
    pub(super) fn admit_to_contact(
        &mut self,
        now: Now,
        request: &Request,
        is_at_home: bool,
        sender: &Aor,
        outbox: &mut Outbox,
    ) -> Result<Proven, Reject> {
        let settings = Arc::clone(&self.settings);
        if request.method() == Method::Ack || settings.authentication == Authentication::Off {
            return if is_at_home { Ok(Proven::Nobody) } else { Err(Reject::Relay) };
        }
        let presented = self.authenticator.read(request, &settings);
        if !is_at_home && presented.is_empty() {
            return Err(Reject::Relay);
        }
        let proven = self.authenticate(now, request, &presented, ChallengeFor::Proxy, sender.domain(), outbox)?;
        self.admit_as(request, proven, outbox)
    }

    /// RFC 3261 10.3 steps 2 to 5: may this sender touch these bindings?
    pub(super) fn admit_register(
        &mut self,
        now: Now,
        request: &Request,
        presented: &[Presented<'_>],
        outbox: &mut Outbox,
    ) -> Result<Aor, Reject> {
        ingress::understood(&request.message, HeaderName::Require, EXTENSIONS)?;
        let aor = address_of_record(request, &self.settings)?;
        if self.settings.authentication == Authentication::Required {
            let proven = self.authenticate(now, request, presented, ChallengeFor::Registrar, aor.domain(), outbox)?;
            // RFC 3261 10.3 step 4
            if !self.settings.accounts.may_register(&proven, &aor) {
                return Err(self.impostor(request, outbox));
            }
        } else if !self.settings.accounts.is_empty() && self.settings.accounts.find(&aor).is_none() {
            return Err(Reject::NotFound);
        }
        Ok(aor)
    }

    /// RFC 3680 4.6: may this sender see these bindings? As when they are to change, no network is trusted; who proves
    /// nothing, because authentication is off, is the user in its From.
    pub(super) fn admit_watcher(
        &mut self,
        now: Now,
        request: &Request,
        aor: &Aor,
        outbox: &mut Outbox,
    ) -> Result<Watcher, Reject> {
        let settings = Arc::clone(&self.settings);
        let watcher = if settings.authentication == Authentication::Required {
            let presented = self.authenticator.read(request, &settings);
            self.authenticate(now, request, &presented, ChallengeFor::Registrar, aor.domain(), outbox)?
        } else {
            if !settings.accounts.is_empty() && settings.accounts.find(aor).is_none() {
                return Err(Reject::NotFound);
            }
            request.caller().map(|caller| settings.aor_named_by(&caller)).ok_or(Reject::Watcher)?
        };
        let watcher = Watcher::new(watcher, &settings);
        if watcher.may_watch(aor, &settings) {
            return Ok(watcher);
        }
        Self::tell_failure(request, AuthenticationFailure::Identity, (false, None), &settings, outbox);
        Err(Reject::Watcher)
    }

    fn authenticate(
        &mut self,
        now: Now,
        request: &Request,
        presented: &[Presented<'_>],
        of: ChallengeFor,
        domain: &[u8],
        outbox: &mut Outbox,
    ) -> Result<Aor, Reject> {
        let proven = self.authenticator.authenticate(request, presented, of, domain, &self.settings, now);
        self.authenticator.take_limits().for_each(|limit| outbox.emit(Event::LimitReached(limit)));
        proven.map_err(|Denied { reject, failure, counts }| {
            if let Some(reason) = failure {
                // Where From has no name of ours, the credentials say who it is to be.
                let by_credentials = || match request.caller().and_then(|it| self.settings.domain_named_by(&it)) {
                    None if of == ChallengeFor::Proxy => self.authenticator.user_in(presented, domain),
                    _ => None,
                };
                Self::tell_failure(request, reason, (counts, by_credentials()), &self.settings, outbox);
            }
            reject
        })
    }

    /// Refuses what was sent with good credentials, but in another user's name.
    fn impostor(&self, request: &Request, outbox: &mut Outbox) -> Reject {
        Self::tell_failure(request, AuthenticationFailure::Identity, (false, None), &self.settings, outbox);
        Reject::Identity
    }

    fn tell_failure(
        request: &Request,
        reason: AuthenticationFailure,
        (counts, claimed): (bool, Option<Aor>),
        settings: &Settings,
        outbox: &mut Outbox,
    ) {
        let claimed = match request.method() {
            _ if claimed.is_some() => claimed,
            Method::Register => address_of_record(request, settings).ok(),
            _ => request.caller().map(|caller| settings.aor_named_by(&caller)),
        };
        let user = claimed.unwrap_or_else(|| Aor::new(b"", b""));
        let method = request.method().as_str_or("other");
        outbox.emit(Event::AuthenticationFailed { reason, method, user, flow: request.flow, counts });
    }
}
