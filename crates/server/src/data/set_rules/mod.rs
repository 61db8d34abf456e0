//! Forwarding, `also_ring` and do-not-disturb as users or administrators set them while the server runs.
//!
//! What was set takes precedence over the configuration until it is cleared, also after a restart. With `store: memory` it
//! is lost at the end. `rule`: what was set for one user; `change`: what may be set, and by whom; `store`: where it is kept;
//! `shown`: how it is shown. This file only lists the modules.

mod change;
mod rule;
mod shown;
mod store;

pub(crate) use change::{Author, RuleChange, RuleError, RuleRequest};
pub(crate) use rule::SetRule;
pub(crate) use shown::{Forwarding, party_text};
pub(crate) use store::{SetRules, VALUE};
