//! The phones of a user, as docs/openapi.yaml defines them: the registered ones, and the contacts of the configuration.
//!
//! Decides nothing.

use std::borrow::Cow;

use location::{AnyStore, Aor, Binding, FlowId, Store as _, Wall};
use proxy::Accounts;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::cluster::NodeTable;
use crate::journal::sanitize;

/// One phone of a user: a binding, or a contact of the configuration, which has only some of the fields.
#[derive(Deserialize, Serialize)]
pub(crate) struct Phone {
    pub(crate) device: Option<String>,
    pub(crate) contact: String,
    pub(crate) address: Option<String>,
    pub(crate) transport: Option<Cow<'static, str>>,
    pub(crate) since: Option<String>,
    pub(crate) refreshed: Option<String>,
    pub(crate) expires_in: Option<u32>,
    pub(crate) q: Option<f64>,
    pub(crate) path: Option<String>,
    pub(crate) reached_by: Cow<'static, str>,
    /// The server that holds its flow, if several share the registrations.
    pub(crate) node: Option<String>,
}

/// The phones of a user.
pub(crate) fn of(user: &Aor, store: &AnyStore, accounts: &Accounts, nodes: Option<&NodeTable>) -> Vec<Phone> {
    let (now, record) = (clock::wall(), store.load(user));
    let registered = record.iter().flat_map(|record| record.live(now)).map(|binding| registered(&binding, now, nodes));
    let fixed = accounts.find(user).and_then(|account| account.contacts.as_ref());
    let fixed = fixed.into_iter().flat_map(|record| record.bindings()).map(|binding| fixed_phone(&binding));
    registered.chain(fixed).collect()
}

fn registered(binding: &Binding<'_>, now: Wall, nodes: Option<&NodeTable>) -> Phone {
    let flow = binding.flow();
    let device = binding.user_agent();
    Phone {
        device: (!device.is_empty()).then(|| sanitize(device)),
        contact: lossy(binding.contact()),
        address: Some(flow.remote.to_string()),
        transport: Some(flow.transport.param().into()),
        since: Some(clock::rfc3339(binding.since())),
        refreshed: Some(clock::rfc3339(binding.registered_at())),
        expires_in: Some(binding.remaining(now)),
        q: binding.q().map(|q| f64::from(q) / 1000.0),
        path: (!binding.path().is_empty()).then(|| lossy(binding.path())),
        reached_by: match (binding.path().is_empty(), flow.id) {
            (false, _) => "path",
            (true, FlowId::None) => "contact",
            (true, FlowId::Nat | FlowId::Connection(_) | FlowId::Elsewhere(_)) => "flow",
        }
        .into(),
        node: nodes.and_then(|nodes| nodes.name_of(flow.id)),
    }
}

fn fixed_phone(binding: &Binding<'_>) -> Phone {
    Phone {
        device: None,
        contact: lossy(binding.contact()),
        address: None,
        transport: None,
        since: None,
        refreshed: None,
        expires_in: None,
        q: binding.q().map(|q| f64::from(q) / 1000.0),
        path: None,
        reached_by: "configuration".into(),
        node: None,
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
