//! The notifier of this server (RFC 6665 4.2): subscriptions to the state of its users.
//!
//! A SUBSCRIBE to a local user creates a subscription: soft state of one worker, whose number is in our To tag. What
//! RFC 6665 leaves to the event package is in `crate::event_package` (name, durations, authorization) and in one
//! folder for each package (the state and its document), which `state.rs` lists: `reg` (RFC 3680), and `dialogs` for
//! the package `dialog` (RFC 4235).
//!
//! A subscription keeps the state that its last NOTIFY reported. When something may have changed, it reads the
//! current state and reports the difference. So code that changes a record does not have to know what is reported: it
//! only calls the notifier, and not even that while there is no subscription (`subscriber_index.rs`). The expiry of a
//! binding is no event: the subscription knows that moment in advance.
//!
//! If a message between two workers is lost, a change is reported only when the state is read next. When the program
//! ends, no NOTIFY is sent. After a restart a refresh gets 481, and the phone subscribes again.
//!
//! Must not know how bindings change, nor how a subscriber authenticates: `core` and `auth` do.

mod dialog;
mod dialogs;
mod notify;
mod phase;
mod reg;
mod request;
mod state;
mod subscriber;
mod subscription;
mod table;
mod xml;

pub(crate) use request::{InitialSubscribe, SubscribeKind, kind_of};
pub(crate) use subscriber::Subscriber;
pub(crate) use subscription::Subscription;
pub(crate) use table::{LocalTag, Subscriptions};
