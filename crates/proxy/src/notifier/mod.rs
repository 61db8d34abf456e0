//! Subscriptions to registrations: the notifier of the `reg` event package (RFC 3680, RFC 6665 4.2).
//!
//! A SUBSCRIBE to a user of ours makes a subscription: soft state of one worker, whose number stands in our To tag. It
//! remembers the record that it told last; whatever happens, the record of now is laid beside it, and what differs is
//! told (`contacts.rs`). So nothing that changes a record has to know what a subscriber has to hear: it only says that
//! something has changed, and not even that while nobody watches (`subscriber_index.rs`). That a binding expires nobody says: the
//! subscription knows the moment.
//!
//! Told are the events that can happen here:
//! - `registered`, `refreshed`, `unregistered`: a REGISTER did it; `expired`: none came in time.
//! - `created`, `rejected`: the configuration gained or lost a contact, which no REGISTER brings back.
//! - `deactivated`: an operator removed the binding, or it had to make room for another one. Its phone may come back.
//!
//! And two are not: `shortened`, as nobody but its own REGISTER changes how long a binding stays; `probation`, as an operator
//! who removes a phone cannot say when it may come back.
//!
//! A message between workers that is lost costs only time: the change shows when the record is loaded next.
//! When the program ends nobody is told: in the next run a refresh gets 481, and its phone subscribes anew.
//!
//! Must not know how bindings change, nor how a subscriber is authenticated: that is `core`'s and `auth`'s.

mod contacts;
mod dialog;
mod notify;
mod reginfo;
mod request;
mod subscriber;
mod subscriber_index;
mod subscription;
mod table;

pub(crate) use request::{InitialSubscribe, SubscribeKind, kind_of};
pub(crate) use subscriber::Subscriber;
pub use subscriber_index::SubscriberIndex;
pub(crate) use subscription::Subscription;
pub(crate) use table::{LocalTag, Subscriptions};
