//! Decides who may send a request: the steps that ask for credentials (RFC 3261 10.3 steps 2 to 5, 16.3 step 6).

use location::Aor;
use parser::{HeaderName, Method};

use super::Core;
use crate::auth::{Authenticator, Denied, Presented};
use crate::clock::Now;
use crate::dialog::InDialog;
use crate::event::{AuthenticationFailure, Event};
use crate::event_package::EventPackage;
use crate::ingress;
use crate::notifier::Subscriber;
use crate::outbox::Outbox;
use crate::registrar::{EXTENSIONS, address_of_record};
use crate::reject::{ChallengeFor, Reject};
use crate::request::{Proven, Request};
use crate::route::{self, AuthRequirement, CallerName, Destination};
use crate::settings::{Authentication, Named, Settings};

impl Core {
    /// RFC 3261 16.3 step 6. Returns the user that the sender has authenticated as, or nobody where none is required.
    pub(super) fn admit(
        &mut self,
        now: Now,
        request: &Request,
        presented: &[Presented<'_>],
        destination: &Destination,
        outbox: &mut Outbox,
    ) -> Result<Proven, Reject> {
        let settings = &*self.settings;
        let AuthRequirement::Credentials(domain) = route::auth_requirement(request, destination, settings)? else {
            return Ok(Proven::Nobody);
        };
        // A sender whose From names no possible user is challenged as well, and logged: this is what a trunk looks like
        // that is missing from `trusted`.
        if presented.is_empty()
            && let Some(reject) = route::refusal_of_stranger(request, destination, settings)
        {
            match request.method() {
                // It may come again with credentials: it is no call that was refused.
                Method::Invite => self.report_request(request, reject, outbox),
                _ => self.report(now, request, reject, outbox),
            }
        }
        let of = (ChallengeFor::Proxy, domain.as_bytes());
        let proven = Self::authenticate((&mut self.authenticator, settings), now, request, presented, of, outbox)?;
        self.admit_as(request, proven, outbox)
    }

    /// Checks the From of a sender that authenticated as this user: it must name that user, or a name that its
    /// account lists.
    fn admit_as(&self, request: &Request, proven: Aor, outbox: &mut Outbox) -> Result<Proven, Reject> {
        match route::caller_name(request, &proven, &self.settings) {
            Some(CallerName::Own) => Ok(Proven::InFrom),
            Some(CallerName::Listed) => Ok(Proven::As(Box::new(proven))),
            None => Err(self.impostor(request, outbox)),
        }
    }

    /// Admits a request to the other side of its dialog that does not come from the known peer of its side: the
    /// sender has to authenticate as the user on its side of the dialog.
    pub(super) fn admit_sender(
        &mut self,
        now: Now,
        request: &Request,
        dialog: &InDialog,
        outbox: &mut Outbox,
    ) -> Result<(), Reject> {
        let settings = &*self.settings;
        let sender = dialog.sender_user(settings);
        let AuthRequirement::Credentials(domain) =
            route::auth_requirement_in_dialog(request, sender.as_ref(), settings)?
        else {
            return Ok(());
        };
        let presented = self.authenticator.read(request, settings);
        let of = (ChallengeFor::Proxy, domain.as_bytes());
        let proven = Self::authenticate((&mut self.authenticator, settings), now, request, &presented, of, outbox)?;
        let is_side = sender.is_some_and(|sender| {
            // The user may have called by another name that its account lists.
            let named = Named { address: sender, is_ours: true };
            named.address == proven || settings.accounts.may_call_as(&proven, &named)
        });
        let may = is_side && dialog.may_use_from(request, settings);
        if may { Ok(()) } else { Err(self.impostor(request, outbox)) }
    }

    /// Uses up credentials that were not required (RFC 3261 22.3 lets a phone send them with each request): otherwise an
    /// attacker who has read them could be the first to use them.
    pub(super) fn spend_credentials(&mut self, now: Now, request: &Request, presented: &[Presented<'_>]) {
        if presented.is_empty() {
            return;
        }
        let settings = &*self.settings;
        for domain in &settings.domains {
            // Credentials that do not verify do no harm here.
            let of = ChallengeFor::Proxy;
            let _ = self.authenticator.authenticate(request, presented, of, domain.as_bytes(), settings, now);
        }
    }

    /// Admits a request to the Contact of a phone (`contact`): its sender has to authenticate as `sender`, which From
    /// names. `is_at_own_flow`: the request comes over a flow that this user is registered over.
    pub(super) fn admit_to_contact(
        &mut self,
        now: Now,
        request: &Request,
        is_at_own_flow: bool,
        sender: &Aor,
        outbox: &mut Outbox,
    ) -> Result<Proven, Reject> {
        let settings = &*self.settings;
        if request.method() == Method::Ack || settings.authentication == Authentication::Off {
            return if is_at_own_flow { Ok(Proven::Nobody) } else { Err(Reject::Relay) };
        }
        let presented = self.authenticator.read(request, settings);
        if !is_at_own_flow && presented.is_empty() {
            return Err(Reject::Relay);
        }
        let of = (ChallengeFor::Proxy, sender.domain());
        let proven = Self::authenticate((&mut self.authenticator, settings), now, request, &presented, of, outbox)?;
        self.admit_as(request, proven, outbox)
    }

    /// Decides whether the sender may change the bindings that To names (RFC 3261 10.3 steps 2 to 5); returns their AoR.
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
            let of = (ChallengeFor::Registrar, aor.domain());
            let proven =
                Self::authenticate((&mut self.authenticator, &self.settings), now, request, presented, of, outbox)?;
            // RFC 3261 10.3 step 4
            if !self.settings.accounts.may_register(&proven, &aor) {
                return Err(self.impostor(request, outbox));
            }
        } else if !self.settings.accounts.is_empty() && self.settings.accounts.find(&aor).is_none() {
            return Err(Reject::NotFound);
        }
        Ok(aor)
    }

    /// Decides whether the sender may subscribe to the state of this user (RFC 6665 5.4.6). As for a REGISTER, no network is trusted. With
    /// authentication off, the sender is the user in its From.
    pub(super) fn admit_subscriber(
        &mut self,
        now: Now,
        request: &Request,
        (package, aor): (EventPackage, &Aor),
        outbox: &mut Outbox,
    ) -> Result<Subscriber, Reject> {
        let settings = &*self.settings;
        let user = if settings.authentication == Authentication::Required {
            let presented = self.authenticator.read(request, settings);
            let of = (ChallengeFor::Registrar, aor.domain());
            Self::authenticate((&mut self.authenticator, settings), now, request, &presented, of, outbox)?
        } else {
            if !settings.accounts.is_empty() && settings.accounts.find(aor).is_none() {
                return Err(Reject::NotFound);
            }
            request.uri_of_from().map(|caller| settings.aor_named_by(&caller)).ok_or(Reject::Subscriber)?
        };
        let subscriber = Subscriber::new(user, settings);
        if subscriber.may_subscribe(package, aor, settings) {
            return Ok(subscriber);
        }
        Self::report_failure(request, AuthenticationFailure::Identity, (false, None), settings, outbox);
        Err(Reject::Subscriber)
    }

    /// Takes parts of the core, because `domain` may be a part of the settings. A reference to them that is counted for each
    /// request would be counted by all workers in one cache line.
    fn authenticate(
        (authenticator, settings): (&mut Authenticator, &Settings),
        now: Now,
        request: &Request,
        presented: &[Presented<'_>],
        (of, domain): (ChallengeFor, &[u8]),
        outbox: &mut Outbox,
    ) -> Result<Aor, Reject> {
        let proven = authenticator.authenticate(request, presented, of, domain, settings, now);
        authenticator.take_limits().for_each(|limit| outbox.emit(Event::LimitReached(limit)));
        proven.map_err(|Denied { reject, failure, counts }| {
            if let Some(reason) = failure {
                // If From names no local user, the username of the credentials is the claimed user.
                let by_credentials = || match request.uri_of_from().and_then(|it| settings.domain_named_by(&it)) {
                    None if of == ChallengeFor::Proxy => authenticator.user_in(presented, domain),
                    _ => None,
                };
                Self::report_failure(request, reason, (counts, by_credentials()), settings, outbox);
            }
            reject
        })
    }

    /// Refuses a request with valid credentials in another user's name.
    fn impostor(&self, request: &Request, outbox: &mut Outbox) -> Reject {
        Self::report_failure(request, AuthenticationFailure::Identity, (false, None), &self.settings, outbox);
        Reject::Identity
    }

    fn report_failure(
        request: &Request,
        reason: AuthenticationFailure,
        (counts, claimed): (bool, Option<Aor>),
        settings: &Settings,
        outbox: &mut Outbox,
    ) {
        let claimed = match request.method() {
            _ if claimed.is_some() => claimed,
            Method::Register => address_of_record(request, settings).ok(),
            _ => request.uri_of_from().map(|caller| settings.aor_named_by(&caller)),
        };
        let user = claimed.unwrap_or_else(|| Aor::new(b"", b""));
        let method = request.method().as_str_or("other");
        outbox.emit(Event::AuthenticationFailed { reason, method, user, flow: request.flow, counts });
    }
}
