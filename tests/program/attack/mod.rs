//! Attacks on the whole program over loopback: one file for each kind of attack in docs/security.md.

mod amplification;
mod clock;
mod contacts;
mod dialogs;
mod handshakes;
mod identity;
mod operations;
mod password_guessing;
mod store;
