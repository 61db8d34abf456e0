//! A script of messages, answers and clock steps for two cores. `fuzz/src/network.rs` defines the steps.
#![no_main]

use fuzz::Network;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: &[u8]| Network::run_script(script));
