//! Scenarios of the core, each a script of who says what when. One module per behaviour; `sim` is the world they
//! happen in. A test of a line of the RFC checklist names it.

#[path = "../sim/mod.rs"]
mod sim;

mod ack_of_success;
mod algorithms;
mod amplification;
mod best_response;
mod call_as;
mod calls;
mod contact_uri;
mod contacts;
mod dialog_peers;
mod digest;
mod early_dialog;
mod explain;
mod fixed;
mod fork_cancel;
mod fork_flows;
mod fork_late;
mod fork_parallel;
mod fork_sequential;
mod fork_timers;
mod fork_wave;
mod gruu;
mod guessing;
mod identity;
mod loops;
mod moved_phones;
mod nat;
mod notify_route;
mod outbound;
mod overload;
mod own_events;
mod preferences;
mod record_route;
mod redirect;
mod register;
mod register_bad;
mod same_transaction;
mod secure_uri;
mod spelling;
mod stateless;
mod stolen_identifiers;
mod transport_failure;
mod user_contacts;
mod validation;
mod watch;
mod watch_storm;
