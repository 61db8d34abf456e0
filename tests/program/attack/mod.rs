//! Attacks on the whole program, over loopback: one file for each kind of attack that docs/security.md lists.

mod amplification;
mod clock;
mod contacts;
mod dialogs;
mod guessing;
mod identity;
mod operations;
mod store;
